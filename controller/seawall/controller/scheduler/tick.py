"""One look at everything: what is overdue, then what starts. A few transactions, each guarded by the leader's lease; their cost is what
changed, however large the fleet is (admission/mirror.py)."""

import asyncio
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import structlog

from seawall.controller.admission.facts import FleetFacts
from seawall.controller.admission.gates import BlockedOn
from seawall.controller.admission.mirror import FleetMirror, Sight
from seawall.controller.records.fleet import Session
from seawall.controller.records.limits import Service
from seawall.controller.records.runs import Attempt, AttemptState, Run, RunState
from seawall.controller.records.uuid7 import uuid7
from seawall.controller.runs.machine import Execution, assign, fence_off, lose, overdue, overdue_waiting
from seawall.controller.runs.steady import SteadyClock
from seawall.controller.scheduler.executions import Change, Executions
from seawall.controller.scheduler.leading import LeaderLease
from seawall.controller.scheduler.placement import Placement, plan
from seawall.controller.store import Transaction
from seawall.controller.timings import SECOND_US, Timings, microseconds
from seawall.repository.batches import in_batches

MOST_STARTED = 100
"""In one transaction: agents' calls wait for it."""
MOST_TOLD = 200
"""Sentences of runs that wait, written in one tick; the others follow in the next ones."""

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Around:
    """What decides about a live attempt besides itself."""

    db_epoch: int
    session: Session | None
    seen_elsewhere: bool


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
    ) -> None:
        self._executions = executions
        self._lease = lease
        self._clock = clock
        self._timings = timings
        self._random = rng
        self._mirror = mirror or FleetMirror()
        self._looked_us = self._awake_us = clock.started_us

    async def run_once(self) -> None:
        now_us = self._clock.now_us()
        sight, overdue_ids = await self._look(now_us)
        for attempt_id in overdue_ids:
            await self._settle(attempt_id, now_us)
        if overdue_ids:
            sight, _ = await self._look(now_us)
        await self._end_waiting(sight.ready, now_us)
        await self._place([run for run in sight.ready if now_us < run.deadline_us], sight.facts, now_us)

    def notice_a_gap(self) -> None:
        """Before each regular step. A controller that was stopped is like one that starts: what seems late had nobody to tell."""
        now_us = self._clock.now_us()
        away_seconds = (now_us - self._looked_us) / SECOND_US
        if away_seconds > self._timings.lease_ttl_seconds / 2:
            self._awake_us = now_us
            _log.warning("scheduler.was_away", seconds=round(away_seconds))
        self._looked_us = now_us

    async def _look(self, now_us: int) -> tuple[Sight, list[str]]:
        """The fleet, and the ids of the attempts that time changes."""

        def closure(transaction: Transaction) -> tuple[Sight, list[str]]:
            sight = self._mirror.look(transaction, now_us)
            return sight, self._overdue(transaction, sight, now_us)

        return await self._executions.store.read(closure)

    def _overdue(self, transaction: Transaction, sight: Sight, now_us: int) -> list[str]:
        sessions, db_epoch = sight.facts.sessions, transaction.leadership.db_epoch()
        late = transaction.runs.late(now_us)
        changed = []
        for attempt in sight.attempts:
            session = sessions.get(attempt.host_id)
            if not (attempt.run_id in late or _suspect(attempt, session, db_epoch, now_us)):
                continue
            run = transaction.runs.run(attempt.run_id)
            if run is not None:
                execution = Execution(run, attempt)
                around = _Around(db_epoch, session, _elsewhere(transaction, execution))
                if self._after(execution, around, now_us, 0.0).attempt != attempt:
                    changed.append(attempt.id)
        return changed

    async def _settle(self, attempt_id: str, now_us: int) -> None:
        leader, jitter = self._lease.current, self._random.random()

        def closure(change: Change) -> Execution:
            transaction = change.transaction
            transaction.leadership.check(leader)
            before = change.load(attempt_id)
            session = transaction.fleet.session(before.attempt.host_id)
            around = _Around(transaction.leadership.db_epoch(), session, _elsewhere(transaction, before))
            return change.save(before, self._after(before, around, now_us, jitter))

        after = await self._executions.change(closure)
        _log.info("attempt.overdue", attempt_id=attempt_id, run_id=after.run.id, state=after.attempt.state.value)

    def _after(self, execution: Execution, around: _Around, now_us: int, jitter: float) -> Execution:
        """After a start of the controller, or a long stop, nothing expires for a while: the hosts could not reach it."""
        if execution.attempt.db_epoch != around.db_epoch:
            return fence_off(execution, now_us, self._timings, jitter)
        if self._starting(now_us):
            return execution
        lost_before = execution.attempt.state is AttemptState.LOST
        if around.session is None or around.session.lease_until_us <= now_us:
            execution = lose(execution, now_us, self._timings)
        return overdue(execution, now_us, self._timings, jitter, lost_before and around.seen_elsewhere)

    async def _end_waiting(self, ready: Sequence[Run], now_us: int) -> None:
        """Runs that found no place in time. Not soon after a start: their hosts could not reach this controller."""
        late = [run.id for run in ready if now_us >= run.deadline_us]
        if self._starting(now_us) or not late:
            return
        leader = self._lease.current

        def closure(change: Change) -> None:
            change.transaction.leadership.check(leader)
            for run in change.transaction.runs.runs_of(late):
                change.transaction.runs.save_run(run, overdue_waiting(run, now_us))

        await self._executions.change(closure)

    def _starting(self, now_us: int) -> bool:
        return now_us < self._awake_us + microseconds(self._timings.failover_grace_seconds)

    async def _place(self, ready: Sequence[Run], facts: FleetFacts, now_us: int) -> None:
        # Tens of milliseconds for a large fleet: agents are answered meanwhile.
        made = await asyncio.to_thread(plan, ready, facts)
        for some in in_batches(made.placements, MOST_STARTED):
            await self._start(some, now_us)
        sentences = {run.id: run.blocked_on for run in ready}
        untold = [run_id for run_id, why in made.waiting.items() if sentences[run_id] != why.sentence][:MOST_TOLD]
        if untold:
            told = {run_id: made.waiting[run_id] for run_id in untold}
            await self._executions.change(lambda change: _tell(change, told), schedule=len(untold) == MOST_TOLD)

    async def _start(self, placements: Sequence[Placement], now_us: int) -> None:
        leader, attempt_ids = self._lease.current, [uuid7(self._clock) for _ in placements]

        def closure(change: Change) -> list[Attempt]:
            change.transaction.leadership.check(leader)
            epoch = change.transaction.leadership.db_epoch()
            begun = []
            for placement, attempt_id in zip(placements, attempt_ids, strict=True):
                run = _still(change.transaction, placement, now_us)
                if run is not None:
                    execution = assign(run, attempt_id, placement.host_id, epoch, now_us, self._timings)
                    begun.append(change.start(run, execution).attempt)
            return begun

        for attempt in await self._executions.change(closure):
            _log.info(
                "attempt.assigned",
                run_id=attempt.run_id,
                attempt_id=attempt.id,
                host=attempt.host_id,
                attempt_no=attempt.no,
            )


def _suspect(attempt: Attempt, session: Session | None, db_epoch: int, now_us: int) -> bool:
    """Whether time may change the attempt: what is not suspect is not looked at closer. The machine decides."""
    if attempt.state is AttemptState.PUBLISHING:
        return False
    return (
        attempt.state is AttemptState.LOST
        or attempt.db_epoch != db_epoch
        or attempt.phase_deadline_us <= now_us
        or session is None
        or session.lease_until_us <= now_us
    )


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
        if run.state is RunState.READY:
            change.transaction.runs.save_run(run, replace(run, blocked_on=waiting[run.id].sentence))


def _elsewhere(transaction: Transaction, execution: Execution) -> bool:
    """Whether another host reports the VM of a LOST attempt."""
    if execution.attempt.state is not AttemptState.LOST:
        return False
    vm = transaction.fleet.vm(execution.run.vm_id)
    return vm is not None and vm.present and vm.host_id != execution.attempt.host_id
