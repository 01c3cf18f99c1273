"""The state machine of runs and attempts: each function takes a run with its attempt and an event, and returns both as they are after it.

    Run:     READY -> ACTIVE -> SUCCEEDED | SUCCEEDED_WITH_WARNINGS | FAILED | CANCELED;  ACTIVE -> READY to try again
    Attempt: ASSIGNED -> PREPARING -> TRANSFERRING -> PUBLISHING -> SUCCEEDED
             ASSIGNED -> EXPIRED;  any but PUBLISHING -> FAILED | CANCELED;  PREPARING, TRANSFERRING <-> LOST -> ABANDONED

Nothing here reads a clock, a database or a random number. An event that may not happen raises FailedPrecondition (FENCED, CANCELED).
"""

from dataclasses import dataclass, replace

from seawall.controller.errors import FailedPrecondition
from seawall.controller.records.runs import (
    Attempt,
    AttemptState,
    Failure,
    FailureKind,
    Run,
    RunKind,
    RunState,
    RunWarning,
)
from seawall.controller.runs.retry import AGENT_RESTARTED, after_failure
from seawall.controller.timings import Timings, microseconds

WORKING = (AttemptState.PREPARING, AttemptState.TRANSFERRING)


@dataclass(frozen=True, slots=True)
class Execution:
    """A run and the attempt that an event is about (not always the current one)."""

    run: Run
    attempt: Attempt

    @property
    def current(self) -> bool:
        """May act: the run's present attempt, and live."""
        run, attempt = self.run, self.attempt
        return run.state is RunState.ACTIVE and run.current_attempt == attempt.id and attempt.state.live


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the host of an attempt should be doing: an entry of its desired set."""

    attempt_id: str
    cancel: bool


def wanted(execution: Execution) -> Wanted | None:
    """The entry in the host's desired set, None when there is none. Its host's generation grows when this changes."""
    if not execution.current or execution.attempt.state is AttemptState.PUBLISHING:
        return None
    return Wanted(execution.attempt.id, execution.run.cancel_us > 0)


def fence(execution: Execution) -> None:
    """Raises FENCED or CANCELED unless the attempt may still act."""
    if execution.attempt.state is AttemptState.CANCELED:
        raise FailedPrecondition("CANCELED", f"Attempt {execution.attempt.id} was canceled; clean up.")
    if not execution.current:
        raise FailedPrecondition(
            "FENCED", f"Attempt {execution.attempt.id} is over ({execution.attempt.state}); stop and clean up."
        )


def assign(run: Run, attempt_id: str, host_id: str, db_epoch: int, now_us: int, timings: Timings) -> Execution:
    """A READY run gets its next attempt, for one host."""
    attempt = Attempt(
        id=attempt_id,
        run_id=run.id,
        no=run.attempt_count + 1,
        host_id=host_id,
        db_epoch=db_epoch,
        state=AttemptState.ASSIGNED,
        created_us=now_us,
        phase_deadline_us=now_us + microseconds(timings.assigned_seconds),
    )
    active = replace(
        run, state=RunState.ACTIVE, current_attempt=attempt_id, attempt_count=attempt.no, blocked_on="", failure=None
    )
    return Execution(active, attempt)


def accept(execution: Execution, session_id: str, now_us: int, timings: Timings) -> Execution:
    """The agent takes the attempt. Repeatable by the same session until the hand-in."""
    fence(execution)
    attempt = execution.attempt
    if attempt.state is AttemptState.ASSIGNED:
        deadline = now_us + microseconds(timings.preparing_seconds)
        accepted = replace(attempt, state=AttemptState.PREPARING, session_id=session_id, phase_deadline_us=deadline)
        return replace(execution, attempt=accepted)
    if attempt.session_id != session_id or attempt.state is AttemptState.PUBLISHING:
        raise FailedPrecondition("FENCED", f"Attempt {attempt.id} was taken already.")
    return execution


def report(execution: Execution, phase: AttemptState, moved: bool, now_us: int, timings: Timings) -> Execution:
    """A heartbeat names the attempt. `phase` is what its worker says; `moved`: it got further since the last report.

    A LOST attempt comes back. Phases never go backwards, and a worker cannot report itself past TRANSFERRING.
    """
    execution = _found(execution, now_us, timings)
    attempt = execution.attempt
    if attempt.state not in WORKING:
        return execution
    if attempt.state is AttemptState.PREPARING and phase is AttemptState.TRANSFERRING:
        return _phase(execution, AttemptState.TRANSFERRING, now_us, timings)
    if attempt.state is AttemptState.TRANSFERRING and moved:
        return _phase(execution, AttemptState.TRANSFERRING, now_us, timings)
    return execution


def lose(execution: Execution, now_us: int, timings: Timings) -> Execution:
    """The host's lease ran out. Nothing starts elsewhere: only this host can read the disks."""
    attempt = execution.attempt
    if not execution.current or attempt.state not in WORKING:
        return execution
    deadline = now_us + microseconds(timings.reattach_grace_seconds)
    lost = replace(attempt, state=AttemptState.LOST, lost_from=attempt.state, phase_deadline_us=deadline)
    return replace(execution, attempt=lost)


