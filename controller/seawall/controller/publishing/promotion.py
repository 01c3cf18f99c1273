"""Carries a point from its intent to AVAILABLE. This process or the next may repeat every step.

Blocking: called from worker threads. The order of the steps is what makes it safe (DESIGN.md, "Publication"): PUT r/; PUT m/, the commit
point, each after another look at the lease; a look that the bucket knows no later leader (rule 5); one transaction: the point AVAILABLE,
the run SUCCEEDED.
"""

from collections.abc import Callable, Mapping

import structlog

from seawall.controller.errors import ControllerError, DataLoss, FailedPrecondition
from seawall.controller.publishing.handin import decoded_refmap
from seawall.controller.publishing.second_look import DataCollected, packs_that_lost
from seawall.controller.publishing.waiting import held_up
from seawall.controller.records.catalogue import Intent, Point, PointState
from seawall.controller.records.leadership import Leader
from seawall.controller.records.runs import Failure, FailureKind, RunState
from seawall.controller.repositories.catalogue import RepositoryCatalogue
from seawall.controller.repositories.newest import require_newest
from seawall.controller.repositories.opened import OpenedRepository
from seawall.controller.repositories.outside import STORE_TROUBLES, told
from seawall.controller.runs.events import Committed, Event, Moment, Unpublishable
from seawall.controller.runs.machine import Execution
from seawall.controller.scheduler.executions import Change, load
from seawall.controller.scheduler.leading import LeaderLease
from seawall.controller.store.points import Points
from seawall.controller.store.transaction import Store, Transaction
from seawall.controller.timings import Timings
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
        timings: Timings,
        on_step: OnStep = lambda step: None,
    ) -> None:
        self._store = store
        self._repositories = repositories
        self._lease = lease
        self._clock = clock
        self._timings = timings
        self.on_step = on_step

    def moment(self) -> Moment:
        return Moment(self._clock.now_us(), self._timings)

    def finish(self, point_id: str, validated_by: Leader | None = None) -> None:
        """Carry a PUBLISHING point through, with the bytes of its intent. An AVAILABLE one is done.

        `validated_by`: in whose name its data was looked at just now; None: maybe long ago, on a database that was put back since.

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
                repository = self._repositories.open(point.repository_id)
                self._look_again(point, point.intent, validated_by)
                self._promote(repository, point, point.intent)
        except (PlaceTaken, DataCollected) as error:
            self._give_up(point, error)
            raise
        except ControllerError as error:
            if error.reason in STORE_TROUBLES:
                self._held_up(point, error)
            raise
        now_us = self._clock.now_us()
        self._settle(point, Committed(point.warnings), lambda points: points.make_available(point.id, now_us))
        self.on_step("available")
        _log.info("point.published", point_id=point.id, run_id=point.id, vm_id=point.vm_id, host=point.host_id)

    def _why_failed(self, point: Point) -> ControllerError:
        failure = self._store.read_now(lambda transaction: load(transaction, point.attempt_id)).run.failure
        if failure is None or failure.reason == PlaceTaken.REASON:
            return PlaceTaken(manifest_name(point.tenant, point.vm_id, point.id))
        return FailedPrecondition(failure.reason, failure.message)

    def unfinished(self) -> Mapping[str, str]:
        """Points that a crash or an outage left PUBLISHING -> their repositories."""
        return self._store.read_now(lambda transaction: transaction.points.unfinished())

    def _promote(self, repository: OpenedRepository, point: Point, intent: Intent) -> None:
        """Steps 2 and 3, and a look that nobody else leads: what such a one collects may be what the point needs."""
        names = (point.tenant, point.vm_id, point.id)
        self._put(repository, refmap_name(*names), intent.refmap)
        self.on_step("refmap")
        self._put(repository, manifest_name(*names), intent.manifest)
        self.on_step("manifest")
        require_newest(repository)

    def _look_again(self, point: Point, intent: Intent, validated_by: Leader | None) -> None:
        """Opening the repository may have given the point up. After a roll-back what it names may be gone: until then it is kept for it.

        Only the leader that validated the point knows that there was none: who leads on an older copy begins a term, and no epoch tells
        for sure that it is older (DESIGN.md, "A put-back that nobody notices"). Raises why it was given up; DataCollected.
        """
        state = self._store.read_now(lambda transaction: _state(transaction, point.id))
        if state is PointState.FAILED:
            raise self._why_failed(point)
        if validated_by == self._lease.current:
            return
        slots = decoded_refmap(intent.refmap, point.tenant)
        packs = self._store.read_now(lambda transaction: transaction.packs.packs(point.repository_id, list(slots)))
        lost = packs_that_lost(slots, packs)
        if lost:
            raise DataCollected(point.id, lost)

    def _put(self, repository: OpenedRepository, name: str, body: bytes) -> None:
        leader = self._lease.current
        self._store.read_now(lambda transaction: transaction.leadership.check(leader))
        try:
            repository.store.put(name, body, create_only=True)
        except ObjectExists as error:
            if repository.store.get(name) != body:
                raise PlaceTaken(name) from error

    def _give_up(self, point: Point, error: PlaceTaken | DataCollected) -> None:
        next_step = PLACE_TAKEN_NEXT_STEP if isinstance(error, PlaceTaken) else "Back the VM up again."
        self._settle(point, Unpublishable(Failure(error.reason, str(error), next_step, FailureKind.PERMANENT)))
        _log.error("point.unpublishable", point_id=point.id, run_id=point.id, vm_id=point.vm_id, error=str(error))

    def _held_up(self, point: Point, error: ControllerError) -> None:
        """In one transaction, as the run may be cancelled meanwhile. Nothing is written where nothing is new."""
        moment, leader = self.moment(), self._lease.current

        def closure(transaction: Transaction) -> Execution | None:
            transaction.leadership.check(leader)
            stored = transaction.points.point(point.id)
            before = load(transaction, point.attempt_id)
            if stored is None or stored.state is not PointState.PUBLISHING:
                return None
            after = Change(transaction).take(before, held_up(before.run, point, error), moment).after
            return None if after == before else after

        changed = self._store.write_now(closure)
        if changed is not None:
            event = "point.given_up" if changed.run.state is RunState.FAILED else "point.held_up"
            _log.warning(event, point_id=point.id, vm_id=point.vm_id, reason=error.reason, error=str(error))

    def _settle(self, point: Point, event: Event, mark: Callable[[Points], None] = lambda points: None) -> None:
        """The end of point and run in one transaction. Whoever comes second finds it done. Raises why where it was given up meanwhile."""
        moment, leader = self.moment(), self._lease.current

        def closure(transaction: Transaction) -> PointState | None:
            transaction.leadership.check(leader)
            stored = transaction.points.point(point.id)
            if stored is None or stored.state is not PointState.PUBLISHING:
                return stored.state if stored is not None else None
            mark(transaction.points)
            Change(transaction).take(load(transaction, point.attempt_id), event, moment)
            return None

        if self._store.write_now(closure) is PointState.FAILED and isinstance(event, Committed):
            raise self._why_failed(point)


def _state(transaction: Transaction, point_id: str) -> PointState | None:
    point = transaction.points.point(point_id)
    return point.state if point else None
