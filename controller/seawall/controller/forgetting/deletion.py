"""Carries points from AVAILABLE to DELETED. This process or the next may repeat every step.

Blocking: called from worker threads. The order of the steps is what makes it safe (DESIGN.md, "Forgetting"): one transaction: no pin, the
point DELETING with the exact bytes of its tombstone; PUT t/; a look that the bucket knows no later leader; delete m/, then r/; one
transaction: DELETED. Whoever ordered it is answered after the look at the leaders.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import structlog

from seawall.controller.errors import ControllerError, DataLoss, FailedPrecondition
from seawall.controller.forgetting.usage import pinned_by
from seawall.controller.records.catalogue import Point, PointState
from seawall.controller.records.leadership import Leader
from seawall.controller.repositories.catalogue import RepositoryCatalogue
from seawall.controller.repositories.newest import require_newest
from seawall.controller.repositories.opened import OpenedRepository
from seawall.controller.repositories.opening_mark import require_opened_as
from seawall.controller.repositories.outside import told
from seawall.controller.scheduler.leading import LeaderLease
from seawall.controller.store.transaction import Store, Transaction
from seawall.repository.clock import Clock
from seawall.repository.forgetting.burying import (
    TombstonePlaceTaken,
    bury,
    remove_manifest,
    remove_refmap,
)
from seawall.repository.format.layout import PointName
from seawall.repository.format.tombstone import Burial

_log = structlog.get_logger()

OnStep = Callable[[str], None]
"""Called after each durable step with its name; tests end the process there."""

PUTS_AT_ONCE = 8
_STANDS = "The decision stands: the points are listed no more, and their objects go once this is over."


@dataclass(frozen=True, slots=True)
class Decided:
    """A point that goes, with the bytes that say so, and the epoch in which they do."""

    point: Point
    epoch: int
    tombstone: bytes


class Deletions:
    """Thread-safe: two orders to delete the same point end in one deletion."""

    def __init__(
        self,
        store: Store,
        repositories: RepositoryCatalogue,
        lease: LeaderLease,
        clock: Clock,
        on_step: OnStep = lambda step: None,
    ) -> None:
        self._store = store
        self._repositories = repositories
        self._lease = lease
        self._clock = clock
        self._on_step = on_step

    def delete(self, point_ids: Sequence[str]) -> None:
        """Decide for all of them or none, and announce it in the bucket; the finisher does the rest. Those under way already are success.

        Raises FailedPrecondition/POINT_PINNED, POINT_NOT_AVAILABLE; what the store says no with, and Unavailable/NOT_LEADER: then the
        decision stands, and the finisher goes on with it.
        """
        decided = [self._signed(point) for point in self._points(point_ids) if point.state is PointState.AVAILABLE]
        leader = self._lease.current
        self._store.write_now(lambda transaction: self._decide(transaction, leader, decided, point_ids))
        self._on_step("decided")
        try:
            self._announce(point_ids)
        except ControllerError as error:
            raise type(error)(error.reason, f"{str(error).rstrip('.')}. {_STANDS}", error.metadata) from error

    def finish(self, point_id: str) -> None:
        """Carry a DELETING point through. A DELETED one is done.

        Raises DataLoss/TOMBSTONE_PLACE_TAKEN, Unavailable/NOT_LEADER, and what the store says no with.
        """
        point = self._store.read_now(lambda transaction: transaction.points.point(point_id))
        if point is None or point.state is not PointState.DELETING:
            return
        opened = self._repositories.open(point.repository_id)
        with told():
            self._bury(opened, point)
            self._on_step("buried")
            self._require_newest(opened)
            remove_manifest(opened.store, _name(point))
            self._on_step("manifest")
            remove_refmap(opened.store, _name(point))
            self._on_step("refmap")
        self._settle(point)
        self._on_step("deleted")
        _log.info("point.deleted", point_id=point.id, vm_id=point.vm_id, repository=opened.record.name)

    def unfinished(self) -> Mapping[str, str]:
        """DELETING points -> their repositories."""
        return self._store.read_now(lambda transaction: transaction.points.deleting())

    def _points(self, point_ids: Iterable[str]) -> list[Point]:
        def closure(transaction: Transaction) -> list[Point]:
            found = (transaction.points.point(point_id) for point_id in dict.fromkeys(point_ids))
            return [point for point in found if point is not None]

        return self._store.read_now(closure)

    def _signed(self, point: Point) -> Decided:
        opened = self._repositories.open(point.repository_id)
        burial = Burial(
            lineage_id=opened.lineage_id,
            tenant=point.tenant,
            vm_id=point.vm_id,
            point_id=point.id,
            manifest_hash=point.manifest_hash,
            epoch=opened.mark.epoch,
            decided_us=self._clock.now_us(),
        )
        with told():
            return Decided(point, opened.mark.epoch, opened.repository.sign_tombstone(burial))

    def _decide(
        self, transaction: Transaction, leader: Leader, decided: Sequence[Decided], point_ids: Sequence[str]
    ) -> None:
        """The gc row of each repository orders it against publication and collection, the guard against other leaders."""
        transaction.leadership.check(leader)
        for repository_id, epoch in sorted({(each.point.repository_id, each.epoch) for each in decided}):
            transaction.leadership.order_publication(leader, repository_id)
            require_opened_as(transaction, repository_id, epoch)
        tombstones = {each.point.id: each.tombstone for each in decided}
        states = {point_id: _state(transaction, point_id) for point_id in point_ids}
        unfit = [point_id for point_id, state in states.items() if not _may_go(state, point_id in tombstones)]
        if unfit:
            raise FailedPrecondition(
                "POINT_NOT_AVAILABLE", f"Point {unfit[0]} is not a finished restore point; nothing was deleted."
            )
        going = [point_id for point_id, state in states.items() if state is PointState.AVAILABLE]
        _refuse_pinned(pinned_by(transaction, going))
        now_us = self._clock.now_us()
        for point_id in going:
            transaction.points.begin_delete(point_id, tombstones[point_id], now_us)

    def _announce(self, point_ids: Sequence[str]) -> None:
        """Tombstones first, several at once, then one look at the leaders of each repository."""
        going = [point for point in self._points(point_ids) if point.state is PointState.DELETING]
        opened = {each: self._repositories.open(each) for each in {point.repository_id for point in going}}
        with ThreadPoolExecutor(PUTS_AT_ONCE, thread_name_prefix="tombstones") as pool, told():
            list(pool.map(lambda point: self._bury(opened[point.repository_id], point), going))
            for each in opened.values():
                self._require_newest(each)
        self._on_step("announced")

    def _bury(self, opened: OpenedRepository, point: Point) -> None:
        self._require_leading()
        try:
            bury(opened.repository, _name(point), point.tombstone)
        except TombstonePlaceTaken as error:
            raise DataLoss("TOMBSTONE_PLACE_TAKEN", f"{error}. Look who wrote it, then remove it.") from error

    def _require_leading(self) -> None:
        leader = self._lease.current
        self._store.read_now(lambda transaction: transaction.leadership.check(leader))

    def _require_newest(self, opened: OpenedRepository) -> None:
        """Between the tombstone and whatever counts on it (rule 5)."""
        require_newest(opened)

    def _settle(self, point: Point) -> None:
        leader, now_us = self._lease.current, self._clock.now_us()

        def closure(transaction: Transaction) -> None:
            transaction.leadership.check(leader)
            if _state(transaction, point.id) is PointState.DELETING:
                transaction.points.end_delete(point.id, now_us)

        self._store.write_now(closure)


def _state(transaction: Transaction, point_id: str) -> PointState | None:
    point = transaction.points.point(point_id)
    return None if point is None else point.state


def _may_go(state: PointState | None, signed: bool) -> bool:
    return state in (PointState.DELETING, PointState.DELETED) or (state is PointState.AVAILABLE and signed)


def _refuse_pinned(pinned: dict[str, str]) -> None:
    if pinned:
        some = next(iter(pinned.items()))
        more = f", and {len(pinned) - 1} more are in use" if len(pinned) > 1 else ""
        raise FailedPrecondition(
            "POINT_PINNED",
            f"Point {some[0]} is in use by {some[1]}{more}. Nothing was deleted: wait for it to end, cancel it, or release the hold.",
            pinned,
        )


def _name(point: Point) -> PointName:
    return PointName(point.tenant, point.vm_id, point.id)
