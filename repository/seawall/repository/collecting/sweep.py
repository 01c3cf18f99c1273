"""Removes objects that belong to nothing: packs nobody reported, generations nobody reads, hand-ins of attempts that are over, refmaps
without a point. Streams the listings; asks the ledger in batches; only what is older than the grace period goes.
"""

from collections.abc import Container, Mapping
from dataclasses import dataclass

from seawall.repository.batches import in_batches
from seawall.repository.collecting.announce import announce, require_newest
from seawall.repository.collecting.generations_above import take_over
from seawall.repository.collecting.plan import Leaving, Report
from seawall.repository.collecting.port import Ledger, PackFacts, PackStanding
from seawall.repository.collecting.removing import remove
from seawall.repository.errors import ObjectMissing, StoreRefused
from seawall.repository.forgetting.leaders import LeaderMark
from seawall.repository.format.layout import (
    HAND_INS_PREFIX,
    PACKS_PREFIX,
    REFMAPS_PREFIX,
    PackName,
    pack_name,
    parse_hand_in_name,
    parse_pack_name,
    parse_point_name,
)
from seawall.repository.format.slot_set import EVERY_SLOT, SlotSet
from seawall.repository.repository import OpenRepository
from seawall.repository.steps import OnStep
from seawall.repository.store.port import ObjectInfo


