"""What becomes of a policy's open runs when its windows close. Part of the leader; level-triggered: any look finds what is to be done.

What did not begin waits for the next window, or is over when that comes too late; what runs goes on, or is canceled, as the policy says.
Until a look has moved a run, placement leaves it where it is (in_window.py).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from functools import cached_property, partial

import structlog

from seawall.controller.errors import ResourceExhausted, Unavailable
from seawall.controller.policies.compiled import Compiled
from seawall.controller.policies.decision import closed
from seawall.controller.policies.windows import Stretch
from seawall.controller.records.policies import WindowEnd
from seawall.controller.records.runs import WINDOW_ENDED, Failure, FailureKind, Run, RunState, RunWarning
from seawall.controller.runs import ready
from seawall.controller.runs.events import CancelAsked, Moment
from seawall.controller.runs.machine import Execution, step
from seawall.controller.runs.steady import SteadyClock
from seawall.controller.scheduler.executions import Change, Executions
from seawall.controller.scheduler.leading import LeaderLease
from seawall.controller.scheduler.setbacks import Setbacks
from seawall.controller.store.transaction import Transaction
from seawall.controller.timings import SECOND_US, Timings
from seawall.repository.batches import in_batches
from seawall.repository.clock import Clock, datetime_of, microseconds_of

SLICE = 200
"""Runs a transaction: others get their turn in between."""
_MICROSECOND = timedelta(microseconds=1)

_log = structlog.get_logger()


class Close(Enum):
    """What a closed window means for one run."""

    NOTHING = "nothing"
    WAIT = "wait"
    CANCEL = "cancel"
    GIVE_UP = "give up"


@dataclass(frozen=True)
class Shut:
    """A policy between its windows, at one moment. Pure; what is the same for all of its runs is found once."""

    compiled: Compiled
    now: datetime
    moment: Moment

    @cached_property
    def opening(self) -> Stretch | None:
        """The next window; None: there will be none."""
        return self.compiled.rules.windows.next_open(self.now)

    @cached_property
    def begin_us(self) -> int:
        """In steady time: a READY run that begins no sooner waits for the next window already."""
        return self._steady_us(self.opening.start) - SECOND_US if self.opening is not None else 0

    @cached_property
    def late_us(self) -> int:
        """Nominal times before this one are too long ago for the next window."""
        if self.opening is None:
            return microseconds_of(self.now)
        return microseconds_of(self.opening.start - self.compiled.rules.catch_up)

    @cached_property
    def cancels(self) -> bool:
        """Whether what runs is to end."""
        spec = self.compiled.policy.spec
        if spec.window_end is not WindowEnd.FINISH_CURRENT:
            return spec.window_end is WindowEnd.CANCEL
        ended = self.compiled.rules.windows.last_close(self.now)
        return ended is None or self.now - ended >= timedelta(seconds=spec.finish_seconds)

    def of(self, run: Run) -> Close:
        """What it means for a run of the policy that is not over."""
        if not ready.by_policy_alone(run):
            return Close.NOTHING
        if run.state is RunState.READY:
            late = self.opening is None or run.nominal_us < self.late_us
            return Close.GIVE_UP if late else Close.WAIT
        return Close.CANCEL if self.cancels and not run.cancel_us else Close.NOTHING

    def after(self, run: Run, what: Close) -> Run:
        """A run that no attempt works on."""
        if what is Close.WAIT and run.not_before_us < self.begin_us:
            return self._later(run)
        if what is Close.GIVE_UP:
            next_step = "Back the VM up by hand, or give the policy a longer window or catch_up."
            failure = Failure(WINDOW_ENDED, closed(self.compiled), next_step, FailureKind.PERMANENT)
            return ready.shut_out(run, failure, self.moment)
        return run

    def _later(self, run: Run) -> Run:
        """The run as it waits for the next window."""
        opening = self.compiled.opening_after(run.vm_id, self.now, self._spread(run.nominal_us))
        return ready.postponed(run, self._steady_us(opening), _waits(self.compiled, opening), self.moment)

    @cached_property
    def _spreads(self) -> dict[int, timedelta]:
        return {}

    def _spread(self, nominal_us: int) -> timedelta:
        """Of thousands of runs all but a few have one nominal time, and to search the calendar costs."""
        if nominal_us not in self._spreads:
            self._spreads[nominal_us] = self.compiled.rules.spread_from(datetime_of(nominal_us))
        return self._spreads[nominal_us]

    def _steady_us(self, instant: datetime) -> int:
        return self.moment.now_us + (instant - self.now) // _MICROSECOND


class Closing:
    """`run_once` and `close` may be called at any time, also twice, also at once."""

    def __init__(
        self, executions: Executions, lease: LeaderLease, wall: Clock, clock: SteadyClock, timings: Timings
    ) -> None:
        self._executions = executions
        self._lease = lease
        self._wall = wall
        self._clock = clock
        self._timings = timings
        self._setbacks = Setbacks(clock, timings.scheduler_interval_seconds)

    async def run_once(self) -> None:
        """Raises Unavailable/NOT_LEADER."""
        now = datetime_of(self._wall.now_us())
        # What a deleted policy began keeps to its windows.
        policies = await self._executions.store.read(lambda transaction: transaction.policies.policies(deleted=True))
        for compiled in [Compiled.of(policy) for policy in policies if policy.spec.windows]:
            policy = compiled.policy
            key = (policy.id, policy.revision)
            if not self._setbacks.waits(key):
                # Its zone is gone with an upgrade, say: the other policies go on.
                with self._setbacks.of(key, "policy.not_closed", policy=policy.name, revision=policy.revision):
                    await self.close(compiled, now)

    async def close(self, compiled: Compiled, now: datetime) -> None:
        """Of one policy, if its windows are closed. Raises Unavailable/NOT_LEADER, zoneinfo's errors."""
        if compiled.rules.windows.open_at(now):
            return
        shut = Shut(compiled, now, Moment(self._clock.now_us(), self._timings))
        for some in in_batches(await self._executions.store.read(partial(_open_runs, shut=shut)), SLICE):
            await self._close(shut, some)

    async def _close(self, shut: Shut, run_ids: Sequence[str]) -> None:
        # What has to stop does not do so at once: to write at each look, changing nothing, would keep the database busy.
        concerned = await self._executions.store.read(partial(_concerned, shut=shut, run_ids=run_ids))
        concerned = [run_id for run_id in concerned if not self._setbacks.waits(run_id)]
        if concerned:
            try:
                await self._write(shut, concerned)
            except (Unavailable, ResourceExhausted):
                raise
            except Exception:
                await self._one_by_one(shut, concerned)

    async def _one_by_one(self, shut: Shut, run_ids: Sequence[str]) -> None:
        """One of them is in the way of the others, and nobody else's."""
        for run_id in run_ids:
            with self._setbacks.of(run_id, "policy.run_not_closed", policy=shut.compiled.policy.name, run_id=run_id):
                await self._write(shut, [run_id])

    async def _write(self, shut: Shut, run_ids: Sequence[str]) -> None:
        leader = self._lease.current

        def closure(change: Change) -> Counter[Close]:
            change.transaction.leadership.check(leader)
            runs = [run for run in change.transaction.runs.runs_of(run_ids) if not run.state.over]
            return Counter(
                what for run in runs if (what := shut.of(run)) is not Close.NOTHING and _one(change, shut, run)
            )

        done = await self._executions.change(closure)
        told = {what.value.replace(" ", "_"): count for what, count in done.items()}
        _log.info("policy.window_closed", policy=shut.compiled.policy.name, **told)


