"""One look at everything: what is overdue, then what starts. A few transactions, each guarded by the leader's lease; their cost is what
changed, however large the fleet is (admission/mirror.py)."""

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import islice

import structlog

from seawall.controller.admission.facts import FleetFacts
from seawall.controller.admission.gates import BlockedOn
from seawall.controller.admission.lines import Lines
from seawall.controller.admission.mirror import FleetMirror, Sight
from seawall.controller.hooks.decision import holds_back, was_begun
from seawall.controller.records.fleet import Session
from seawall.controller.records.limits import Service
from seawall.controller.records.runs import Attempt, AttemptState, Run, RunState
from seawall.controller.records.uuid7 import uuid7
from seawall.controller.runs import ready as waiting_runs
from seawall.controller.runs.events import Moment, TimePassed
from seawall.controller.runs.machine import Execution, may_change, step
from seawall.controller.runs.steady import SteadyClock
from seawall.controller.scheduler.doubting import doubt_waits
from seawall.controller.scheduler.executions import Change, Executions
from seawall.controller.scheduler.in_window import outside
from seawall.controller.scheduler.leading import LeaderLease
from seawall.controller.scheduler.placement import Placement, plan_lines
from seawall.controller.store.transaction import Transaction
from seawall.controller.timings import SECOND_US, Timings, microseconds
from seawall.repository.batches import in_batches
from seawall.repository.clock import Clock

MOST_STARTED = 100
"""In one transaction: agents' calls wait for it."""
MOST_TOLD = 200
"""Sentences of runs that wait, written in one tick; the others follow in the next ones."""

_log = structlog.get_logger()


class Tick:
    """The scheduler's step. `run_once` may be called at any time, also twice."""

    def __init__(
        self,
        executions: Executions,
        lease: LeaderLease,
        clock: SteadyClock,
        timings: Timings,
        rng: random.Random,
        mirror: FleetMirror | None = None,
        may_start: Callable[[], bool] = lambda: True,
        wall: Clock | None = None,
    ) -> None:
        """`may_start`: whether the database takes what a start has to write down. `wall`: judges windows; None: `clock` does."""
        self._executions = executions
        self._lease = lease
        self._clock = clock
        self._timings = timings
        self._random = rng
        self._mirror = mirror or FleetMirror()
        self._may_start = may_start
        self._wall = wall or clock
        self._looked_us = self._awake_us = clock.started_us
        self._next_due_us = 0
        self._doubts = True
        """Whether another clock may have said until when runs wait: that of whoever led before, or ours before it was set."""
        self.took_seconds = 0.0
        """The last `run_once`."""

    async def run_once(self) -> None:
        begun, self._next_due_us = self._clock.monotonic_seconds(), 0
        try:
            await self._step()
        finally:
            self.took_seconds = self._clock.monotonic_seconds() - begun

    async def _step(self) -> None:
        now_us = self._clock.now_us()
        sight, overdue_ids = await self._look(now_us)
        for attempt_id in overdue_ids:
            await self._settle(attempt_id, now_us)
        if overdue_ids:
            sight, _ = await self._look(now_us)
        late = [run.id for run in sight.ready if now_us >= run.deadline_us]
        await self._end_waiting(late, now_us)
        if self._may_start():
            await self._place(sight.lines.without(late) if late else sight.lines, sight.facts, now_us)
        self._next_due_us = sight.next_due_us
        if self._doubts:
            # After what can begin: nothing of it waits for this, which reads all that waits.
            await doubt_waits(self._executions, self._lease, Moment(now_us, self._timings))
            self._doubts = False

    def pause_seconds(self, longest: float) -> float:
        """Until the next regular look: when the next waiting run is due, as the last look saw it, or after the longest pause."""
        if not self._next_due_us:
            return longest
        return min(longest, max(0.0, (self._next_due_us - self._clock.now_us()) / SECOND_US))

    def notice_a_gap(self) -> None:
        """Before each regular step. A controller that was stopped is like one that starts: what seems late had nobody to tell. So is one
        that agreed to an earlier time since (agreeing.py)."""
        now_us = self._clock.now_us()
        away_seconds = (now_us - self._looked_us) / SECOND_US
        if not 0 <= away_seconds <= self._timings.lease_ttl_seconds / 2:
            self._awake_us, self._doubts = now_us, True
            _log.warning("scheduler.was_away", seconds=round(away_seconds))
        self._looked_us = now_us

    async def _look(self, now_us: int) -> tuple[Sight, list[str]]:
        """The fleet, and the ids of the attempts that time changes."""

        def closure(transaction: Transaction) -> tuple[Sight, list[str]]:
            sight = self._mirror.look(transaction, now_us)
            held = outside(sight.windowed, sight.ready, self._wall.now_us())
            placeable = replace(sight, lines=sight.lines.without(frozenset(held))) if held else sight
            return placeable, self._overdue(transaction, sight, now_us)

        return await self._executions.store.read(closure)

    def _overdue(self, transaction: Transaction, sight: Sight, now_us: int) -> list[str]:
        sessions, db_epoch = sight.facts.sessions, transaction.leadership.db_epoch()
        late = transaction.runs.late(now_us)
        changed = []
        for attempt in sight.attempts:
            session = sessions.get(attempt.host_id)
            online = _online(session, now_us)
            if not (attempt.run_id in late or may_change(attempt, db_epoch, online, now_us)):
                continue
            run = transaction.runs.run(attempt.run_id)
            if run is not None:
                execution = Execution(run, attempt)
                event = self._passed(transaction, execution, db_epoch, online, now_us)
                if step(execution, event, Moment(now_us, self._timings)).after.attempt != attempt:
                    changed.append(attempt.id)
        return changed

    async def _settle(self, attempt_id: str, now_us: int) -> None:
        leader, moment = self._lease.current, Moment(now_us, self._timings, self._random.random())

        def closure(change: Change) -> Execution:
            transaction = change.transaction
            transaction.leadership.check(leader)
            before = change.load(attempt_id)
            online = _online(transaction.fleet.session(before.attempt.host_id), now_us)
            event = self._passed(transaction, before, transaction.leadership.db_epoch(), online, now_us)
            return change.take(before, event, moment).after

        after = await self._executions.change(closure)
        _log.info("attempt.overdue", attempt_id=attempt_id, run_id=after.run.id, state=after.attempt.state.value)

    def _passed(
        self, transaction: Transaction, execution: Execution, db_epoch: int, online: bool, now_us: int
    ) -> TimePassed:
        """After a start of the controller, or a long stop, nothing expires for a while: the hosts could not reach it."""
        waits, begun = _hooks(transaction, execution, now_us)
        return TimePassed(db_epoch, online, _elsewhere(transaction, execution), self._starting(now_us), waits, begun)

    async def _end_waiting(self, late: Sequence[str], now_us: int) -> None:
        """Runs that found no place in time. Not soon after a start: their hosts could not reach this controller."""
        if self._starting(now_us) or not late:
            return
        leader, moment = self._lease.current, Moment(now_us, self._timings)

        def closure(change: Change) -> None:
            change.transaction.leadership.check(leader)
            for run in change.transaction.runs.runs_of(late):
                change.save_ready(run, waiting_runs.overdue(run, moment))

        await self._executions.change(closure)

    def _starting(self, now_us: int) -> bool:
        return now_us < self._awake_us + microseconds(self._timings.failover_grace_seconds)

    async def _place(self, lines: Lines, facts: FleetFacts, now_us: int) -> None:
        # Ten milliseconds and more for a large fleet: agents are answered meanwhile.
        made = await asyncio.to_thread(plan_lines, lines, facts)
        for some in in_batches(made.placements, MOST_STARTED):
            await self._start(some, now_us)
        # Everything that waits, at each tick, to find the few whose cause is another one now.
        told = dict(islice(made.untold().items(), MOST_TOLD))
        if told:
            await self._executions.change(lambda change: _tell(change, told), schedule=len(told) == MOST_TOLD)

    async def _start(self, placements: Sequence[Placement], now_us: int) -> None:
        leader, attempt_ids = self._lease.current, [uuid7(self._clock) for _ in placements]
        moment = Moment(now_us, self._timings)

        def closure(change: Change) -> list[Attempt]:
            change.transaction.leadership.check(leader)
            epoch = change.transaction.leadership.db_epoch()
            under_way = change.transaction.runs.under_way([placement.run.vm_id for placement in placements])
            begun = []
            for placement, attempt_id in zip(placements, attempt_ids, strict=True):
                run = _still(change.transaction, placement, now_us)
                if run is not None and (run.restore is not None or (run.vm_id, run.repository_id) not in under_way):
                    begun.append(change.start(run, attempt_id, placement.host_id, epoch, moment).attempt)
            return begun

        for attempt in await self._executions.change(closure):
            _log.info(
                "attempt.assigned",
                run_id=attempt.run_id,
                attempt_id=attempt.id,
                host=attempt.host_id,
                attempt_no=attempt.no,
            )