@dataclass(frozen=True, slots=True)
class Sweeper:
    """`older_than_us`: modified before this moment, by the store's clock."""

    repository: OpenRepository
    ledger: Ledger
    report: Report
    leader: LeaderMark
    older_than_us: int
    on_step: OnStep
    condemned_now: Container[bytes] = frozenset()
    """Planned: packs that would be condemned whole before; their grace period begins anew."""

    def sweep(self) -> None:
        """Raises LedgerRefused, StoreUnavailable."""
        for batch in in_batches(self.repository.store.list(PACKS_PREFIX)):
            if old := self._old(batch):
                self._sweep_packs(old)
        for batch in in_batches(self.repository.store.list(HAND_INS_PREFIX)):
            if old := self._old(batch):
                self._remove(Leaving.HAND_IN, self._spent_hand_ins(old))
        for batch in in_batches(self.repository.store.list(REFMAPS_PREFIX)):
            if old := self._old(batch):
                self._remove(Leaving.REFMAP, self._spent_refmaps(old))

    def plan(self) -> None:
        """Counts what `sweep` would take at the end of a collection, and what is too young for it. Changes nothing. Raises as it does."""
        for batch in in_batches(self.repository.store.list(PACKS_PREFIX)):
            self.ledger.may_continue()
            self._plan_packs(batch)
        for batch in in_batches(self.repository.store.list(HAND_INS_PREFIX)):
            self._count(Leaving.HAND_IN, self._spent_hand_ins(batch))
        for batch in in_batches(self.repository.store.list(REFMAPS_PREFIX)):
            self._count(Leaving.REFMAP, self._spent_refmaps(batch))

    def _old(self, infos: list[ObjectInfo]) -> list[ObjectInfo]:
        return [info for info in infos if info.modified_us <= self.older_than_us]

    def _count(self, why: Leaving, infos: list[ObjectInfo]) -> None:
        for info in infos:
            if info.modified_us <= self.older_than_us:
                self.report.leaves(why, info.name, info.size_bytes)
            else:
                self.report.young.add(info.size_bytes)

    def _plan_packs(self, infos: list[ObjectInfo]) -> None:
        known = self._named(infos)
        facts = self.ledger.facts(sorted({name.pack_id for _, name in known}))
        leaving: dict[Leaving, list[ObjectInfo]] = {Leaving.UNACCOUNTED: [], Leaving.OLDER: []}
        for info, name in known:
            why = self._foreseen(info, name, facts.get(name.pack_id))
            if why is not None:
                leaving[why].append(info)
        for why, gone in leaving.items():
            self._count(why, gone)

    def _foreseen(self, info: ObjectInfo, name: PackName, pack: PackFacts | None) -> Leaving | None:
        """Why a pack's object goes in the sweep. None: it stays, or goes before it with its pack."""
        if pack is None or pack.standing is not PackStanding.STORED:
            return Leaving.UNACCOUNTED if _will_be_over(pack) else None
        if pack.ripe and pack.pack_id not in self.condemned_now:
            # It is deleted or compacted before the sweep, which then takes whatever else lies there of it.
            if name.generation in pack.generations:
                return None
            return Leaving.OLDER if pack.left else Leaving.UNACCOUNTED
        stored = {pack.pack_id: pack}
        if _is_above(name, stored) and info.modified_us <= self.older_than_us:
            why = "later than the generation that counts: if it is whole, it counts from the next collection on"
            self.report.keep_back(info.name, why)
        return Leaving.OLDER if _is_older(name, stored) and self._is_there(pack) else None

    def _remove(self, why: Leaving, gone: list[ObjectInfo], announced: Mapping[bytes, SlotSet] | None = None) -> None:
        """`announced`: what a log says first, of packs whose ids never come back (rules 5 and 6)."""
        if not gone:
            return
        self.ledger.may_continue()
        if announced:
            announce(self.repository, self.ledger.number(), announced, self.leader)
            self.on_step("sweep announced")
        else:
            require_newest(self.repository.store, self.leader)
        for info in gone:
            if remove(self.repository.store, info.name, self.report):
                self.report.leaves(why, info.name, info.size_bytes)
            self.on_step("swept")

    def _sweep_packs(self, infos: list[ObjectInfo]) -> None:
        known = self._named(infos)
        ids = sorted({name.pack_id for _, name in known})
        facts = self.ledger.facts(ids)
        unaccounted = [pack_id for pack_id in ids if _unreported(facts.get(pack_id))]
        void = self.ledger.void(unaccounted) if unaccounted else frozenset[bytes]()
        over = dict.fromkeys(void, EVERY_SLOT) | {
            pack_id: pack.condemned or EVERY_SLOT
            for pack_id, pack in facts.items()
            if pack.standing is PackStanding.DELETED
        }
        self._remove(Leaving.UNACCOUNTED, [info for info, name in known if name.pack_id in over], over)
        stored = {pack_id: pack for pack_id, pack in facts.items() if pack.standing is PackStanding.STORED}
        older = [info for info, name in known if _is_older(name, stored) and self._is_there(stored[name.pack_id])]
        self._remove(Leaving.OLDER, older)
        # What is condemned whole waits for its DELETE; as taken over it would count as compacted, and stay for ever.
        above = {name.pack_id for _, name in known if _is_above(name, stored) and stored[name.pack_id].left}
        for pack_id in sorted(above):
            take_over(self.repository, self.ledger, stored[pack_id], self.report)
            self.on_step("generation taken over")

    def _named(self, infos: list[ObjectInfo]) -> list[tuple[ObjectInfo, PackName]]:
        named = [(info, parse_pack_name(info.name)) for info in infos]
        for info in (info for info, name in named if name is None):
            self.report.keep_back(info.name, "not a name that Seawall gives")
        return [(info, name) for info, name in named if name is not None]

    def _is_there(self, pack: PackFacts) -> bool:
        try:
            for generation in pack.generations:
                self.repository.store.head(pack_name(pack.tenant, pack.pack_id, generation))
        except (ObjectMissing, StoreRefused) as error:
            name = pack_name(pack.tenant, pack.pack_id, pack.generation)
            self.report.keep_back(name, f"the generation that counts cannot be seen, so no other goes: {error}")
            return False
        return True

    def _spent_hand_ins(self, infos: list[ObjectInfo]) -> list[ObjectInfo]:
        attempts = {info.name: name.attempt_id for info in infos if (name := parse_hand_in_name(info.name))}
        spent = self.ledger.spent_attempts(sorted(set(attempts.values())))
        return [info for info in infos if attempts.get(info.name) in spent]

    def _spent_refmaps(self, infos: list[ObjectInfo]) -> list[ObjectInfo]:
        points = {info.name: point.point_id for info in infos if (point := parse_point_name(info.name))}
        roots = self.ledger.roots_named(list(points.values()))
        return [info for info in infos if info.name in points and points[info.name] not in roots]


def _unreported(pack: PackFacts | None) -> bool:
    return pack is None or pack.standing in (PackStanding.OPEN, PackStanding.VOID)


def _will_be_over(pack: PackFacts | None) -> bool:
    """After what is given up has become VOID."""
    if pack is None or pack.standing in (PackStanding.VOID, PackStanding.DELETED):
        return True
    return pack.standing is PackStanding.OPEN and not pack.in_use


def _is_older(name: PackName, stored: Mapping[bytes, PackFacts]) -> bool:
    """Below the generation that counts: superseded. Never one above it: after a roll-back that may be all that is left of the pack."""
    return name.pack_id in stored and name.generation < stored[name.pack_id].generation


def _is_above(name: PackName, stored: Mapping[bytes, PackFacts]) -> bool:
    return name.pack_id in stored and name.generation > stored[name.pack_id].generations[-1]
