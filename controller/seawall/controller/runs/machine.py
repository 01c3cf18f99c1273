"""The state machine of runs and attempts: an event in; run, attempt and instructions out. The one place that decides about them.

    Run:     READY -> ACTIVE -> SUCCEEDED | SUCCEEDED_WITH_WARNINGS | FAILED | CANCELED;  ACTIVE -> READY to try again
    Attempt: ASSIGNED -> PREPARING -> TRANSFERRING -> PUBLISHING -> SUCCEEDED
             ASSIGNED -> EXPIRED;  any but PUBLISHING -> FAILED | CANCELED;  PREPARING, TRANSFERRING <-> LOST -> ABANDONED

Nothing here reads a clock, a database or a random number. An event that may not happen raises FailedPrecondition (FENCED, CANCELED). Runs
without an attempt: `ready.py`; how long a state may last: `deadlines.py`; whether a failed one is tried again: `retry.py`.
"""

from dataclasses import dataclass, replace
from typing import assert_never

from seawall.controller.errors import FailedPrecondition
from seawall.controller.records.runs import Attempt, AttemptState, Failure, Run, RunKind, RunState
from seawall.controller.runs import deadlines, events, failures
from seawall.controller.runs.events import Event, Moment
from seawall.controller.runs.instructions import Instruction
from seawall.controller.runs.retry import after_expiry, after_failure, failed

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
class Step:
    """What an event made of them, and what else is to be done in the same transaction."""

    after: Execution
    instructions: frozenset[Instruction] = frozenset()


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the host of an attempt should be doing: an entry of its desired set."""

    attempt_id: str
    cancel: bool


def step(before: Execution, event: Event, moment: Moment) -> Step:
    """Raises FailedPrecondition/FENCED, CANCELED."""
    after = _after(before, event, moment)
    return Step(after, _instructions(before, event, after))


def wanted(execution: Execution) -> Wanted | None:
    """The entry in the host's desired set, None when there is none."""
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


def handing_in(execution: Execution) -> None:
    """Raises FENCED or CANCELED unless the attempt may hand in now."""
    fence(execution)
    if execution.run.cancel_us:
        raise FailedPrecondition("CANCELED", f"Run {execution.run.id} was canceled; clean up.")
    if execution.attempt.state is AttemptState.ASSIGNED:
        raise FailedPrecondition("FENCED", f"Attempt {execution.attempt.id} was never accepted.")
    if execution.attempt.state is AttemptState.PUBLISHING:
        raise FailedPrecondition("FENCED", f"Attempt {execution.attempt.id} was handed in already.")


def may_change(attempt: Attempt, db_epoch: int, host_online: bool, now_us: int) -> bool:
    """Whether TimePassed may do anything to it: False spares the scheduler a closer look. Its run's own deadline aside."""
    if attempt.state is AttemptState.PUBLISHING:
        return 0 < attempt.phase_deadline_us <= now_us or not (host_online or attempt.handed_over)
    return (
        attempt.state is AttemptState.LOST
        or attempt.db_epoch != db_epoch
        or attempt.phase_deadline_us <= now_us
        or not host_online
    )


def _after(before: Execution, event: Event, moment: Moment) -> Execution:
    match event:
        case events.Accepted():
            return _accepted(before, event, moment)
        case events.Reported():
            return _reported(before, event, moment)
        case events.Greeted():
            return _greeted(before, event, moment)
        case events.AgentFailed():
            return _failed(before, event, moment)
        case events.CancelAsked():
            return _asked_to_stop(before, event, moment)
        case events.Validated():
            return _validated(before, event, moment)
        case events.RestoreHandedIn():
            return _restored(before, event, moment)
        case events.Committed():
            return _committed(before, event, moment)
        case events.Unpublishable():
            return _unpublishable(before, event, moment)
        case events.HeldUp():
            return _held_up(before, event, moment)
        case events.HandedOver():
            return _handed_over(before)
        case events.HookPassed():
            return _passed(before, moment)
        case events.HookRefused():
            return _refused(before, event, moment)
        case events.TimePassed():
            return _later(before, event, moment)
    assert_never(event)