def fail(
    execution: Execution, failure: Failure, canceled: bool, now_us: int, timings: Timings, jitter: float
) -> Execution:
    """The agent reports that the attempt ended without success. A repeated report changes nothing."""
    if execution.attempt.state in (AttemptState.FAILED, AttemptState.CANCELED):
        return execution
    fence(execution)
    if execution.attempt.state is AttemptState.PUBLISHING:
        raise FailedPrecondition(
            "FENCED", f"Attempt {execution.attempt.id} was handed in; its point is being committed."
        )
    if canceled and execution.run.cancel_us:
        return _end(execution, AttemptState.CANCELED, failure, now_us, timings, jitter)
    return _end(execution, AttemptState.FAILED, failure, now_us, timings, jitter)


def restarted(execution: Execution, now_us: int, timings: Timings, jitter: float) -> Execution:
    """The agent opened a new session and does not run this attempt any more."""
    if not execution.current or execution.attempt.state not in (*WORKING, AttemptState.LOST):
        return execution
    failure = Failure(
        AGENT_RESTARTED,
        "The agent was restarted and its worker is gone.",
        "Nothing: it is tried again.",
        FailureKind.TRANSIENT,
    )
    return _end(execution, AttemptState.FAILED, failure, now_us, timings, jitter)


def adopt(execution: Execution, session_id: str, now_us: int, timings: Timings) -> Execution:
    """The agent opened a new session and its worker for this attempt still runs: the new session owns it."""
    execution = _found(execution, now_us, timings)
    return replace(execution, attempt=replace(execution.attempt, session_id=session_id))


def cancel(execution: Execution, now_us: int, timings: Timings) -> Execution:
    """An operator wants the run to stop. An attempt that nobody took ends at once; else the agent is asked."""
    asked = replace(execution, run=replace(execution.run, cancel_us=execution.run.cancel_us or now_us))
    if asked.attempt.state is not AttemptState.ASSIGNED:
        return asked
    return _end(asked, AttemptState.CANCELED, _canceled(), now_us, timings, 0.0)


def cancel_waiting(run: Run, now_us: int) -> Run:
    """An operator wants a READY run to stop: nothing runs, so it is over."""
    return replace(run, state=RunState.CANCELED, cancel_us=now_us, ended_us=now_us, blocked_on="")


def handing_in(execution: Execution) -> None:
    """Raises FENCED or CANCELED unless the attempt may hand in now."""
    fence(execution)
    if execution.run.cancel_us:
        raise FailedPrecondition("CANCELED", f"Run {execution.run.id} was canceled; clean up.")
    if execution.attempt.state is AttemptState.ASSIGNED:
        raise FailedPrecondition("FENCED", f"Attempt {execution.attempt.id} was never accepted.")
    if execution.attempt.state is AttemptState.PUBLISHING:
        raise FailedPrecondition("FENCED", f"Attempt {execution.attempt.id} was handed in already.")


def publish(execution: Execution, root_hash: bytes, refmap_hash: bytes) -> Execution:
    """Validated: from here the controller finishes it, whatever becomes of the host."""
    handing_in(execution)
    attempt = replace(
        execution.attempt,
        state=AttemptState.PUBLISHING,
        lost_from=None,
        phase_deadline_us=0,
        root_hash=root_hash,
        refmap_hash=refmap_hash,
    )
    return replace(execution, attempt=attempt)


def succeed(execution: Execution, warnings: tuple[RunWarning, ...], now_us: int) -> Execution:
    """The point is committed, or the restore is complete."""
    state = RunState.SUCCEEDED_WITH_WARNINGS if warnings else RunState.SUCCEEDED
    run = replace(execution.run, state=state, warnings=warnings, ended_us=now_us, failure=None, blocked_on="")
    attempt = replace(
        execution.attempt, state=AttemptState.SUCCEEDED, ended_us=now_us, phase_deadline_us=0, lost_from=None
    )
    return Execution(run, attempt)


def give_up_publication(execution: Execution, failure: Failure, now_us: int) -> Execution:
    """The point's place is taken. The run fails even if it was asked to stop: somebody has to look at the bucket."""
    run = replace(execution.run, state=RunState.FAILED, failure=failure, ended_us=now_us, blocked_on="")
    return Execution(run, replace(execution.attempt, state=AttemptState.FAILED, failure=failure, ended_us=now_us))


def finish_restore(execution: Execution, warnings: tuple[RunWarning, ...], vm_id: str, now_us: int) -> Execution:
    """The agent hands in a restore. A second hand-in changes nothing."""
    if execution.attempt.state is AttemptState.SUCCEEDED:
        return execution
    handing_in(execution)
    done = succeed(execution, warnings, now_us)
    return replace(done, run=replace(done.run, restored_vm_id=vm_id))


