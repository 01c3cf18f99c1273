"""One look at everything: what is overdue, then what starts. Two transactions, each guarded by the leader's lease."""

import random
from collections import Counter
from dataclasses import replace

import structlog

from seawall.controller.records.runs import Attempt, AttemptState, RunState
from seawall.controller.records.uuid7 import uuid7
from seawall.controller.runs.machine import Execution, assign, fence_off, lose, overdue, overdue_waiting
from seawall.controller.runs.steady import SteadyClock
from seawall.controller.scheduler.executions import Change, Executions
from seawall.controller.scheduler.leading import LeaderLease
from seawall.controller.scheduler.placement import FleetFacts, Limits, Plan, plan
from seawall.controller.store import Transaction
from seawall.controller.timings import SECOND_US, Timings, microseconds

_log = structlog.get_logger()


class Tick:
    """The scheduler's step. `run_once` may be called at any time, also twice."""

    def __init__(
        self,
        executions: Executions,
        lease: LeaderLease,
        clock: SteadyClock,
        timings: Timings,
        limits: Limits,
        rng: random.Random,
    ) -> None:
        self._executions = executions
        self._lease = lease
        self._clock = clock
        self._timings = timings
        self._limits = limits
        self._random = rng
        self._looked_us = self._awake_us = clock.started_us

    async def run_once(self) -> None:
        now_us = self._clock.now_us()
        for execution in await self._executions.store.read(lambda transaction: self._overdue(transaction, now_us)):
            await self._settle(execution, now_us)
        await self._end_waiting(now_us)
        await self._place(now_us)

    def notice_a_gap(self) -> None:
        """Before each regular step. A controller that was stopped is like one that starts: what seems late had nobody to tell."""
        now_us = self._clock.now_us()
        away_seconds = (now_us - self._looked_us) / SECOND_US
        if away_seconds > self._timings.lease_ttl_seconds / 2:
            self._awake_us = now_us
            _log.warning("scheduler.was_away", seconds=round(away_seconds))
        self._looked_us = now_us

    def _overdue(self, transaction: Transaction, now_us: int) -> list[str]:
        """Ids of the attempts that time changes."""
        changed = []
        for attempt in transaction.runs.live_attempts():
            run = transaction.runs.run(attempt.run_id)
            if run is not None and self._after(transaction, Execution(run, attempt), now_us, 0.0).attempt != attempt:
                changed.append(attempt.id)
        return changed

    async def _settle(self, attempt_id: str, now_us: int) -> None:
        leader, jitter = self._lease.current, self._random.random()

        def closure(change: Change) -> Execution:
            change.transaction.leadership.check(leader)
            before = change.load(attempt_id)
            return change.save(before, self._after(change.transaction, before, now_us, jitter))

        after = await self._executions.change(closure)
        _log.info("attempt.overdue", attempt_id=attempt_id, run_id=after.run.id, state=after.attempt.state.value)

    def _after(self, transaction: Transaction, execution: Execution, now_us: int, jitter: float) -> Execution:
        """After a start of the controller, or a long stop, nothing expires for a while: the hosts could not reach it."""
        if execution.attempt.db_epoch != transaction.leadership.db_epoch():
            return fence_off(execution, now_us, self._timings, jitter)
        if self._starting(now_us):
            return execution
        attempt = execution.attempt
        session = transaction.fleet.session(attempt.host_id)
        if session is None or session.lease_until_us <= now_us:
            execution = lose(execution, now_us, self._timings)
        elsewhere = attempt.state is AttemptState.LOST and _seen_elsewhere(transaction, execution)
        return overdue(execution, now_us, self._timings, jitter, elsewhere)

    async def _end_waiting(self, now_us: int) -> None:
        """Runs that found no place in time. Not soon after a start: their hosts could not reach this controller."""
        if self._starting(now_us):
            return
        waiting = await self._executions.store.read(lambda transaction: transaction.runs.ready(now_us))
        leader = self._lease.current

        def closure(change: Change) -> None:
            change.transaction.leadership.check(leader)
            for late in waiting:
                run = change.transaction.runs.run(late.id)
                if run is not None:
                    change.transaction.runs.save_run(run, overdue_waiting(run, now_us))

        if any(overdue_waiting(run, now_us) != run for run in waiting):
            await self._executions.change(closure)

    def _starting(self, now_us: int) -> bool:
        return now_us < self._awake_us + microseconds(self._timings.failover_grace_seconds)

    async def _place(self, now_us: int) -> None:
        made = await self._executions.store.read(lambda transaction: self._plan(transaction, now_us))
        for placement in made.placements:
            await self._start(placement.run.id, placement.host_id, now_us)
        changed = [each for each in made.waiting if each.run.blocked_on != each.blocked_on]
        if changed:
            await self._executions.change(
                lambda change: _explain(change, {each.run.id: each.blocked_on for each in changed})
            )

    def _plan(self, transaction: Transaction, now_us: int) -> Plan:
        ready = [run for run in transaction.runs.ready(now_us) if now_us < run.deadline_us]
        if not ready:
            return Plan((), ())
        return plan(ready, fleet_facts(transaction, now_us, [run.vm_id for run in ready]), self._limits)

    async def _start(self, run_id: str, host_id: str, now_us: int) -> None:
        leader, attempt_id = self._lease.current, uuid7(self._clock)

        def closure(change: Change) -> Attempt | None:
            change.transaction.leadership.check(leader)
            run = change.transaction.runs.run(run_id)
            if run is None or run.state is not RunState.READY or run.not_before_us > now_us:
                return None
            epoch = change.transaction.leadership.db_epoch()
            return change.start(run, assign(run, attempt_id, host_id, epoch, now_us, self._timings)).attempt

        attempt = await self._executions.change(closure)
        if attempt is not None:
            _log.info("attempt.assigned", run_id=run_id, attempt_id=attempt_id, host=host_id, attempt_no=attempt.no)


def fleet_facts(transaction: Transaction, now_us: int, vm_ids: list[str]) -> FleetFacts:
    found = [transaction.fleet.vm(vm_id) for vm_id in vm_ids]
    return FleetFacts(
        now_us=now_us,
        hosts={host.id: host for host in transaction.fleet.hosts(limit=100_000)},
        sessions={session.agent_id: session for session in transaction.fleet.sessions()},
        vms={vm.id: vm for vm in found if vm is not None},
        busy=Counter(attempt.host_id for attempt in transaction.runs.live_attempts()),
    )


def _explain(change: Change, blocked_on: dict[str, str]) -> None:
    for run_id, sentence in blocked_on.items():
        run = change.transaction.runs.run(run_id)
        if run is not None and run.state is RunState.READY:
            change.transaction.runs.save_run(run, replace(run, blocked_on=sentence))


def _seen_elsewhere(transaction: Transaction, execution: Execution) -> bool:
    vm = transaction.fleet.vm(execution.run.vm_id)
    return vm is not None and vm.present and vm.host_id != execution.attempt.host_id
