"""The ledger of checking as the worker has it: every question goes through the pipe, one at a time."""

from collections.abc import Mapping, Sequence

from seawall.controller.maintenance.link import Link
from seawall.controller.maintenance.verify_wire import (
    from_damage,
    from_pack,
    from_point,
    to_committed,
    to_pack,
    to_unproven,
)
from seawall.repository.checking.port import CommittedPoint, PackFacts, PointDamage, Progress, Unproven
from seawall.repository.clock import Clock
from seawall.repository.forgetting.leaders import LeaderMark
from seawall.repository.format.layout import PointName
from seawall.repository.format.slot_set import SlotSet

TOLD_SECONDS = 1.0
"""Progress goes through at most so often, and so does the question whether to go on."""


class PipedVerifyLedger:
    """A `Ledger` of checking. Thread-safe."""

    def __init__(self, link: Link, clock: Clock) -> None:
        self._link = link
        self._clock = clock
        self._last: dict[str, float] = {}

    def points(self) -> Sequence[CommittedPoint]:
        found: list[CommittedPoint] = []
        after = ""
        while page := self._link.ask("points", after=after):
            found += [to_committed(point) for _, point in page if point is not None]
            after = page[-1][0]
        return found

    def is_available(self, point: PointName) -> bool:
        return bool(self._link.ask("is_available", point=from_point(point)))

    def is_known(self, point: PointName) -> bool:
        return bool(self._link.ask("is_known", point=from_point(point)))

    def packs(self, pack_ids: Sequence[bytes]) -> Mapping[bytes, PackFacts]:
        found = [to_pack(fields) for fields in self._link.ask("packs", ids=[one.hex() for one in pack_ids])]
        return {pack.id: pack for pack in found}

    def totals(self) -> tuple[int, int]:
        packs, bytes_stored = self._link.ask("totals")
        return packs, bytes_stored

    def oldest(self, limit: int, *, seen_only: bool = False) -> Sequence[PackFacts]:
        return [to_pack(fields) for fields in self._link.ask("oldest", limit=limit, seen_only=seen_only)]

    def damaged_packs(self) -> Sequence[PackFacts]:
        return [to_pack(fields) for fields in self._link.ask("damaged_packs")]

    def proven(self, pack: PackFacts) -> bool:
        return bool(self._link.ask("proven", pack=from_pack(pack)))

    def flawed(self, pack: PackFacts, bad: SlotSet) -> bool:
        return bool(self._link.ask("flawed", pack=from_pack(pack), bad=bad.encoded.hex()))

    def reserve(self, pack: PackFacts, above: int) -> int | None:
        answer = self._link.ask("reserve", pack=from_pack(pack), above=above)
        return None if answer is None else int(answer)

    def healed(self, pack: PackFacts, generation: int, size_bytes: int, generation_hash: bytes) -> bool:
        told = {"pack": from_pack(pack), "generation": generation, "size_bytes": size_bytes}
        return bool(self._link.ask("healed", **told, hash=generation_hash.hex()))

    def unproven(self, limit: int, *, again: bool = False) -> Sequence[Unproven]:
        return [to_unproven(fields) for fields in self._link.ask("unproven", limit=limit, again=again)]

    def proved(self, point: PointName, proved: bool, read_us: int = 0) -> None:
        self._link.ask("proved", point=from_point(point), proved=proved, read_us=read_us)

    def damage(self, point: PointName, damage: PointDamage | None) -> None:
        self._link.ask("damage", point=from_point(point), damage=from_damage(damage) if damage else None)

    def progress(self, progress: Progress) -> None:
        if self._due("progress"):
            self._link.ask("progress", **{name: getattr(progress, name) for name in progress.__slots__})

    def may_continue(self) -> None:
        if self._due("may_continue"):
            self._link.ask("may_continue")

    def leader(self) -> LeaderMark:
        return LeaderMark(*self._link.ask("leader"))

    def _due(self, what: str) -> bool:
        now = self._clock.monotonic_seconds()
        if now - self._last.get(what, float("-inf")) < TOLD_SECONDS:
            return False
        self._last[what] = now
        return True