def _open_runs(transaction: Transaction, shut: Shut) -> Sequence[str]:
    """Ids of the policy's open runs that a closed window may change."""
    return transaction.policies.open_runs(
        shut.compiled.policy.id, begin_us=shut.begin_us, nominal_us=shut.late_us, active=shut.cancels
    )


def _concerned(transaction: Transaction, shut: Shut, run_ids: Sequence[str]) -> list[str]:
    """Those of which the close changes anything, as they are now."""
    return [run.id for run in transaction.runs.runs_of(run_ids) if _changes(transaction, shut, run)]


def _changes(transaction: Transaction, shut: Shut, run: Run) -> bool:
    what = shut.of(run)
    if run.state.over or what is Close.NOTHING:
        return False
    if what is not Close.CANCEL:
        return shut.after(run, what) != run
    attempt = transaction.runs.attempt(run.current_attempt)
    before = Execution(run, attempt) if attempt is not None else None
    return before is not None and step(before, _cancel(shut.compiled), shut.moment).after != before


def _one(change: Change, shut: Shut, run: Run) -> bool:
    """Whether it changed anything."""
    what = shut.of(run)
    if what is Close.CANCEL:
        execution = change.of_run(run)
        return execution is not None and change.take(execution, _cancel(shut.compiled), shut.moment).after != execution
    return change.save_ready(run, shut.after(run, what)) != run


def _cancel(compiled: Compiled) -> CancelAsked:
    return CancelAsked(RunWarning(WINDOW_ENDED, f"The window of policy {compiled.policy.name} ended while it ran."))


def _waits(compiled: Compiled, opening: datetime) -> str:
    local = opening.astimezone(compiled.rules.zone)
    return f"waits for the window of policy {compiled.policy.name} ({local:%a %H:%M %Z})"
