"""What becomes of a policy's open runs when its windows close. Part of the leader; level-triggered: any look finds what is to be done.

What did not begin waits for the next window, or is over when that comes too late; what runs goes on, or is canceled, as the policy says.
"""

from datetime import datetime, timedelta
from enum import Enum

import structlog

from seawall.controller.policies.compiled import Compiled
from seawall.controller.policies.decision import closed
from seawall.controller.records.policies import WindowEnd
from seawall.controller.records.runs import Failure, FailureKind, Run, RunState, RunWarning
from seawall.controller.runs import ready
from seawall.controller.runs.events import CancelAsked, Moment
from seawall.controller.runs.machine import Execution, step
from seawall.controller.runs.steady import SteadyClock
from seawall.controller.scheduler.executions import Change, Executions
from seawall.controller.scheduler.leading import LeaderLease
from seawall.controller.store.transaction import Transaction
from seawall.controller.timings import SECOND_US, Timings
from seawall.repository.clock import Clock, datetime_of

_MICROSECOND = timedelta(microseconds=1)

_log = structlog.get_logger()


class Close(Enum):
    """What a closed window means for one run."""

    NOTHING = "nothing"
    WAIT = "wait"
    CANCEL = "cancel"
    GIVE_UP = "give up"


def closing(compiled: Compiled, run: Run, now: datetime) -> Close:
    """Pure. Of a run of the policy that is not over."""
    rules = compiled.rules
    asked = run.backup is not None and run.backup.asked
    if asked or rules.windows.open_at(now):
        return Close.NOTHING
    if run.state is RunState.READY:
        opening = rules.windows.next_open(now)
        late = opening is None or opening.start - datetime_of(run.nominal_us) > rules.catch_up
        return Close.GIVE_UP if late else Close.WAIT
    if run.cancel_us or rules.spec.window_end is WindowEnd.NO_NEW_STARTS:
        return Close.NOTHING
    if rules.spec.window_end is WindowEnd.CANCEL:
        return Close.CANCEL
    ended = rules.windows.last_close(now)
    over = ended is None or now - ended >= timedelta(seconds=rules.spec.finish_seconds)
    return Close.CANCEL if over else Close.NOTHING


class Closing:
    """`run_once` may be called at any time, also twice."""

    def __init__(
        self, executions: Executions, lease: LeaderLease, wall: Clock, clock: SteadyClock, timings: Timings
    ) -> None:
        self._executions = executions
        self._lease = lease
        self._wall = wall
        self._clock = clock
        self._timings = timings

    async def run_once(self) -> None:
        """Raises Unavailable/NOT_LEADER."""
        now = datetime_of(self._wall.now_us())
        # What a deleted policy began keeps to its windows.
        policies = await self._executions.store.read(lambda transaction: transaction.policies.policies(deleted=True))
        for compiled in [Compiled.of(policy) for policy in policies if policy.spec.windows]:
            try:
                if not compiled.rules.windows.open_at(now):
                    await self._close(compiled, now)
            except (ValueError, LookupError):
                # Its zone is gone with an upgrade, say: the other policies go on, and are fired.
                _log.exception("policy.unreadable", policy=compiled.policy.name, revision=compiled.policy.revision)

    async def _close(self, compiled: Compiled, now: datetime) -> None:
        run_ids = await self._executions.store.read(
            lambda transaction: transaction.policies.open_runs(compiled.policy.id)
        )
        for run_id in run_ids:
            await self._one(compiled, run_id, now)

    async def _one(self, compiled: Compiled, run_id: str, now: datetime) -> None:
        moment = Moment(self._clock.now_us(), self._timings)

        def concerned(transaction: Transaction) -> bool:
            return self._concerned(transaction, compiled, run_id, now, moment)

        # Runs wait for a window all day: to write at each look, changing nothing, would keep the database busy.
        if not await self._executions.store.read(concerned):
            return
        leader = self._lease.current

        def closure(change: Change) -> Close:
            change.transaction.leadership.check(leader)
            run = change.transaction.runs.run(run_id)
            if run is None or run.state.over:
                return Close.NOTHING
            what = closing(compiled, run, now)
            return what if self._close_one(change, compiled, run, what, now, moment) else Close.NOTHING

        done = await self._executions.change(closure)
        if done is not Close.NOTHING:
            _log.info("policy.window_closed", policy=compiled.policy.name, run_id=run_id, outcome=done.value)

    def _concerned(
        self, transaction: Transaction, compiled: Compiled, run_id: str, now: datetime, moment: Moment
    ) -> bool:
        """Whether the close changes anything for the run, as it is now."""
        run = transaction.runs.run(run_id)
        if run is None or run.state.over:
            return False
        what = closing(compiled, run, now)
        if what is not Close.CANCEL:
            return self._after(compiled, run, what, now, moment) != run
        attempt = transaction.runs.attempt(run.current_attempt)
        before = Execution(run, attempt) if attempt is not None else None
        return before is not None and step(before, _cancel(compiled), moment).after != before

    def _close_one(
        self, change: Change, compiled: Compiled, run: Run, what: Close, now: datetime, moment: Moment
    ) -> bool:
        """Whether it changed anything."""
        if what is Close.CANCEL:
            execution = change.of_run(run)
            return execution is not None and change.take(execution, _cancel(compiled), moment).after != execution
        return change.save_ready(run, self._after(compiled, run, what, now, moment)) != run

    def _after(self, compiled: Compiled, run: Run, what: Close, now: datetime, moment: Moment) -> Run:
        """A run that no attempt works on, once the window has closed on it."""
        if what is Close.WAIT:
            return self._later(compiled, run, now, moment)
        if what is Close.GIVE_UP:
            next_step = "Back the VM up by hand, or give the policy a longer window or catch_up."
            failure = Failure("WINDOW_ENDED", closed(compiled), next_step, FailureKind.PERMANENT)
            return ready.shut_out(run, failure, moment)
        return run

    def _later(self, compiled: Compiled, run: Run, now: datetime, moment: Moment) -> Run:
        """The run as it waits for the next window."""
        stretch = compiled.rules.windows.next_open(now)
        if stretch is None or run.not_before_us >= moment.now_us + (stretch.start - now) // _MICROSECOND - SECOND_US:
            return run  # it waits for it already
        opening = compiled.opening_after(run.vm_id, now, compiled.rules.spread_from(datetime_of(run.nominal_us)))
        start_us = moment.now_us + (opening - now) // _MICROSECOND
        return ready.postponed(run, start_us, _waits(compiled, opening), moment)


def _cancel(compiled: Compiled) -> CancelAsked:
    return CancelAsked(RunWarning("WINDOW_ENDED", f"The window of policy {compiled.policy.name} ended while it ran."))


def _waits(compiled: Compiled, opening: datetime) -> str:
    local = opening.astimezone(compiled.rules.zone)
    return f"waits for the window of policy {compiled.policy.name} ({local:%a %H:%M %Z})"
