"""What an older database does not remember: points whose tombstones lie in the bucket are deleted here too (repository/DESIGN.md, rule 4).

Called while a repository is opened, before anybody may use a point of it, or publish one. Nothing where nothing was lost.
"""

from collections.abc import Collection
from dataclasses import dataclass

import structlog

from seawall.controller.records.catalogue import PointState
from seawall.controller.records.runs import Run
from seawall.controller.repositories.readers import store_readers
from seawall.controller.runs import failures, ready
from seawall.controller.runs.events import Moment, Unpublishable
from seawall.controller.scheduler.executions import Change
from seawall.controller.scheduler.leading import LeaderLease
from seawall.controller.store.transaction import Store, Transaction
from seawall.controller.timings import Timings
from seawall.repository.batches import in_batches
from seawall.repository.clock import Clock
from seawall.repository.errors import IntegrityError
from seawall.repository.forgetting.burying import remove_point
from seawall.repository.forgetting.leaders import LeaderMark, newest_leader
from seawall.repository.forgetting.lying import lying_manifests
from seawall.repository.forgetting.standing import Standing
from seawall.repository.format.layout import (
    TOMBSTONES_PREFIX,
    PointName,
    parse_point_name,
    tombstone_name,
)
from seawall.repository.repository import OpenRepository

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Buried:
    """A point whose name a tombstone bears. `state`: None where this database has no such point. `run_open`: it would still be made."""

    name: PointName
    state: PointState | None
    run_open: bool

    @property
    def unsettled(self) -> bool:
        """There may be something to do."""
        return self.run_open or self.state in (None, PointState.AVAILABLE)

    @property
    def forgotten(self) -> bool:
        """This database would keep the point, or make it."""
        return self.run_open or self.state is PointState.AVAILABLE


def replay_tombstones(
    database: Store,
    lease: LeaderLease,
    clock: Clock,
    repository: OpenRepository,
    repository_id: str,
    mark: LeaderMark,
    standing: Standing,
    manifests: Collection[PointName] | None = None,
) -> None:
    """AVAILABLE points become DELETING with the bucket's tombstone; the finisher goes on with them. A run that would make such a point
    ends: whatever it published would lie below the tombstone, and be deleted by the next opening. What is left of a point that this
    database does not have goes at once: it would stop every collection. A signature of this repository's decides, and nothing that merely
    stands in the place; what came late from a leader that had been replaced is void (`standing`, read before). `manifests`: all that were
    listed in this opening; None: those of the VMs concerned are listed now.

    Raises Unavailable/NOT_LEADER; IntegrityError naming a tombstone that a damaged open mark might call void; what the store raises.
    """
    names = (parse_point_name(info.name) for info in repository.store.list(TOMBSTONES_PREFIX))
    with store_readers("tombstones") as readers:
        for batch in in_batches(name for name in names if name is not None):
            unsettled = _open(database, repository_id, batch)
            # Tombstones stay for ever: most are of points that this database had to forget, and of few is anything left.
            done = (buried.name for buried in unsettled if buried.state is not PointState.AVAILABLE)
            lying = lying_manifests(repository.store, done, manifests)
            concerned = [buried for buried in unsettled if buried.forgotten or buried.name in lying]
            read = readers.map(lambda buried: _read(repository, buried.name, standing), concerned)
            for buried, tombstone in zip(concerned, read, strict=True):
                if tombstone is not None:
                    left_over = buried.name in lying
                    _replay(database, lease, clock, repository, buried, mark, tombstone, left_over=left_over)


def _open(database: Store, repository_id: str, names: list[PointName]) -> list[_Buried]:
    """Those whose deletion this database has not begun."""

    def closure(transaction: Transaction) -> list[_Buried]:
        runs = {run.id: run for run in transaction.runs.runs_of([name.point_id for name in names])}
        found = (_found(transaction, name, runs.get(name.point_id)) for name in names)
        return [buried for buried, of in found if of in ("", repository_id) and buried.unsettled]

    return database.read_now(closure)


def _found(transaction: Transaction, name: PointName, run: Run | None) -> tuple[_Buried, str]:
    """And the repository of the point or run, "" where the database has neither."""
    point = transaction.points.point(name.point_id)
    known = point or run
    state, run_open = (point.state if point else None), run is not None and not run.state.over
    return _Buried(name, state, run_open), known.repository_id if known else ""


def _read(repository: OpenRepository, name: PointName, standing: Standing) -> bytes | None:
    """The tombstone; None: it is void. Raises IntegrityError naming it where that cannot be told; what the store raises."""
    burial = repository.burial(name, standing)
    if burial is None:
        _log.warning("tombstone.void", point_id=name.point_id, vm_id=name.vm_id)
        return None
    lies_at = tombstone_name(name.tenant, name.vm_id, name.point_id)
    if doubt := standing.doubt(lies_at, burial.epoch):
        raise IntegrityError(doubt)
    return repository.store.get(lies_at)


def _replay(
    database: Store,
    lease: LeaderLease,
    clock: Clock,
    repository: OpenRepository,
    buried: _Buried,
    mark: LeaderMark,
    tombstone: bytes,
    *,
    left_over: bool,
) -> None:
    """`left_over`: the database is done with the point, and its manifest lies there."""
    if buried.run_open:
        _end_run(database, lease, clock, buried.name)
    if buried.state is PointState.AVAILABLE:
        _adopt(database, lease, clock, buried.name, tombstone)
    elif left_over:
        _remove_left_over(database, lease, repository, buried.name, mark)


def _end_run(database: Store, lease: LeaderLease, clock: Clock, name: PointName) -> None:
    """Its attempt is fenced, a point that was being published is given up, and the VM's next run makes a point of another name."""
    # Nothing is tried again, so no pause is taken from the timings.
    leader, moment, ended = lease.current, Moment(clock.now_us(), Timings()), failures.forgotten()

    def closure(transaction: Transaction) -> bool:
        transaction.leadership.check(leader)
        run = transaction.runs.run(name.point_id)
        if run is None or run.state.over:
            return False
        change = Change(transaction)
        execution = change.of_run(run)
        if execution is not None and execution.current:
            return change.take(execution, Unpublishable(ended), moment).after.run.state.over
        return change.save_ready(run, ready.unpublishable(run, ended, moment)).state.over

    if database.write_now(closure):
        _log.warning("run.point_was_deleted", run_id=name.point_id, vm_id=name.vm_id)


def _remove_left_over(
    database: Store, lease: LeaderLease, repository: OpenRepository, name: PointName, mark: LeaderMark
) -> None:
    """Its tombstone lies there; the look at the leaders comes before the removal here as everywhere."""
    leader = lease.current
    database.read_now(lambda transaction: transaction.leadership.check(leader))
    if newest_leader(repository.store) <= mark:
        remove_point(repository.store, name)
        _log.warning("point.leftover_removed", point_id=name.point_id, vm_id=name.vm_id)


def _adopt(database: Store, lease: LeaderLease, clock: Clock, name: PointName, tombstone: bytes) -> None:
    leader, now_us = lease.current, clock.now_us()

    def closure(transaction: Transaction) -> bool:
        transaction.leadership.check(leader)
        point = transaction.points.point(name.point_id)
        if point is None or point.state is not PointState.AVAILABLE:
            return False
        transaction.points.begin_delete(name.point_id, tombstone, now_us)
        return True

    if database.write_now(closure):
        _log.warning("point.deletion_adopted", point_id=name.point_id, vm_id=name.vm_id)
