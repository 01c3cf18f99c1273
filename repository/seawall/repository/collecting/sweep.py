"""Removes objects that belong to nothing: packs nobody reported, generations nobody reads, hand-ins of attempts that are over, refmaps
without a point. Streams the listings; asks the ledger in batches; only what is older than the grace period goes.
"""

from collections.abc import Callable
from dataclasses import dataclass

from seawall.repository.collecting.announce import require_newest
from seawall.repository.collecting.batches import in_batches
from seawall.repository.collecting.plan import Report
from seawall.repository.collecting.port import Ledger, PackFacts, PackStanding
from seawall.repository.collecting.removing import remove
from seawall.repository.errors import ObjectMissing, StoreRefused
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
from seawall.repository.steps import OnStep
from seawall.repository.store.port import ObjectInfo, Store


@dataclass(frozen=True, slots=True)
class Sweeper:
    """`older_than_us`: modified before this moment, by the store's clock."""

    store: Store
    ledger: Ledger
    report: Report
    epoch: int
    older_than_us: int
    on_step: OnStep

    def sweep(self) -> None:
        """Raises LedgerRefused, StoreUnavailable."""
        self._each(PACKS_PREFIX, self._spent_packs)
        self._each(HAND_INS_PREFIX, self._spent_hand_ins)
        self._each(REFMAPS_PREFIX, self._spent_refmaps)

    def _each(self, prefix: str, spent: Callable[[list[ObjectInfo]], list[ObjectInfo]]) -> None:
        for batch in in_batches(self.store.list(prefix)):
            old = [info for info in batch if info.modified_us <= self.older_than_us]
            gone = spent(old) if old else []
            if not gone:
                continue
            self.ledger.may_continue()
            require_newest(self.store, self.epoch)
            for info in gone:
                if remove(self.store, info.name, self.report):
                    self.report.swept.add(info.size_bytes)
                self.on_step("swept")

    def _spent_packs(self, infos: list[ObjectInfo]) -> list[ObjectInfo]:
        names = {info.name: parse_pack_name(info.name) for info in infos}
        ids = sorted({name.pack_id for name in names.values() if name is not None})
        facts = self.ledger.facts(ids)
        unaccounted = [pack_id for pack_id in ids if _unreported(facts.get(pack_id))]
        void = self.ledger.void(unaccounted) if unaccounted else frozenset[bytes]()
        gone = []
        for info in infos:
            name = names[info.name]
            if name is None:
                self.report.keep_back(info.name, "not a name that Seawall gives")
            elif name.pack_id in void or self._superseded(name, facts.get(name.pack_id)):
                gone.append(info)
        return gone

    def _superseded(self, name: PackName, pack: PackFacts | None) -> bool:
        """An older generation, or one that a compaction wrote and did not live to tell of. Never the last that is there."""
        if pack is None or pack.standing not in (PackStanding.STORED, PackStanding.DELETED):
            return False
        if pack.standing is PackStanding.DELETED:
            return True
        return name.generation not in pack.generations and self._is_there(pack)

    def _is_there(self, pack: PackFacts) -> bool:
        try:
            for generation in pack.generations:
                self.store.head(pack_name(pack.tenant, pack.pack_id, generation))
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
