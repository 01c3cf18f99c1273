"""The ledger of checking in memory, over a RescueWorld: what the controller's database does, in a few lines."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from threading import Lock

from seawall.repository.checking.port import CommittedPoint, PackFacts, PointDamage, Progress, Unproven
from seawall.repository.forgetting.leaders import LeaderMark
from seawall.repository.format.layout import PointName
from seawall.repository.format.slot_set import NO_SLOTS, SlotSet

LEADER = LeaderMark(1, "00000000-0000-4000-8000-00000000000a")


@dataclass
class MemoryCheckingLedger:
    """Time is a counter: each record of a look is one later. `stop`: called wherever the job may end."""

    stored: dict[bytes, PackFacts] = field(default_factory=dict)
    available: dict[PointName, PointDamage | None] = field(default_factory=dict)
    known: set[PointName] = field(default_factory=set)
    reserved: dict[bytes, int] = field(default_factory=dict)
    proved_points: dict[PointName, bool] = field(default_factory=dict)
    read_back: dict[PointName, int] = field(default_factory=dict)
    """When that was read which was read longest ago."""
    told: list[Progress] = field(default_factory=list)
    stop: Callable[[], None] = lambda: None
    _ticks: "count[int]" = field(default_factory=lambda: count(1))
    _lock: Lock = field(default_factory=Lock)

    def points(self) -> Sequence[CommittedPoint]:
        return [CommittedPoint(name, damage is not None) for name, damage in sorted(self.available.items())]

    def is_available(self, point: PointName) -> bool:
        return point in self.available

    def is_known(self, point: PointName) -> bool:
        return point in self.available or point in self.known

    def packs(self, pack_ids: Sequence[bytes]) -> Mapping[bytes, PackFacts]:
        return {one: self.stored[one] for one in pack_ids if one in self.stored}

    def totals(self) -> tuple[int, int]:
        return len(self.stored), sum(pack.stored_bytes for pack in self.stored.values())

    def oldest(self, limit: int, *, seen_only: bool = False) -> Sequence[PackFacts]:
        found = [pack for pack in self.stored.values() if pack.looked_us or not seen_only]
        return sorted(found, key=lambda pack: (pack.looked_us, pack.id))[:limit]

    def damaged_packs(self) -> Sequence[PackFacts]:
        flawed = [one for one in self.stored.values() if len(one.bad) or (one.looked_us and not one.whole)]
        return sorted(flawed, key=lambda pack: pack.id)

    def proven(self, pack: PackFacts) -> bool:
        return self._change(pack, lambda now: replace(now, looked_us=next(self._ticks), whole=True, bad=NO_SLOTS))

    def flawed(self, pack: PackFacts, bad: SlotSet) -> bool:
        return self._change(pack, lambda now: replace(now, looked_us=next(self._ticks), whole=False, bad=bad))

    def reserve(self, pack: PackFacts, above: int) -> int | None:
        with self._lock:
            now = self.stored.get(pack.id)
            if now is None or now.generation != pack.generation:
                return None
            first = max(above, self.reserved.get(pack.id, 0), *pack.generations) + 1
            first += first % 2 if pack.meta else 0
            self.reserved[pack.id] = first + len(pack.generations) - 1
            return first

    def leader(self) -> LeaderMark:
        return LEADER

    def healed(self, pack: PackFacts, generation: int, size_bytes: int, generation_hash: bytes) -> bool:
        return self._change(
            pack,
            lambda now: replace(
                now,
                generation=generation,
                size_bytes=size_bytes,
                generation_hash=generation_hash,
                looked_us=next(self._ticks),
                whole=True,
                bad=NO_SLOTS,
            ),
        )

    def unproven(self, limit: int, *, again: bool = False) -> Sequence[Unproven]:
        found = []
        for name in sorted(
            name
            for name in self.available
            if name not in self.proved_points or (again and not self.proved_points[name])
        ):
            of_vm = [one for one, proved in self.proved_points.items() if proved and one.vm_id == name.vm_id]
            if self.available[name] is None:
                found.append(Unproven(name, max(of_vm, default=None)))
        return found[:limit]

    def proved(self, point: PointName, proved: bool, read_us: int = 0) -> None:
        self.proved_points[point] = proved
        self.read_back[point] = read_us or next(self._ticks)

    def damage(self, point: PointName, damage: PointDamage | None) -> None:
        if self.available.get(point) is not None and damage is None and self.proved_points.get(point) is False:
            del self.proved_points[point]
        self.available[point] = damage

    def progress(self, progress: Progress) -> None:
        self.told.append(progress)

    def may_continue(self) -> None:
        self.stop()

    def _change(self, pack: PackFacts, change: Callable[[PackFacts], PackFacts]) -> bool:
        with self._lock:
            now = self.stored.get(pack.id)
            if now is None or now.generation != pack.generation:
                return False
            self.stored[pack.id] = change(now)
            return True