def fence_off(execution: Execution, now_us: int, timings: Timings, jitter: float) -> Execution:
    """The database was rolled back after the attempt began: nothing that it reports counts. What was validated goes on."""
    if not execution.current or execution.attempt.state is AttemptState.PUBLISHING:
        return execution
    failure = Failure(
        "DATABASE_ROLLED_BACK",
        "The controller's database was replaced by an older copy while the attempt ran.",
        "Nothing: it is tried again.",
        FailureKind.CONFLICT,
    )
    return _end(execution, AttemptState.ABANDONED, failure, now_us, timings, jitter)


def overdue_waiting(run: Run, now_us: int) -> Run:
    """A READY run that found no place until its deadline is over."""
    if run.state is not RunState.READY or now_us < run.deadline_us:
        return run
    message = f"The run could not be carried out in time: {run.blocked_on}."
    failure = Failure("RUN_TOO_LATE", message, "Remove what it waited for, then start it again.", FailureKind.PERMANENT)
    return replace(run, state=RunState.FAILED, failure=failure, ended_us=now_us, blocked_on="")


def overdue(execution: Execution, now_us: int, timings: Timings, jitter: float, seen_elsewhere: bool) -> Execution:
    """What the passing of time does. `seen_elsewhere`: another host reports the VM, so a lost attempt cannot come back."""
    run, attempt = execution.run, execution.attempt
    if not execution.current or attempt.state is AttemptState.PUBLISHING:
        return execution
    if attempt.state is AttemptState.LOST and seen_elsewhere and run.kind is RunKind.BACKUP:
        return _end(execution, AttemptState.ABANDONED, _moved(), now_us, timings, jitter)
    if now_us >= run.deadline_us:
        return _end(execution, AttemptState.ABANDONED, _too_long(timings), now_us, timings, jitter)
    if now_us < attempt.phase_deadline_us:
        return execution
    if attempt.state is AttemptState.ASSIGNED:
        return _expire(execution, now_us, timings)
    if attempt.state is AttemptState.LOST:
        return _end(execution, AttemptState.ABANDONED, _host_lost(timings), now_us, timings, jitter)
    return _end(execution, AttemptState.FAILED, _stuck(attempt.state), now_us, timings, jitter)


def _found(execution: Execution, now_us: int, timings: Timings) -> Execution:
    attempt = execution.attempt
    if attempt.state is not AttemptState.LOST or attempt.lost_from is None:
        return execution
    return _phase(execution, attempt.lost_from, now_us, timings)


def _phase(execution: Execution, state: AttemptState, now_us: int, timings: Timings) -> Execution:
    limit = timings.preparing_seconds if state is AttemptState.PREPARING else timings.no_progress_seconds
    attempt = replace(execution.attempt, state=state, lost_from=None, phase_deadline_us=now_us + microseconds(limit))
    return replace(execution, attempt=attempt)


def _expire(execution: Execution, now_us: int, timings: Timings) -> Execution:
    attempt = replace(execution.attempt, state=AttemptState.EXPIRED, ended_us=now_us, phase_deadline_us=0)
    run = replace(
        execution.run,
        state=RunState.READY,
        not_before_us=now_us + microseconds(timings.expired_backoff_seconds),
        blocked_on="the host did not take its last attempt in time",
    )
    return Execution(run, attempt)


def _end(
    execution: Execution, state: AttemptState, failure: Failure, now_us: int, timings: Timings, jitter: float
) -> Execution:
    attempt = replace(
        execution.attempt, state=state, failure=failure, ended_us=now_us, phase_deadline_us=0, lost_from=None
    )
    return Execution(after_failure(execution.run, failure, now_us, timings, jitter), attempt)


def _canceled() -> Failure:
    return Failure("CANCELED", "An operator canceled the run.", "", FailureKind.PERMANENT)


def _moved() -> Failure:
    return Failure(
        "VM_MOVED",
        "The host was lost and another host reports the VM.",
        "Nothing: it is tried there.",
        FailureKind.CONFLICT,
    )


def _too_long(timings: Timings) -> Failure:
    message = f"The run was not done after {timings.max_run_seconds / 3600:g} h."
    return Failure(
        "RUN_TOO_LONG", message, "Look at the rate and the bottleneck of its attempts.", FailureKind.PERMANENT
    )


def _host_lost(timings: Timings) -> Failure:
    message = f"The host was out of contact for more than {timings.reattach_grace_seconds:g} s after its lease ended."
    return Failure("HOST_LOST", message, "Check the host and its agent.", FailureKind.TRANSIENT)


def _stuck(state: AttemptState) -> Failure:
    if state is AttemptState.PREPARING:
        return Failure(
            "PREPARE_TIMEOUT",
            "The attempt did not begin to transfer in time.",
            "See the agent's log.",
            FailureKind.TRANSIENT,
        )
    return Failure(
        "NO_PROGRESS", "No byte moved for too long.", "Check the store and the VM's disks.", FailureKind.TRANSIENT
    )
