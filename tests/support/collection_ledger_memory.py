"""A collection's ledger in memory. Passes tests/contract/test_collection_ledger.py, as the controller's does."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from uuid import UUID

from seawall.repository.collecting.port import (
    Arrivals,
    Condemned,
    Doomed,
    LedgerRefused,
    Mark,
    PackFacts,
    PackStanding,
    PointRoot,
    Slice,
)
from seawall.repository.forgetting.leaders import LeaderMark

HOLDER = str(UUID(int=7))
"""As which the world's leader announced itself."""


@dataclass
class MemoryLedger:
    """`now_us` and `grace_us` decide what is ripe; `condemned_us` says when a pack's slots were condemned, until they are dropped."""

    grace_us: int = 0
    now_us: int = 1_000_000
    epoch: int = 1
    seq: int = 0
    leads: bool = True
    canceled: bool = False
    stored: dict[bytes, PackFacts] = field(default_factory=dict)
    condemned_us: dict[bytes, int] = field(default_factory=dict)
    points: dict[str, PointRoot] = field(default_factory=dict)
    void_ids: set[bytes] = field(default_factory=set)
    live_attempts: set[str] = field(default_factory=set)
    reserved: dict[bytes, int] = field(default_factory=dict)
    progress: dict[str, int | str] = field(default_factory=dict)

    def begin(self) -> Mark:
        return Mark(self.seq, LeaderMark(self.epoch, HOLDER))

    def roots(self) -> Iterator[PointRoot]:
        return iter([self.points[point_id] for point_id in sorted(self.points)])

    def roots_named(self, point_ids: Sequence[str]) -> dict[str, PointRoot]:
        return {point_id: self.points[point_id] for point_id in point_ids if point_id in self.points}

    def packs(self, after: bytes = b"") -> Iterator[PackFacts]:
        return iter([self._facts(pack_id) for pack_id in sorted(self.stored) if pack_id > after])

    def facts(self, pack_ids: Sequence[bytes]) -> dict[bytes, PackFacts]:
        return {pack_id: self._facts(pack_id) for pack_id in pack_ids if pack_id in self.stored}

    def spent_attempts(self, attempt_ids: Sequence[str]) -> frozenset[str]:
        return frozenset(attempt_ids) - self.live_attempts

    def condemn(self, slice_: Slice, seen: int) -> Condemned | Arrivals:
        seq = self._ordered()
        arrived = tuple(point for point in self.roots() if point.seq > seen)
        if arrived:
            return Arrivals(seq, arrived)
        accepted = {}
        for pack_id, slots in slice_.slots.items():
            pack = self.stored.get(pack_id)
            if pack is None or pack.standing is not PackStanding.STORED or pack.in_use:
                continue
            fresh = slots - pack.condemned
            if fresh:
                self.stored[pack_id] = replace(pack, condemned=pack.condemned | fresh)
                self.condemned_us[pack_id] = self.now_us
                accepted[pack_id] = fresh
        return Condemned(seq, accepted)

    def void(self, pack_ids: Sequence[bytes]) -> frozenset[bytes]:
        self._ordered()
        for pack_id in pack_ids:
            pack = self.stored.get(pack_id)
            if pack is None:
                self.void_ids.add(pack_id)
            elif pack.standing is PackStanding.OPEN and not pack.in_use:
                self.stored[pack_id] = replace(pack, standing=PackStanding.VOID)
        return frozenset(pack_id for pack_id in pack_ids if self._is_void(pack_id))

    def number(self) -> int:
        return self._ordered()

    def doom(self, pack_ids: Sequence[bytes]) -> Doomed:
        seq = self._ordered()
        packs = [self._facts(pack_id) for pack_id in sorted(pack_ids) if pack_id in self.stored]
        return Doomed(seq, tuple(pack for pack in packs if pack.standing is PackStanding.STORED and pack.ripe))

    def reserve_generation(self, pack_id: bytes, above: int) -> int:
        self._led()
        pack = self._stored(pack_id)
        first = max(above, self.reserved.get(pack_id, 0), *pack.generations) + 1
        first += first % 2 if pack.meta else 0
        self.reserved[pack_id] = first + len(pack.generations) - 1
        return first

    def compacted(self, pack_id: bytes, generation: int, size_bytes: int, generation_hash: bytes) -> None:
        self._led()
        before = self._stored(pack_id)
        self.stored[pack_id] = replace(
            before, generation=generation, size_bytes=size_bytes, generation_hash=generation_hash
        )
        self.condemned_us.pop(pack_id, None)

    def deleted(self, pack_ids: Sequence[bytes]) -> None:
        self._led()
        for pack_id in pack_ids:
            pack = self.stored[pack_id]
            if pack.standing is PackStanding.STORED and not pack.left:
                self.stored[pack_id] = replace(pack, standing=PackStanding.DELETED)
                self.condemned_us.pop(pack_id, None)

    def may_continue(self) -> None:
        self._led()
        if self.canceled:
            raise LedgerRefused("CANCELED", "The job was cancelled.")

    def report(self, **counts: int | str) -> None:
        self.progress |= counts

    def _facts(self, pack_id: bytes) -> PackFacts:
        since = self.condemned_us.get(pack_id)
        ripe = since is not None and since <= self.now_us - self.grace_us
        return replace(self.stored[pack_id], waiting=since is not None, ripe=ripe)

    def _stored(self, pack_id: bytes) -> PackFacts:
        pack = self.stored.get(pack_id)
        if pack is None or pack.standing is not PackStanding.STORED:
            raise LedgerRefused("PACK_GONE", f"Pack {pack_id.hex()} is not stored any more.")
        return pack

    def _is_void(self, pack_id: bytes) -> bool:
        pack = self.stored.get(pack_id)
        return pack_id in self.void_ids if pack is None else pack.standing is PackStanding.VOID

    def _ordered(self) -> int:
        self._led()
        self.seq += 1
        return self.seq

    def _led(self) -> None:
        if not self.leads:
            raise LedgerRefused("NOT_LEADER", "Another controller leads now.")
