"""What a plan would condemn, for what follows in it: 16 bytes a pack. Made by `collect` in the order of the ledger."""

from bisect import bisect_left
from dataclasses import dataclass, field

from seawall.repository.collecting.plan import Decision, Fate
from seawall.repository.collecting.port import PackFacts
from seawall.repository.format.pack_layout import PACK_ID_BYTES


class SortedIds:
    """Grows at its end. Not thread-safe."""

    def __init__(self) -> None:
        self._ids = bytearray()

    def add(self, pack_id: bytes) -> None:
        """Greater than all before."""
        self._ids += pack_id

    def __contains__(self, pack_id: object) -> bool:
        if not isinstance(pack_id, bytes):
            return False
        at = bisect_left(range(len(self)), pack_id, key=self._at)
        return at < len(self) and self._at(at) == pack_id

    def __len__(self) -> int:
        return len(self._ids) // PACK_ID_BYTES

    def _at(self, place: int) -> bytes:
        return bytes(self._ids[place * PACK_ID_BYTES : (place + 1) * PACK_ID_BYTES])


@dataclass(frozen=True, slots=True)
class Condemning:
    """`whole`: packs that no point needs; `some`: sparse ones. Empty while a collection works: the ledger knows it then."""

    whole: SortedIds = field(default_factory=SortedIds)
    some: SortedIds = field(default_factory=SortedIds)

    def add(self, pack: PackFacts, decision: Decision) -> None:
        (self.whole if decision.fate is Fate.CONDEMN_ALL else self.some).add(pack.pack_id)

    def __contains__(self, pack_id: object) -> bool:
        return pack_id in self.whole or pack_id in self.some
