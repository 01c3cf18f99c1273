"""The ledger of checking and healing over the controller's database: each step is one transaction here. Blocking, for worker threads.

The worker reaches it through its pipe (`verify_calls`); tests use it directly.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol, TypeVar

from seawall.controller.maintenance.job_ledger import JobLedger, LedgerScope, told
from seawall.controller.maintenance.verify_wire import from_damage, from_progress
from seawall.controller.records.catalogue import Pack, PackState, Point, PointState
from seawall.controller.records.leadership import Leader
from seawall.controller.records.maintenance import JobState
from seawall.controller.store.transaction import Store, Transaction
from seawall.repository.checking.port import CommittedPoint, PackFacts, PointDamage, Progress, Unproven
from seawall.repository.clock import Clock
from seawall.repository.forgetting.leaders import LeaderMark
from seawall.repository.format.layout import PointName
from seawall.repository.format.slot_set import NO_SLOTS, SlotSet

T = TypeVar("T")

PAGE = 1000
IN_FORCE = (PointState.PUBLISHING, PointState.AVAILABLE, PointState.DELETING)


class IndexEffects(Protocol):
    """What the chunk index must learn, after the transaction that decided it."""

    def withdraw(self, pack_id: bytes, slots: SlotSet) -> None: ...

    def verified(self, pack: Pack) -> None: ...

    def entered_anew(self, pack: Pack) -> None: ...


class VerifyLedger(JobLedger):
    """A `seawall.repository.checking.port.Ledger`."""

    def __init__(
        self, store: Store, scope: LedgerScope, leader: Callable[[], Leader], clock: Clock, index: IndexEffects
    ) -> None:
        super().__init__(store, scope, leader)
        self._clock = clock
        self._index = index

    def points(self) -> Sequence[CommittedPoint]:
        found: list[CommittedPoint] = []
        after = ""
        while page := self.points_page(after):
            found += [point for _, point in page if point is not None]
            after = page[-1][0]
        return found

    def points_page(self, after: str) -> list[tuple[str, CommittedPoint | None]]:
        """By id, at most PAGE. None: a point that is no AVAILABLE one."""
        mine = self._scope.repository_id

        def closure(transaction: Transaction) -> list[tuple[str, CommittedPoint | None]]:
            return [
                (
                    point.id,
                    CommittedPoint(PointName(point.tenant, point.vm_id, point.id), bool(point.damaged))
                    if point.state is PointState.AVAILABLE
                    else None,
                )
                for point in transaction.points.roots(mine, after=after, limit=PAGE)
            ]

        return self._read(closure)

    def is_available(self, point: PointName) -> bool:
        return self._state(point) is PointState.AVAILABLE

    def is_known(self, point: PointName) -> bool:
        return self._state(point) in IN_FORCE

    def packs(self, pack_ids: Sequence[bytes]) -> Mapping[bytes, PackFacts]:
        mine = self._scope.repository_id
        found = self._read(lambda transaction: transaction.packs.packs(mine, pack_ids))
        return {pack.id: facts_of(pack) for pack in found.values() if pack.state is PackState.STORED}

    def totals(self) -> tuple[int, int]:
        found = self._read(lambda transaction: transaction.repositories.totals(self._scope.repository_id))
        return found.packs, found.stored_bytes

    def oldest(self, limit: int, *, seen_only: bool = False) -> Sequence[PackFacts]:
        def found(transaction: Transaction) -> Sequence[Pack]:
            asked = transaction.packs.seen if seen_only else transaction.packs.by_look
            return asked(self._scope.repository_id, limit)

        return [facts_of(pack) for pack in self._read(found)]

    def damaged_packs(self) -> Sequence[PackFacts]:
        return [facts_of(pack) for pack in self._read(lambda all: all.packs.flawed(self._scope.repository_id))]

    def proven(self, pack: PackFacts) -> bool:
        now_us = self._clock.now_us()
        changed = self._change(pack, lambda before: replace(before, verified_us=now_us, bad=NO_SLOTS))
        return self._verified(changed)

    def flawed(self, pack: PackFacts, bad: SlotSet) -> bool:
        now_us = self._clock.now_us()
        changed = self._change(pack, lambda before: replace(before, verified_us=-now_us, bad=bad))
        if changed is not None:
            before, after = changed
            if before.verified or before.bad - bad:
                self._index.entered_anew(after)
            elif bad:
                self._index.withdraw(after.id, bad)
        return changed is not None

    def reserve(self, pack: PackFacts, above: int) -> int | None:
        changed = self._change(pack, lambda before: before.reserve(above)[1])
        return None if changed is None else changed[0].reserve(above)[0]

    def healed(self, pack: PackFacts, generation: int, size_bytes: int, generation_hash: bytes) -> bool:
        now_us = self._clock.now_us()
        changed = self._change(
            pack,
            lambda before: replace(
                before,
                generation=generation,
                size_bytes=size_bytes,
                hashed_generation=generation,
                generation_hash=generation_hash,
                verified_us=now_us,
                bad=NO_SLOTS,
            ),
        )
        if changed is not None:
            self._index.entered_anew(changed[1])
        return changed is not None

    def unproven(self, limit: int, *, again: bool = False) -> Sequence[Unproven]:
        mine = self._scope.repository_id

        def closure(transaction: Transaction) -> Sequence[Unproven]:
            points = transaction.points.unproven(mine, limit, again=again)
            newest = {vm_id: transaction.points.newest_proven(mine, vm_id) for vm_id in {each.vm_id for each in points}}
            return [Unproven(_name(each), _name(found) if (found := newest[each.vm_id]) else None) for each in points]

        return self._read(closure)

    def proved(self, point: PointName, proved: bool, read_us: int = 0) -> None:
        now_us = self._clock.now_us()

        def closure(transaction: Transaction) -> None:
            transaction.leadership.check(self._leader())
            before = transaction.points.point(point.point_id)
            if before is not None:
                since_us = before.verified_us if proved and before.verified_us > 0 else now_us
                transaction.points.mark_proved(point.point_id, since_us if proved else -now_us)
                transaction.points.mark_checked(point.point_id, now_us, read_us or now_us)

        self._write(closure)

    def damage(self, point: PointName, damage: PointDamage | None) -> None:
        body = "" if damage is None else json.dumps(from_damage(damage) | {"since_us": self._clock.now_us()})

        def closure(transaction: Transaction) -> None:
            transaction.leadership.check(self._leader())
            before = transaction.points.point(point.point_id)
            if before is not None and before.state is PointState.AVAILABLE and before.damaged != body:
                transaction.points.mark_damaged(point.point_id, body)
                if not body and before.verified_us < 0:
                    transaction.points.mark_proved(point.point_id, 0)  # healed: somebody is to look again

        self._write(closure)

    def progress(self, progress: Progress) -> None:
        def closure(transaction: Transaction) -> None:
            job = transaction.jobs.job(self._scope.job_id)
            if job is not None and job.state is JobState.ACTIVE:
                transaction.jobs.save_job(job, replace(job, progress=json.dumps(from_progress(progress))))

        self._write(closure)

    def leader(self) -> LeaderMark:
        """Raises LedgerRefused/NOT_LEADER."""
        with told():
            self._leader()
        return self._scope.announced

    def _verified(self, changed: tuple[Pack, Pack] | None) -> bool:
        if changed is None:
            return False
        before, after = changed
        if before.bad:
            self._index.entered_anew(after)
        else:
            self._index.verified(after)
        return True

    def _change(self, pack: PackFacts, change: Callable[[Pack], Pack]) -> tuple[Pack, Pack] | None:
        """(before, after) of a pack that is still what was looked at. Ordered against validation, which bad slots fail (rule 7)."""
        mine = self._scope.repository_id

        def closure(transaction: Transaction) -> tuple[Pack, Pack] | None:
            transaction.leadership.order_publication(self._leader(), mine)
            before = transaction.packs.packs(mine, [pack.id]).get(pack.id)
            if before is None or before.state is not PackState.STORED or before.generation != pack.generation:
                return None
            after = change(before)
            transaction.packs.save_pack(before, after)
            return before, after

        return self._write(closure)

    def _state(self, point: PointName) -> PointState | None:
        found = self._read(lambda transaction: transaction.points.point(point.point_id))
        same = found is not None and (found.tenant, found.vm_id) == (point.tenant, point.vm_id)
        return found.state if found is not None and same else None


def _name(point: Point) -> PointName:
    return PointName(point.tenant, point.vm_id, point.id)


def facts_of(pack: Pack) -> PackFacts:
    return PackFacts(
        pack.id,
        pack.tenant,
        pack.meta,
        pack.generation,
        pack.size_bytes,
        pack.slots,
        abs(pack.verified_us),
        pack.verified,
        pack.condemned,
        pack.bad,
        pack.present_hash,
    )