def _instructions(before: Execution, event: Event, after: Execution) -> frozenset[Instruction]:
    done: set[Instruction] = set()
    if wanted(before) != wanted(after):
        done.add(Instruction.WAKE_HOST)
    if before.attempt.state.live and not after.attempt.state.live:
        done.add(Instruction.COUNT_END)
        if before.attempt.state is AttemptState.PUBLISHING and after.attempt.state is not AttemptState.SUCCEEDED:
            done.add(Instruction.DROP_POINT)
    if after.run.state.over and not before.run.state.over:
        done.add(Instruction.TELL_WATCHERS)
    if isinstance(event, events.Greeted | events.Reported):
        done |= _answer(event, after)
    return frozenset(done)


def _answer(event: events.Greeted | events.Reported, after: Execution) -> set[Instruction]:
    """What the agent is told of an attempt that it names."""
    if not after.current or (isinstance(event, events.Reported) and after.attempt.db_epoch != event.db_epoch):
        return {Instruction.ANSWER_FORGET}
    if after.run.cancel_us and after.attempt.state is not AttemptState.PUBLISHING:
        return {Instruction.ANSWER_CANCEL}
    return set()


def _accepted(execution: Execution, event: events.Accepted, moment: Moment) -> Execution:
    """Repeatable by the same session until the hand-in."""
    fence(execution)
    attempt = execution.attempt
    if attempt.state is AttemptState.ASSIGNED:
        taken = replace(attempt, session_id=event.session_id, parent_point_id=event.parent_point_id)
        return _phase(replace(execution, attempt=taken), AttemptState.PREPARING, moment)
    if attempt.session_id != event.session_id or attempt.state is AttemptState.PUBLISHING:
        raise FailedPrecondition("FENCED", f"Attempt {attempt.id} was taken already.")
    return replace(execution, attempt=replace(attempt, parent_point_id=event.parent_point_id))


def _passed(execution: Execution, moment: Moment) -> Execution:
    """The host, which was kept waiting, has all its time again."""
    if not execution.current or execution.attempt.state is not AttemptState.ASSIGNED:
        return execution
    return _phase(execution, AttemptState.ASSIGNED, moment)


def _refused(execution: Execution, event: events.HookRefused, moment: Moment) -> Execution:
    """Nobody took the attempt yet: AcceptAttempt waits for the hooks."""
    if not execution.current or execution.attempt.state is not AttemptState.ASSIGNED:
        return execution
    over = _end(execution, AttemptState.FAILED, event.failure, moment)
    skipped = event.skipped and over.run.state is RunState.FAILED
    return replace(over, run=replace(over.run, state=RunState.SKIPPED)) if skipped else over


def _reported(execution: Execution, event: events.Reported, moment: Moment) -> Execution:
    """A LOST attempt comes back. Phases never go backwards, and a worker cannot report itself past TRANSFERRING."""
    if not execution.current or execution.attempt.db_epoch != event.db_epoch:
        return execution
    execution = _found(execution, moment)
    attempt = execution.attempt
    if attempt.state is AttemptState.PREPARING and event.phase is AttemptState.TRANSFERRING:
        return _phase(execution, AttemptState.TRANSFERRING, moment)
    guard = deadlines.ATTEMPTS[AttemptState.TRANSFERRING]
    moves = event.moved and deadlines.worth_moving(attempt.phase_deadline_us, guard, moment)
    if attempt.state is AttemptState.TRANSFERRING and moves:
        return _phase(execution, AttemptState.TRANSFERRING, moment)
    return execution


def _greeted(execution: Execution, event: events.Greeted, moment: Moment) -> Execution:
    """What runs on is the new session's; what does not is over. What nobody took, and what is the controller's by now, stays; a worker
    that is gone waits for no store.
    """
    if execution.attempt.state is AttemptState.PUBLISHING and not event.runs:
        return _handed_over(execution)
    if not execution.current or execution.attempt.state not in (*WORKING, AttemptState.LOST):
        return execution
    if not event.runs:
        return _end(execution, AttemptState.FAILED, failures.restarted(), moment)
    execution = _found(execution, moment)
    return replace(execution, attempt=replace(execution.attempt, session_id=event.session_id))


def _failed(execution: Execution, event: events.AgentFailed, moment: Moment) -> Execution:
    """A repeated report changes nothing."""
    if execution.attempt.state in (AttemptState.FAILED, AttemptState.CANCELED):
        return execution
    fence(execution)
    if execution.attempt.state is AttemptState.PUBLISHING:
        raise FailedPrecondition(
            "FENCED", f"Attempt {execution.attempt.id} was handed in; its point is being committed."
        )
    canceled = event.canceled and execution.run.cancel_us
    return _end(execution, AttemptState.CANCELED if canceled else AttemptState.FAILED, event.failure, moment)