def _hooks(transaction: Transaction, execution: Execution, now_us: int) -> tuple[bool, bool]:
    """(`hook_waits`, `hook_begun`) of an attempt that would expire."""
    run, attempt = execution.run, execution.attempt
    if not run.policy_id or attempt.state is not AttemptState.ASSIGNED or now_us < attempt.phase_deadline_us:
        return False, False
    calls = transaction.hooks.calls_of([run.id])
    return holds_back(calls, attempt.id) is not None, was_begun(calls, attempt.id)


def _online(session: Session | None, now_us: int) -> bool:
    return session is not None and session.lease_until_us > now_us


def _still(transaction: Transaction, placement: Placement, now_us: int) -> Run | None:
    """The run as it is now, if the plan still fits: it was made of what the mirror knew."""
    run = transaction.runs.run(placement.run.id)
    host = transaction.fleet.host(placement.host_id)
    if run is None or run.state is not RunState.READY or run.not_before_us > now_us:
        return None
    if host is None or host.service is not Service.IN_SERVICE:
        return None
    if run.restore is None:
        vm = transaction.fleet.vm(run.vm_id)
        if vm is None or not vm.present or vm.host_id != placement.host_id:
            return None
    return run


def _tell(change: Change, waiting: Mapping[str, BlockedOn]) -> None:
    for run in change.transaction.runs.runs_of(list(waiting)):
        change.save_ready(run, waiting_runs.told_why(run, waiting[run.id].sentence))


def _elsewhere(transaction: Transaction, execution: Execution) -> bool:
    """Whether another host reports the VM of a LOST attempt."""
    if execution.attempt.state is not AttemptState.LOST:
        return False
    vm = transaction.fleet.vm(execution.run.vm_id)
    return vm is not None and vm.present and vm.host_id != execution.attempt.host_id
