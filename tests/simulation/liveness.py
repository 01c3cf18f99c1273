"""What must happen in time: looked at every half minute, with allowance for what the faults of that time excuse."""

from collections import Counter
from typing import TYPE_CHECKING

from seawall.controller.records.limits import Measure, ScopeKey, Service
from seawall.controller.records.runs import AttemptState, Run, RunKind, RunState
from seawall.controller.store.transaction import Transaction

from .invariants import kept_for_restores

if TYPE_CHECKING:
    from .controller import SimulatedController
    from .world import World

SLACK_SECONDS = 60.0
BEGINS_WITHIN_SECONDS = 240.0


class Liveness:
    """`look` again and again, `at_the_end` when all is healed and the time for it is over."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._holder = ""
        self._well_since = 0.0
        self._may_fire_since = 0.0
        self._could_begin: dict[str, float] = {}
        """Run -> since when nothing was in its way, at each look."""
        self._told: set[str] = set()

    def look(self) -> None:
        self._follow_the_leader()
        self._deadlines()
        self._world.database.read(self._due)
        fires_for = self._world.now - self._may_fire_since
        self._world.database.read(lambda transaction: self._world.invariants.firings.look(transaction, fires_for))

    def at_the_end(self) -> None:
        world = self._world
        for run in world.unfinished():
            world.problem(f"run {run.id} of {run.vm_name} is still {run.state.value}: {run.blocked_on}")
        world.truth.check_all()
        world.database.read(self._promises)
        world.invariants.firings.at_the_end()

    def _promises(self, transaction: Transaction) -> None:
        world = self._world
        for point_id in sorted(world.truth.promised):
            point = transaction.points.point(point_id)
            if point is None and point_id not in world.truth.deleted:
                world.problem(f"point {point_id} was promised and the database does not know it")
            elif point is not None and point.state.name != "AVAILABLE" and point_id not in world.truth.deleted:
                world.problem(f"point {point_id} was promised and is {point.state.name}")
            elif (
                point is not None
                and point.state.name in ("AVAILABLE", "PUBLISHING")
                and point_id in world.truth.deleted
            ):
                world.problem(f"point {point_id} was given up and is {point.state.name}")
        for run_id in world.operator.started:
            if transaction.runs.run(run_id) is None and not world.rolled_back:
                world.problem(f"run {run_id} was ordered, and the order is lost")
        for run_id in world.operator.canceled:
            run = transaction.runs.run(run_id)
            if (run is None or not (run.cancel_us or run.state.over)) and not world.rolled_back:
                world.problem(f"run {run_id} was canceled, and that is lost")

    def _follow_the_leader(self) -> None:
        world = self._world
        holder = world.database.read(lambda transaction: transaction.leadership.lease().holder)
        leading = [each for each in world.controllers if each.up and world.holders.get(each.process) == holder]
        stopped = any(each.process.stopped_until > world.now for each in leading)
        if holder != self._holder or not leading or stopped or world.database.away_until > world.now:
            self._holder, self._well_since = holder, world.now
        if self._well_since == world.now or self._hinders_firing(leading[0]):
            self._may_fire_since = world.now

    def _hinders_firing(self, leader: "SimulatedController") -> bool:
        """It goes by its clock, and, of times before it led, by what the bucket says is done."""
        bucket = self._world.bucket
        return bool(leader.clock.skew_us or leader.machine in bucket.cut or bucket.trouble or bucket.refused)

    @property
    def _well_for(self) -> float:
        return self._world.now - self._well_since

    def _deadlines(self) -> None:
        """Each live attempt has an end that somebody sees to."""
        world, timings = self._world, self._world.timings
        limits = {
            AttemptState.ASSIGNED: timings.assigned_seconds,
            AttemptState.PREPARING: timings.preparing_seconds,
            AttemptState.TRANSFERRING: timings.no_progress_seconds,
            AttemptState.LOST: timings.reattach_grace_seconds,
        }
        slack = SLACK_SECONDS + timings.failover_grace_seconds + world.skew_seconds
        for attempt_id, attempt in world.invariants.shadow.live.items():
            limit = limits.get(attempt.state)
            since = max(world.invariants.shadow.changed.get(attempt_id, 0.0), self._well_since)
            if limit is not None and world.now - since > limit + slack and attempt_id not in self._told:
                self._told.add(attempt_id)
                world.problem(
                    f"attempt {attempt_id} is {attempt.state.value} for {world.now - since:.0f} s, nobody ends it"
                )

    def _due(self, transaction: Transaction) -> None:
        """A run that is due begins, when its host and its limits have room."""
        world, now = self._world, self._world.now
        if self._well_for < SLACK_SECONDS:
            self._could_begin.clear()
            return
        could = {run.id for run in self._free_to_begin(transaction) if self._may_begin(transaction, run)}
        self._could_begin = {run_id: self._could_begin.get(run_id, now) for run_id in sorted(could)}
        for run_id, since in self._could_begin.items():
            if now - since > BEGINS_WITHIN_SECONDS + world.skew_seconds and run_id not in self._told:
                self._told.add(run_id)
                run = world.invariants.shadow.runs[run_id]
                world.problem(f"run {run_id} could begin for {now - since:.0f} s and does not: {run.blocked_on}")

    def _free_to_begin(self, transaction: Transaction) -> list[Run]:
        """Those that wait, while every limit that they pass has room for all who wait for it, and no breaker is open."""
        shadow, world = self._world.invariants.shadow, self._world
        latest_us = world.clock.now_us() + int(world.skew_seconds * 1_000_000)
        ready = [run for run in shadow.open() if run.state is RunState.READY and run.not_before_us <= latest_us]
        if not ready or transaction.limits.breakers():
            return []
        scopes = {run.id: world.scopes(run, self._host_of(transaction, run)) for run in ready}
        waiting = Counter(where for some in scopes.values() for where in some)
        full = {where for where, number in waiting.items() if not self._room(where, number)}
        return [run for run in ready if full.isdisjoint(scopes[run.id])]

    def _host_of(self, transaction: Transaction, run: Run) -> str:
        if run.restore is not None:
            return run.restore.host_id
        vm = transaction.fleet.vm(run.vm_id)
        return vm.host_id if vm is not None else ""

    def _room(self, where: ScopeKey, number: int) -> bool:
        """For so many backups more."""
        shadow, now = self._world.invariants.shadow, self._world.now
        for measure in (Measure.TRANSFERRING, Measure.PREPARING):
            cap = shadow.cap(where, measure, now)
            kept = 0 if cap is None else kept_for_restores(where, measure, cap)
            if cap is not None and cap - kept - shadow.used(where, measure) < number:
                return False
        return True

    def _may_begin(self, transaction: Transaction, run: Run) -> bool:
        shadow, world = self._world.invariants.shadow, self._world
        now_us = world.clock.now_us() - int(world.skew_seconds * 1_000_000)
        if run.not_before_us > now_us or run.kind is not RunKind.BACKUP:
            return False
        vm = transaction.fleet.vm(run.vm_id)
        if vm is None or not vm.present:
            return False
        session = transaction.fleet.session(vm.host_id)
        if session is None or session.lease_until_us <= world.clock.now_us() + int(world.skew_seconds * 1_000_000):
            return False
        if shadow.service.get(vm.host_id, Service.IN_SERVICE) is not Service.IN_SERVICE:
            return False
        return not any(shadow.runs[each.run_id].vm_id == run.vm_id for each in shadow.live.values())