def _asked_to_stop(execution: Execution, event: events.CancelAsked, moment: Moment) -> Execution:
    """An attempt that nobody took ends at once; else its agent is asked. One that is being published is committed where the store
    answers, which no end of a window is to spoil.
    """
    run, attempt = execution.run, execution.attempt
    if run.state.over or run.cancel_us or not execution.current:
        return execution
    if event.told is not None and attempt.state is AttemptState.PUBLISHING:
        return execution
    warnings = run.warnings if event.told is None else (*run.warnings, event.told)
    asked = replace(execution, run=replace(run, cancel_us=moment.now_us, warnings=warnings))
    if attempt.state is AttemptState.ASSIGNED:
        return _end(asked, AttemptState.CANCELED, failures.canceled(), moment)
    if attempt.state is AttemptState.LOST:
        return asked
    publishing = attempt.state is AttemptState.PUBLISHING
    guard = deadlines.PUBLISHING_ASKED_TO_STOP if publishing else deadlines.ASKED_TO_STOP
    limited = replace(attempt, phase_deadline_us=deadlines.deadline_us(guard, moment))
    return replace(asked, attempt=limited)


def _validated(execution: Execution, event: events.Validated, moment: Moment) -> Execution:
    handing_in(execution)
    _of_kind(execution, RunKind.BACKUP)
    handed = replace(execution.attempt, root_hash=event.root_hash, refmap_hash=event.refmap_hash)
    return _phase(replace(execution, attempt=handed), AttemptState.PUBLISHING, moment)


def _restored(execution: Execution, event: events.RestoreHandedIn, moment: Moment) -> Execution:
    """A second hand-in changes nothing."""
    if execution.attempt.state is AttemptState.SUCCEEDED:
        return execution
    handing_in(execution)
    _of_kind(execution, RunKind.RESTORE)
    done = _committed(execution, events.Committed(event.warnings), moment)
    return replace(done, run=replace(done.run, restored_vm_id=event.vm_id))


def _of_kind(execution: Execution, kind: RunKind) -> None:
    if execution.run.kind is not kind:
        raise FailedPrecondition("FENCED", f"Run {execution.run.id} is no {kind.lower()}.")


def _committed(execution: Execution, event: events.Committed, moment: Moment) -> Execution:
    """The point lies in the bucket, or the restore is complete: that is so, whatever was wished for or decided before."""
    state = RunState.SUCCEEDED_WITH_WARNINGS if event.warnings else RunState.SUCCEEDED
    run = replace(
        execution.run,
        state=state,
        warnings=event.warnings,
        ended_us=moment.now_us,
        failure=None,
        blocked_on="",
    )
    attempt = replace(
        execution.attempt, state=AttemptState.SUCCEEDED, ended_us=moment.now_us, phase_deadline_us=0, lost_from=None
    )
    return Execution(run, attempt)


def _held_up(execution: Execution, event: events.HeldUp, moment: Moment) -> Execution:
    """A store that is away is waited for until the deadline; one that refuses for good until the run is cancelled or its time is over."""
    run = execution.run
    if not execution.current or execution.attempt.state is not AttemptState.PUBLISHING:
        return execution
    if event.for_good and (run.cancel_us or moment.now_us >= run.deadline_us):
        return _given_up(execution, event.failure, moment)
    return replace(execution, run=replace(run, blocked_on=event.waits))


def _handed_over(execution: Execution) -> Execution:
    if not execution.current or execution.attempt.state is not AttemptState.PUBLISHING:
        return execution
    return replace(execution, attempt=replace(execution.attempt, handed_over=True))


def _unpublishable(execution: Execution, event: events.Unpublishable, moment: Moment) -> Execution:
    if not execution.current:
        return execution
    if execution.attempt.state is AttemptState.PUBLISHING:
        return _given_up(execution, event.failure, moment)
    return _end(execution, AttemptState.FAILED, event.failure, moment)


def _given_up(execution: Execution, failure: Failure, moment: Moment) -> Execution:
    """The run fails even if it was asked to stop: somebody has to look at the bucket."""
    attempt = replace(
        execution.attempt, state=AttemptState.FAILED, failure=failure, ended_us=moment.now_us, phase_deadline_us=0
    )
    return Execution(failed(execution.run, failure, moment.now_us), attempt)


