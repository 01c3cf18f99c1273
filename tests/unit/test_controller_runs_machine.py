"""The state machine of runs and attempts: every event in every state."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from seawall.controller.errors import FailedPrecondition
from seawall.controller.records.runs import AttemptState, FailureKind, RunState, RunWarning
from seawall.controller.runs import machine
from seawall.controller.runs.machine import Execution
from seawall.controller.timings import Timings
from support.controller_records import HOUR, NOW, SECOND, a_failure, a_restore, a_run, an_execution

T = Timings()
LIVE = [state for state in AttemptState if state.live]
OVER = [state for state in AttemptState if not state.live]
WORKING = [AttemptState.PREPARING, AttemptState.TRANSFERRING]

Event = Callable[[Execution], Execution]
EVENTS: dict[str, Event] = {
    "accept": lambda each: machine.accept(each, "session", NOW, T),
    "report": lambda each: machine.report(each, AttemptState.TRANSFERRING, True, NOW, T),
    "lose": lambda each: machine.lose(each, NOW, T),
    "fail": lambda each: machine.fail(each, a_failure(), False, NOW, T, 0.5),
    "restarted": lambda each: machine.restarted(each, NOW, T, 0.5),
    "cancel": lambda each: machine.cancel(each, NOW, T),
    "publish": lambda each: machine.publish(each, b"r", b"m"),
    "finish_restore": lambda each: machine.finish_restore(each, (), "vm", NOW),
    "overdue": lambda each: machine.overdue(each, NOW + 25 * HOUR, T, 0.5, False),
}

A, P, X, U, L = (
    AttemptState.ASSIGNED,
    AttemptState.PREPARING,
    AttemptState.TRANSFERRING,
    AttemptState.PUBLISHING,
    AttemptState.LOST,
)
S, F, C, E, B = (
    AttemptState.SUCCEEDED,
    AttemptState.FAILED,
    AttemptState.CANCELED,
    AttemptState.EXPIRED,
    AttemptState.ABANDONED,
)
# State after each event, by state before; a reason where it is refused.
TABLE: dict[str, dict[AttemptState, AttemptState | str]] = {
    "accept": {A: P, P: P, X: X, U: "FENCED", L: L},
    "report": {A: A, P: X, X: X, U: U, L: X},
    "lose": {A: A, P: L, X: L, U: U, L: L},
    "fail": {A: F, P: F, X: F, U: "FENCED", L: F},
    "restarted": {A: A, P: F, X: F, U: U, L: F},
    "cancel": {A: C, P: P, X: X, U: U, L: L},
    "publish": {A: "FENCED", P: U, X: U, U: "FENCED", L: U},
    "finish_restore": {A: "FENCED", P: S, X: S, U: "FENCED", L: S},
    "overdue": {A: B, P: B, X: B, U: U, L: B},
}


def a_live(state: AttemptState) -> Execution:
    execution = an_execution(state)
    lost_from = AttemptState.PREPARING if state is AttemptState.LOST else None
    return replace(execution, attempt=replace(execution.attempt, lost_from=lost_from))


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("before", LIVE)
def test_every_event_in_every_live_state(event: str, before: AttemptState) -> None:
    expected = TABLE[event][before]
    if not isinstance(expected, AttemptState):
        with pytest.raises(FailedPrecondition) as caught:
            EVENTS[event](a_live(before))
        assert caught.value.reason == expected
        return
    after = EVENTS[event](a_live(before))
    assert after.attempt.state is expected
    assert (after.run.state is RunState.ACTIVE) == expected.live
    assert (after.attempt.ended_us > 0) == (not expected.live)
    assert after.attempt.lost_from is None or expected is L


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("before", OVER)
@pytest.mark.parametrize("run_state", list(RunState))
def test_an_attempt_that_is_over_never_acts_again(event: str, before: AttemptState, run_state: RunState) -> None:
    execution = an_execution(before)
    execution = replace(execution, run=replace(execution.run, state=run_state))
    try:
        after = EVENTS[event](execution)
    except FailedPrecondition as error:
        assert error.reason == ("CANCELED" if before is C else "FENCED")
        return
    assert after.attempt == execution.attempt
    assert replace(after.run, cancel_us=0) == execution.run


@pytest.mark.parametrize("event", sorted(EVENTS.keys() - {"cancel"}))
@pytest.mark.parametrize("state", LIVE)
def test_an_attempt_with_a_successor_never_acts(event: str, state: AttemptState) -> None:
    execution = a_live(state)
    execution = replace(execution, run=replace(execution.run, current_attempt="the next"))
    try:
        after = EVENTS[event](execution)
    except FailedPrecondition as error:
        assert error.reason == "FENCED"
        return
    assert after.run == execution.run
    assert not machine.wanted(after)


def test_assignment_counts_and_sets_the_deadline() -> None:
    execution = machine.assign(a_run(attempt_count=2, blocked_on="x"), "a3", "beta", 7, NOW, T)
    assert (execution.attempt.no, execution.attempt.db_epoch, execution.attempt.host_id) == (3, 7, "beta")
    assert execution.attempt.phase_deadline_us == NOW + 60 * SECOND
    assert (execution.run.state, execution.run.blocked_on) == (RunState.ACTIVE, "")
    assert machine.wanted(execution) == machine.Wanted("a3", cancel=False)


def test_only_the_session_that_took_an_attempt_may_take_it_again() -> None:
    with pytest.raises(FailedPrecondition, match="taken already"):
        machine.accept(an_execution(P), "another", NOW, T)
    assert machine.adopt(an_execution(P), "another", NOW, T).attempt.session_id == "another"


def test_a_report_moves_the_deadline_only_when_something_moved() -> None:
    later = NOW + 30 * SECOND
    still = machine.report(an_execution(X), X, False, later, T)
    assert still.attempt.phase_deadline_us == NOW + 60 * SECOND
    moved = machine.report(an_execution(X), X, True, later, T)
    assert moved.attempt.phase_deadline_us == later + 600 * SECOND
    assert machine.report(an_execution(X), P, True, later, T).attempt.state is X, "phases never go back"


def test_lost_comes_back_to_where_it_was_or_is_abandoned() -> None:
    lost = machine.lose(an_execution(X), NOW, T)
    assert machine.report(lost, X, False, NOW, T).attempt.state is X
    assert machine.overdue(lost, NOW + 899 * SECOND, T, 0.5, False) == lost
    gone = machine.overdue(lost, NOW + 900 * SECOND, T, 0.5, False)
    assert (gone.attempt.state, gone.run.state, gone.run.tries) == (B, RunState.READY, 1)
    moved = machine.overdue(lost, NOW + SECOND, T, 0.5, True)
    assert (moved.attempt.state, moved.run.state, moved.run.tries, moved.run.requeues) == (B, RunState.READY, 0, 1)


def test_a_lost_restore_waits_for_its_host_wherever_the_vm_shows_up() -> None:
    execution = machine.lose(an_execution(X), NOW, T)
    restore = a_restore(state=RunState.ACTIVE, current_attempt=execution.attempt.id)
    assert machine.overdue(replace(execution, run=restore), NOW, T, 0.5, True).attempt.state is L


@pytest.mark.parametrize(("state", "reason"), [(A, None), (P, "PREPARE_TIMEOUT"), (X, "NO_PROGRESS"), (L, "HOST_LOST")])
def test_what_the_end_of_a_phase_means(state: AttemptState, reason: str | None) -> None:
    before = a_live(state)
    assert machine.overdue(before, NOW + 60 * SECOND - 1, T, 0.5, False) == before
    after = machine.overdue(before, NOW + 60 * SECOND, T, 0.5, False)
    assert (after.attempt.failure.reason if after.attempt.failure else None) == reason
    assert after.run.tries == (0 if state is A else 1), "an attempt that nobody took does not count"
    assert after.run.state is RunState.READY


def test_a_run_that_takes_too_long_fails_for_good() -> None:
    after = machine.overdue(an_execution(X), NOW + 24 * HOUR, T, 0.5, False)
    assert after.run.state is RunState.FAILED
    assert after.run.failure is not None
    assert after.run.failure.reason == "RUN_TOO_LONG"


def test_cancel_is_a_wish_until_the_agent_confirms_it() -> None:
    asked = machine.cancel(an_execution(X), NOW, T)
    assert (asked.run.state, asked.run.cancel_us, asked.attempt.state) == (RunState.ACTIVE, NOW, X)
    assert machine.wanted(asked) == machine.Wanted(asked.attempt.id, cancel=True)
    with pytest.raises(FailedPrecondition) as caught:
        machine.publish(asked, b"r", b"m")
    assert caught.value.reason == "CANCELED"
    done = machine.fail(asked, a_failure(FailureKind.PERMANENT), True, NOW, T, 0.5)
    assert (done.run.state, done.attempt.state) == (RunState.CANCELED, C)
    assert machine.fail(done, a_failure(), True, NOW, T, 0.5) == done


def test_a_canceled_run_is_not_tried_again_however_its_attempt_ends() -> None:
    asked = machine.cancel(an_execution(X), NOW, T)
    assert machine.fail(asked, a_failure(), False, NOW, T, 0.5).run.state is RunState.CANCELED
    lost = machine.lose(asked, NOW, T)
    assert machine.overdue(lost, NOW + HOUR, T, 0.5, False).run.state is RunState.CANCELED
    assert machine.restarted(asked, NOW, T, 0.5).run.state is RunState.CANCELED


def test_an_agent_cannot_cancel_what_nobody_asked_to_cancel() -> None:
    after = machine.fail(an_execution(X), a_failure(), True, NOW, T, 0.5)
    assert (after.attempt.state, after.run.state) == (F, RunState.READY)


def test_cancel_of_a_waiting_run_is_immediate() -> None:
    assert machine.cancel_waiting(a_run(), NOW).state is RunState.CANCELED


@pytest.mark.parametrize(
    ("warnings", "state"),
    [((), RunState.SUCCEEDED), ((RunWarning("NOT_FROZEN", "w"),), RunState.SUCCEEDED_WITH_WARNINGS)],
)
def test_success(warnings: tuple[RunWarning, ...], state: RunState) -> None:
    published = machine.publish(an_execution(X), b"root", b"refmap")
    assert (published.attempt.root_hash, published.attempt.phase_deadline_us) == (b"root", 0)
    assert machine.wanted(published) is None, "the host has nothing more to do"
    done = machine.succeed(published, warnings, NOW)
    assert (done.run.state, done.run.warnings, done.run.ended_us) == (state, warnings, NOW)
    assert machine.cancel(published, NOW, T).attempt.state is U, "a validated point is committed"


def test_a_repeated_restore_hand_in_changes_nothing() -> None:
    done = machine.finish_restore(an_execution(X), (), "vm-9", NOW)
    assert done.run.restored_vm_id == "vm-9"
    assert machine.finish_restore(done, (), "vm-8", NOW + 5) == done
