"""Carries a point from its intent to AVAILABLE. This process or the next may repeat every step.

Blocking: called from worker threads. The order of the steps is what makes it safe (DESIGN.md, "Publication"): PUT r/; PUT m/, the commit
point, each after another look at the lease; a look that the bucket knows no later leader (rule 5); one transaction: the point AVAILABLE,
the run SUCCEEDED.
"""

from collections.abc import Callable

import structlog

from seawall.controller.errors import ControllerError, DataLoss, FailedPrecondition
from seawall.controller.publishing.waiting import held_up
from seawall.controller.records.catalogue import Intent, Point, PointState
from seawall.controller.records.runs import Failure, FailureKind, RunState
from seawall.controller.repositories.catalogue import RepositoryCatalogue
from seawall.controller.repositories.newest import require_newest
from seawall.controller.repositories.opened import OpenedRepository
from seawall.controller.repositories.outside import STORE_TROUBLES, told
from seawall.controller.runs.machine import Execution, give_up_publication, succeed
from seawall.controller.scheduler.executions import Change, load
from seawall.controller.scheduler.leading import LeaderLease
from seawall.controller.store import Points, Store, Transaction
from seawall.repository.clock import Clock
from seawall.repository.errors import ObjectExists
from seawall.repository.format.layout import manifest_name, refmap_name

_log = structlog.get_logger()

OnStep = Callable[[str], None]
"""Called after each durable step with its name; tests end the process there."""


PLACE_TAKEN_NEXT_STEP = (
    "Back the VM up again: that makes another point. Then find out who wrote the object: a controller whose database was restored "
    "from an older copy, or a second one that uses this bucket."
)


class PlaceTaken(DataLoss):
    """Another object stands where one of the point's belongs."""

    REASON = "COMMITTED_OBJECT_DIFFERS"

    def __init__(self, name: str) -> None:
        super().__init__(self.REASON, f"{name} exists with other bytes than this point's; nothing was overwritten.")


class Promotion:
    """Thread-safe. `on_step` is public for whoever writes the intent."""

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
        self.on_step = on_step

    def finish(self, point_id: str) -> None:
        """Carry a PUBLISHING point through, with the bytes of its intent. An AVAILABLE one is done.

        Raises DataLoss/COMMITTED_OBJECT_DIFFERS, now and whenever it is repeated; then the run FAILED and the point with it. What the
        store says no with leaves as ControllerError; then the run says what it waits for, or (see `waiting`) FAILED.
        """
        point = self._store.read_now(lambda transaction: transaction.points.point(point_id))
        if point is not None and point.state is PointState.FAILED:
            raise self._why_failed(point)
        if point is None or point.intent is None:
            return
        try:
            with told():
                self._promote(self._repositories.open(point.repository_id), point, point.intent)
        except PlaceTaken as error:
            self._give_up(point, error)
            raise
        except ControllerError as error:
            if error.reason in STORE_TROUBLES:
                self._held_up(point, error)
            raise
        now_us = self._clock.now_us()
        self._settle(
            point,
            lambda points: points.make_available(point.id, now_us),
            lambda before: succeed(before, point.warnings, now_us),
        )
        self.on_step("available")
        _log.info("point.published", point_id=point.id, run_id=point.id, vm_id=point.vm_id, host=point.host_id)

    def _why_failed(self, point: Point) -> ControllerError:
        failure = self._store.read_now(lambda transaction: load(transaction, point.attempt_id)).run.failure
        if failure is None or failure.reason == PlaceTaken.REASON:
            return PlaceTaken(manifest_name(point.tenant, point.vm_id, point.id))
        return FailedPrecondition(failure.reason, failure.message)

    def unfinished(self) -> list[str]:
        """Ids of points that a crash or an outage left PUBLISHING."""
        return list(self._store.read_now(lambda transaction: transaction.points.unfinished()))

    def _promote(self, repository: OpenedRepository, point: Point, intent: Intent) -> None:
        """Steps 2 and 3, and a look that nobody else leads: what such a one collects may be what the point needs."""
        names = (point.tenant, point.vm_id, point.id)
        self._put(repository, refmap_name(*names), intent.refmap)
        self.on_step("refmap")
        self._put(repository, manifest_name(*names), intent.manifest)
        self.on_step("manifest")
        require_newest(repository)

    def _put(self, repository: OpenedRepository, name: str, body: bytes) -> None:
        leader = self._lease.current
        self._store.read_now(lambda transaction: transaction.leadership.check(leader))
        try:
            repository.store.put(name, body, create_only=True)
        except ObjectExists as error:
            if repository.store.get(name) != body:
                raise PlaceTaken(name) from error

    def _give_up(self, point: Point, error: PlaceTaken) -> None:
        now_us = self._clock.now_us()
        failure = Failure(error.reason, str(error), PLACE_TAKEN_NEXT_STEP, FailureKind.PERMANENT)
        self._settle(
            point,
            lambda points: points.give_up(point.id),
            lambda before: give_up_publication(before, failure, now_us),
        )
        _log.error("point.place_taken", point_id=point.id, run_id=point.id, vm_id=point.vm_id, error=str(error))

    def _held_up(self, point: Point, error: ControllerError) -> None:
        """In one transaction, as the run may be cancelled meanwhile. Nothing is written where nothing is new."""
        now_us, leader = self._clock.now_us(), self._lease.current

        def closure(transaction: Transaction) -> Execution | None:
            transaction.leadership.check(leader)
            stored = transaction.points.point(point.id)
            before = load(transaction, point.attempt_id)
            after = held_up(before, point, error, now_us)
            if stored is None or stored.state is not PointState.PUBLISHING or after == before:
                return None
            if after.run.state is RunState.FAILED:
                transaction.points.give_up(point.id)
            return Change(transaction, set()).save(before, after)

        changed = self._store.write_now(closure)
        if changed is not None:
            event = "point.given_up" if changed.run.state is RunState.FAILED else "point.held_up"
            _log.warning(event, point_id=point.id, vm_id=point.vm_id, reason=error.reason, error=str(error))

    def _settle(self, point: Point, end: Callable[[Points], None], after: Callable[[Execution], Execution]) -> None:
        """The end of point and run in one transaction. Whoever comes second finds it done."""
        leader = self._lease.current

        def closure(transaction: Transaction) -> None:
            transaction.leadership.check(leader)
            stored = transaction.points.point(point.id)
            if stored is None or stored.state is not PointState.PUBLISHING:
                return
            end(transaction.points)
            before = load(transaction, point.attempt_id)
            Change(transaction, set()).save(before, after(before))

        self._store.write_now(closure)