def _later(execution: Execution, event: events.TimePassed, moment: Moment) -> Execution:
    """What was validated before a roll-back goes on; else nothing that an attempt of before reports counts."""
    attempt = execution.attempt
    if not execution.current:
        return execution
    if attempt.state is AttemptState.PUBLISHING:
        late = 0 < attempt.phase_deadline_us <= moment.now_us and not event.grace
        if late:
            return _given_up(execution, failures.not_published(execution.run.blocked_on), moment)
        # All that the point needs is there; nothing of a host that is away may hold its VM, or anybody else, up for a week.
        return execution if event.host_online or event.grace else _handed_over(execution)
    if attempt.db_epoch != event.db_epoch:
        return _end(execution, AttemptState.ABANDONED, failures.rolled_back(), moment)
    if event.grace:
        return execution
    if attempt.state in WORKING and not event.host_online:
        execution = _lost(execution, moment)
    elif attempt.state is AttemptState.LOST and event.seen_elsewhere and execution.run.kind is RunKind.BACKUP:
        return _end(execution, AttemptState.ABANDONED, failures.moved(), moment)
    return _overdue(execution, event, moment)


def _lost(execution: Execution, moment: Moment) -> Execution:
    """The host's lease ran out. Nothing starts elsewhere: only this host can read the disks."""
    return _phase(
        replace(execution, attempt=replace(execution.attempt, lost_from=execution.attempt.state)),
        AttemptState.LOST,
        moment,
    )


def _overdue(execution: Execution, event: events.TimePassed, moment: Moment) -> Execution:
    run, attempt = execution.run, execution.attempt
    if moment.now_us >= run.deadline_us:
        return _end(execution, AttemptState.ABANDONED, failures.too_long(moment.timings), moment)
    if moment.now_us < attempt.phase_deadline_us:
        return execution
    if attempt.state is AttemptState.ASSIGNED:
        return execution if event.hook_waits else _expired(execution, event, moment)
    if attempt.state is AttemptState.LOST:
        return _end(execution, AttemptState.ABANDONED, failures.host_lost(moment.timings), moment)
    failure = failures.not_stopped(moment.timings) if run.cancel_us else failures.stuck(attempt.state)
    return _end(execution, AttemptState.FAILED, failure, moment)


def _found(execution: Execution, moment: Moment) -> Execution:
    attempt = execution.attempt
    if attempt.state is not AttemptState.LOST or attempt.lost_from is None:
        return execution
    back = replace(attempt, phase_deadline_us=0, lost_from=None)
    return _phase(replace(execution, attempt=back), attempt.lost_from, moment)


def _phase(execution: Execution, state: AttemptState, moment: Moment) -> Execution:
    """In `state` from now on, with its deadline. A worker that was asked to stop gets no more time for going on."""
    attempt = execution.attempt
    until_us = deadlines.deadline_us(deadlines.ATTEMPTS[state], moment)
    if execution.run.cancel_us and state in WORKING:
        until_us = attempt.phase_deadline_us or deadlines.deadline_us(deadlines.ASKED_TO_STOP, moment)
    lost_from = attempt.lost_from if state is AttemptState.LOST else None
    return replace(execution, attempt=replace(attempt, state=state, lost_from=lost_from, phase_deadline_us=until_us))


def _expired(execution: Execution, event: events.TimePassed, moment: Moment) -> Execution:
    """Nothing is counted, unless an application was stopped for it: that is not to go on every minute for a day."""
    attempt = replace(execution.attempt, state=AttemptState.EXPIRED, ended_us=moment.now_us, phase_deadline_us=0)
    if event.hook_begun:
        failure = failures.not_taken()
        return Execution(after_failure(execution.run, failure, moment.now_us, moment.timings, moment.jitter), attempt)
    return Execution(after_expiry(execution.run, moment.now_us, moment.timings), attempt)


def _end(execution: Execution, state: AttemptState, failure: Failure, moment: Moment) -> Execution:
    attempt = replace(
        execution.attempt, state=state, failure=failure, ended_us=moment.now_us, phase_deadline_us=0, lost_from=None
    )
    return Execution(after_failure(execution.run, failure, moment.now_us, moment.timings, moment.jitter), attempt)
