"""Decisions about a run that no attempt works on: it waits for its place, its time, or the pause after a failure. Pure.

Each of them leaves anything but a READY run as it is, so that a shell that comes late changes nothing.
"""

from dataclasses import replace

from seawall.controller.records.runs import Attempt, AttemptState, Failure, Run, RunState
from seawall.controller.runs import deadlines, failures
from seawall.controller.runs.events import Moment
from seawall.controller.runs.making import WAITS, due_at
from seawall.controller.runs.retry import failed, longest_pause_seconds
from seawall.controller.timings import SECOND_US, microseconds

AHEAD_US = 60 * SECOND_US
"""A run that was made so far in the future was made under a wrong clock."""


def assigned(run: Run, attempt_id: str, host_id: str, db_epoch: int, moment: Moment) -> tuple[Run, Attempt]:
    """It gets its next attempt, for one host. The run must be READY."""
    attempt = Attempt(
        id=attempt_id,
        run_id=run.id,
        no=run.attempt_count + 1,
        host_id=host_id,
        db_epoch=db_epoch,
        state=AttemptState.ASSIGNED,
        created_us=moment.now_us,
        phase_deadline_us=deadlines.deadline_us(deadlines.ATTEMPTS[AttemptState.ASSIGNED], moment),
    )
    active = replace(
        run, state=RunState.ACTIVE, current_attempt=attempt_id, attempt_count=attempt.no, blocked_on="", failure=None
    )
    return active, attempt


def canceled(run: Run, moment: Moment) -> Run:
    """An operator wants it to stop: nothing runs, so it is over at once."""
    if run.state is not RunState.READY:
        return run
    return replace(run, state=RunState.CANCELED, cancel_us=moment.now_us, ended_us=moment.now_us, blocked_on="")


def overdue(run: Run, moment: Moment) -> Run:
    """It found no place until its deadline was over."""
    if run.state is not RunState.READY or moment.now_us < run.deadline_us:
        return run
    return failed(run, failures.too_late(run.blocked_on), moment.now_us)


def postponed(run: Run, start_us: int, waits: str, moment: Moment) -> Run:
    """Its window closed: it begins no sooner than the next one does, and its time runs from then on."""
    return due_at(run, start_us, waits, moment.timings) if run.state is RunState.READY else run


def shut_out(run: Run, failure: Failure, moment: Moment) -> Run:
    """No window comes in time. One that never began was missed; one that was tried failed."""
    if run.state is not RunState.READY:
        return run
    over = failed(run, failure, moment.now_us)
    return over if run.attempt_count else replace(over, state=RunState.MISSED)


def unpublishable(run: Run, failure: Failure, moment: Moment) -> Run:
    """It can never have its point (events.Unpublishable)."""
    return failed(run, failure, moment.now_us) if run.state is RunState.READY else run


def brought_forward(run: Run, moment: Moment) -> Run:
    """Somebody orders what a policy has made: no window holds it back any more, and its place in the spread is now."""
    if run.state is not RunState.READY or not run.policy_id or run.backup is None:
        return run
    after = replace(run, backup=replace(run.backup, asked=True))
    if run.attempt_count or run.not_before_us <= moment.now_us:
        return after
    return replace(after, not_before_us=moment.now_us, blocked_on=WAITS)


def believed(run: Run, moment: Moment) -> Run:
    """A leader whose clock was far ahead set times that come too late by as much. No pause after an attempt is longer than the longest
    there is, and what somebody ordered may begin at once: what waits for longer than that waits for a wrong clock.

    A policy's run that was not tried yet may wait for its place in the spread, and one that was, for the next window: that one is known by
    its deadline, which was counted anew from there (`postponed`). One that was made in the future has its place so much earlier.
    """
    if run.state is not RunState.READY:
        return run
    if not run.attempt_count and by_policy_alone(run):
        ahead_us = run.created_us - moment.now_us
        if ahead_us <= AHEAD_US:
            return run
        return replace(run, not_before_us=run.not_before_us - ahead_us, deadline_us=run.deadline_us - ahead_us)
    if not run.attempt_count:
        return due_at(run, moment.now_us, WAITS, moment.timings) if run.not_before_us > moment.now_us else run
    latest_us = moment.now_us + microseconds(longest_pause_seconds(moment.timings))
    if (
        run.not_before_us <= latest_us
        or due_at(run, run.not_before_us, "", moment.timings).deadline_us == run.deadline_us
    ):
        return run
    return replace(run, not_before_us=latest_us)


def by_policy_alone(run: Run) -> bool:
    """A policy made it and nobody asked for it since: windows hold it, and what somebody asked for goes before it."""
    return bool(run.policy_id) and not (run.backup is not None and run.backup.asked)


def told_why(run: Run, sentence: str) -> Run:
    """What it waits for, as placement sees it."""
    return replace(run, blocked_on=sentence) if run.state is RunState.READY else run
