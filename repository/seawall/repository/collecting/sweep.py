"""Removes objects that belong to nothing: packs nobody reported, generations nobody reads, hand-ins of attempts that are over, refmaps
without a point. Streams the listings; asks the ledger in batches; only what is older than the grace period goes.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from seawall.repository.batches import in_batches
from seawall.repository.collecting.announce import announce, require_newest
from seawall.repository.collecting.generations_above import take_over
from seawall.repository.collecting.plan import Report
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

    def sweep(self) -> None:
        """Raises LedgerRefused, StoreUnavailable."""
        for old in self._old(PACKS_PREFIX):
            self._sweep_packs(old)
        for old in self._old(HAND_INS_PREFIX):
            self._remove(self._spent_hand_ins(old))
        for old in self._old(REFMAPS_PREFIX):
            self._remove(self._spent_refmaps(old))

    def _old(self, prefix: str) -> Iterable[list[ObjectInfo]]:
        for batch in in_batches(self.repository.store.list(prefix)):
            old = [info for info in batch if info.modified_us <= self.older_than_us]
            if old:
                yield old

    def _remove(self, gone: list[ObjectInfo], announced: Mapping[bytes, SlotSet] | None = None) -> None:
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
                self.report.swept.add(info.size_bytes)
            self.on_step("swept")

    def _sweep_packs(self, infos: list[ObjectInfo]) -> None:
        names = {info.name: parse_pack_name(info.name) for info in infos}
        ids = sorted({name.pack_id for name in names.values() if name is not None})
        facts = self.ledger.facts(ids)
        unaccounted = [pack_id for pack_id in ids if _unreported(facts.get(pack_id))]
        void = self.ledger.void(unaccounted) if unaccounted else frozenset[bytes]()
        over = dict.fromkeys(void, EVERY_SLOT) | {
            pack_id: pack.condemned or EVERY_SLOT
            for pack_id, pack in facts.items()
            if pack.standing is PackStanding.DELETED
        }
        for info in infos:
            if names[info.name] is None:
                self.report.keep_back(info.name, "not a name that Seawall gives")
        known = [(info, name) for info in infos if (name := names[info.name]) is not None]
        self._remove([info for info, name in known if name.pack_id in over], over)
        stored = {pack_id: pack for pack_id, pack in facts.items() if pack.standing is PackStanding.STORED}
        self._remove([info for info, name in known if _is_older(name, stored) and self._is_there(stored[name.pack_id])])
        # What is condemned whole waits for its DELETE; as taken over it would count as compacted, and stay for ever.
        above = {name.pack_id for _, name in known if _is_above(name, stored) and stored[name.pack_id].left}
        for pack_id in sorted(above):
            take_over(self.repository, self.ledger, stored[pack_id], self.report)
            self.on_step("generation taken over")

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


def _is_older(name: PackName, stored: Mapping[bytes, PackFacts]) -> bool:
    """Below the generation that counts: superseded. Never one above it: after a roll-back that may be all that is left of the pack."""
    return name.pack_id in stored and name.generation < stored[name.pack_id].generation


def _is_above(name: PackName, stored: Mapping[bytes, PackFacts]) -> bool:
    return name.pack_id in stored and name.generation > stored[name.pack_id].generations[-1]
