"""The state machine of runs and attempts: every event in every state."""

from dataclasses import replace

import pytest

from seawall.controller.errors import FailedPrecondition
from seawall.controller.records.runs import AttemptState, FailureKind, RunState, RunWarning
from seawall.controller.runs import events, machine, ready
from seawall.controller.runs.events import Event, Moment
from seawall.controller.runs.instructions import Instruction
from seawall.controller.runs.machine import Execution
from seawall.controller.timings import Timings
from support.attempt_letters import A, B, C, F, L, P, S, U, X
from support.controller_records import HOUR, NOW, SECOND, a_failure, a_restore, a_run, an_execution

T = Timings()
LIVE = [state for state in AttemptState if state.live]
OVER = [state for state in AttemptState if not state.live]
WORKING = [AttemptState.PREPARING, AttemptState.TRANSFERRING]
PASSED = events.TimePassed(db_epoch=1, host_online=True, seen_elsewhere=False, grace=False)

EVENTS: dict[str, tuple[Event, int]] = {
    "accept": (events.Accepted("session"), 0),
    "report": (events.Reported(AttemptState.TRANSFERRING, True, 1), 0),
    "report of an older epoch": (events.Reported(AttemptState.TRANSFERRING, True, 2), 0),
    "host offline": (replace(PASSED, host_online=False), 0),
    "fail": (events.AgentFailed(a_failure()), 0),
    "hook passed": (events.HookPassed(), 0),
    "hook failed": (events.HookRefused(a_failure(FailureKind.PERMANENT), skipped=False), 0),
    "hook said not now": (events.HookRefused(a_failure(FailureKind.PERMANENT), skipped=True), 0),
    "restarted": (events.Greeted("next", runs=False), 0),
    "went on": (events.Greeted("next", runs=True), 0),
    "cancel": (events.CancelAsked(), 0),
    "window ended": (events.CancelAsked(RunWarning("WINDOW_ENDED", "w")), 0),
    "validated": (events.Validated(b"r", b"m"), 0),
    "restored": (events.RestoreHandedIn((), "vm"), 0),
    "held up": (events.HeldUp(a_failure(), for_good=False, waits="the store"), 0),
    "refused": (events.HeldUp(a_failure(), for_good=True, waits="the store"), 25 * HOUR),
    "handed over": (events.HandedOver(), 0),
    "unpublishable": (events.Unpublishable(a_failure(FailureKind.PERMANENT)), 0),
    "rolled back": (replace(PASSED, db_epoch=2), 0),
    "overdue": (PASSED, 25 * HOUR),
    "a week later": (PASSED, 8 * 24 * HOUR),
    "a week of grace": (replace(PASSED, host_online=False, seen_elsewhere=True, grace=True), 8 * 24 * HOUR),
}

# State after each event, by state before; a reason where it is refused.
TABLE: dict[str, dict[AttemptState, AttemptState | str]] = {
    "accept": {A: P, P: P, X: X, U: "FENCED", L: L},
    "report": {A: A, P: X, X: X, U: U, L: X},
    "report of an older epoch": {A: A, P: P, X: X, U: U, L: L},
    "host offline": {A: A, P: L, X: L, U: U, L: L},
    "fail": {A: F, P: F, X: F, U: "FENCED", L: F},
    "hook passed": {A: A, P: P, X: X, U: U, L: L},
    "hook failed": {A: F, P: P, X: X, U: U, L: L},
    "hook said not now": {A: F, P: P, X: X, U: U, L: L},
    "restarted": {A: A, P: F, X: F, U: U, L: F},
    "went on": {A: A, P: P, X: X, U: U, L: P},
    "cancel": {A: C, P: P, X: X, U: U, L: L},
    "window ended": {A: C, P: P, X: X, U: U, L: L},
    "validated": {A: "FENCED", P: U, X: U, U: "FENCED", L: U},
    "restored": {A: "FENCED", P: S, X: S, U: "FENCED", L: S},
    "held up": {A: A, P: P, X: X, U: U, L: L},
    "refused": {A: A, P: P, X: X, U: F, L: L},
    "handed over": {A: A, P: P, X: X, U: U, L: L},
    "unpublishable": {A: F, P: F, X: F, U: F, L: F},
    "rolled back": {A: B, P: B, X: B, U: U, L: B},
    "overdue": {A: B, P: B, X: B, U: U, L: B},
    "a week later": {A: B, P: B, X: B, U: F, L: B},
    "a week of grace": {A: A, P: P, X: X, U: U, L: L},
}


def after(execution: Execution, event: Event, later_us: int = 0, jitter: float = 0.5) -> Execution:
    return machine.step(execution, event, Moment(NOW + later_us, T, jitter)).after


def happen(name: str, execution: Execution) -> Execution:
    if name == "restored":
        execution = as_restore(execution)
    return after(execution, *EVENTS[name])


def as_restore(execution: Execution) -> Execution:
    run = execution.run
    return replace(execution, run=a_restore(state=run.state, current_attempt=run.current_attempt))


def a_live(state: AttemptState) -> Execution:
    execution = an_execution(state)
    lost_from = AttemptState.PREPARING if state is AttemptState.LOST else None
    until_us = NOW + (7 * 24 * HOUR if state is AttemptState.PUBLISHING else 60 * SECOND)
    return replace(execution, attempt=replace(execution.attempt, lost_from=lost_from, phase_deadline_us=until_us))


def lost(execution: Execution) -> Execution:
    return happen("host offline", execution)


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("before", LIVE)
def test_every_event_in_every_live_state(event: str, before: AttemptState) -> None:
    expected = TABLE[event][before]
    if not isinstance(expected, AttemptState):
        with pytest.raises(FailedPrecondition) as caught:
            happen(event, a_live(before))
        assert caught.value.reason == expected
        return
    found = happen(event, a_live(before))
    assert found.attempt.state is expected
    assert (found.run.state is RunState.ACTIVE) == expected.live
    assert (found.attempt.ended_us > 0) == (not expected.live)
    assert found.attempt.lost_from is None or expected is L
    assert (found.attempt.phase_deadline_us > 0) == expected.live, "each live state has a deadline"


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("before", OVER)
@pytest.mark.parametrize("run_state", list(RunState))
def test_an_attempt_that_is_over_never_acts_again(event: str, before: AttemptState, run_state: RunState) -> None:
    execution = an_execution(before)
    execution = replace(execution, run=replace(execution.run, state=run_state))
    try:
        found = happen(event, execution)
    except FailedPrecondition as error:
        assert error.reason == ("CANCELED" if before is C else "FENCED")
        return
    assert found == (as_restore(execution) if event == "restored" else execution)


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("state", LIVE)
def test_an_attempt_with_a_successor_never_acts(event: str, state: AttemptState) -> None:
    execution = a_live(state)
    execution = replace(execution, run=replace(execution.run, current_attempt="the next"))
    try:
        found = happen(event, execution)
    except FailedPrecondition as error:
        assert error.reason == "FENCED"
        return
    assert found == execution
    assert not machine.wanted(found)


def test_assignment_counts_and_sets_the_deadline() -> None:
    run, attempt = ready.assigned(a_run(attempt_count=2, blocked_on="x"), "a3", "beta", 7, Moment(NOW, T))
    assert (attempt.no, attempt.db_epoch, attempt.host_id) == (3, 7, "beta")
    assert attempt.phase_deadline_us == NOW + 60 * SECOND
    assert (run.state, run.blocked_on) == (RunState.ACTIVE, "")
    assert machine.wanted(Execution(run, attempt)) == machine.Wanted("a3", cancel=False)


def test_only_the_session_that_took_an_attempt_may_take_it_again() -> None:
    with pytest.raises(FailedPrecondition, match="taken already"):
        after(an_execution(P), events.Accepted("another"))
    assert happen("went on", an_execution(P)).attempt.session_id == "next"


def test_a_report_moves_the_deadline_only_when_something_moved() -> None:
    later = 30 * SECOND
    still = after(an_execution(X), events.Reported(X, False, 1), later)
    assert still.attempt.phase_deadline_us == NOW + 60 * SECOND
    moved = after(an_execution(X), events.Reported(X, True, 1), later)
    assert moved.attempt.phase_deadline_us == NOW + later + 600 * SECOND
    assert after(an_execution(X), events.Reported(P, True, 1), later).attempt.state is X, "phases never go back"


def test_lost_comes_back_to_where_it_was_or_is_abandoned() -> None:
    away = lost(an_execution(X))
    assert after(away, events.Reported(X, False, 1)).attempt.state is X
    assert after(away, events.Reported(P, False, 1)).attempt.state is X, "to where it was, whatever is said"
    offline = replace(PASSED, host_online=False)
    assert after(away, offline, 899 * SECOND) == away
    gone = after(away, offline, 900 * SECOND)
    assert (gone.attempt.state, gone.run.state, gone.run.tries) == (B, RunState.READY, 1)
    moved = after(away, replace(offline, seen_elsewhere=True), SECOND)
    assert (moved.attempt.state, moved.run.state, moved.run.tries, moved.run.requeues) == (B, RunState.READY, 0, 1)


def test_what_is_handed_in_is_of_the_runs_kind() -> None:
    for execution, event in (
        (an_execution(X), events.RestoreHandedIn((), "vm")),
        (as_restore(an_execution(X)), events.Validated(b"root", b"refmap")),
    ):
        with pytest.raises(FailedPrecondition, match="is no"):
            after(execution, event)


def test_a_lost_restore_waits_for_its_host_wherever_the_vm_shows_up() -> None:
    execution = lost(an_execution(X))
    restore = a_restore(state=RunState.ACTIVE, current_attempt=execution.attempt.id)
    event = replace(PASSED, host_online=False, seen_elsewhere=True)
    assert after(replace(execution, run=restore), event).attempt.state is L


@pytest.mark.parametrize(("state", "reason"), [(A, None), (P, "PREPARE_TIMEOUT"), (X, "NO_PROGRESS"), (L, "HOST_LOST")])
def test_what_the_end_of_a_phase_means(state: AttemptState, reason: str | None) -> None:
    before = a_live(state)
    assert after(before, PASSED, 60 * SECOND - 1) == before
    found = after(before, PASSED, 60 * SECOND)
    assert (found.attempt.failure.reason if found.attempt.failure else None) == reason
    assert found.run.tries == (0 if state is A else 1), "an attempt that nobody took does not count"
    assert found.run.state is RunState.READY


def test_a_run_that_takes_too_long_fails_for_good() -> None:
    found = after(an_execution(X), PASSED, 24 * HOUR)
    assert found.run.state is RunState.FAILED
    assert found.run.failure is not None
    assert found.run.failure.reason == "RUN_TOO_LONG"


def test_cancel_is_a_wish_until_the_agent_confirms_it() -> None:
    asked = happen("cancel", an_execution(X))
    assert (asked.run.state, asked.run.cancel_us, asked.attempt.state) == (RunState.ACTIVE, NOW, X)
    assert machine.wanted(asked) == machine.Wanted(asked.attempt.id, cancel=True)
    with pytest.raises(FailedPrecondition) as caught:
        happen("validated", asked)
    assert caught.value.reason == "CANCELED"
    failed = events.AgentFailed(a_failure(FailureKind.PERMANENT), canceled=True)
    done = after(asked, failed)
    assert (done.run.state, done.attempt.state) == (RunState.CANCELED, C)
    assert after(done, failed) == done


@pytest.mark.parametrize("state", WORKING)
def test_an_agent_that_does_not_stop_gains_no_time_by_going_on(state: AttemptState) -> None:
    """It kills its worker after 60 s; one that reports progress all the same is over eleven minutes after the wish."""
    asked = happen("cancel", a_live(state))
    until_us = NOW + microseconds_of_cancel()
    assert asked.attempt.phase_deadline_us == until_us
    busy = after(asked, events.Reported(X, True, 1), 300 * SECOND)
    assert busy.attempt.phase_deadline_us == until_us
    found = after(busy, PASSED, until_us - NOW)
    assert (found.attempt.state, found.run.state) == (F, RunState.CANCELED)
    assert found.attempt.failure is not None and found.attempt.failure.reason == "CANCEL_TIMEOUT"


def microseconds_of_cancel() -> int:
    return 660 * SECOND


def test_a_lost_attempt_that_is_canceled_and_comes_back_has_to_stop() -> None:
    asked = happen("cancel", lost(an_execution(X)))
    made = machine.step(asked, events.Reported(X, True, 1), Moment(NOW + 30 * SECOND, T))
    assert made.after.attempt.state is X
    assert Instruction.ANSWER_CANCEL in made.instructions
    assert made.after.attempt.phase_deadline_us == NOW + 30 * SECOND + microseconds_of_cancel()


def test_a_canceled_run_is_not_tried_again_however_its_attempt_ends() -> None:
    asked = happen("cancel", an_execution(X))
    assert happen("fail", asked).run.state is RunState.CANCELED
    assert after(lost(asked), replace(PASSED, host_online=False), HOUR).run.state is RunState.CANCELED
    assert happen("restarted", asked).run.state is RunState.CANCELED
    assert happen("rolled back", asked).run.state is RunState.CANCELED


def test_an_agent_cannot_cancel_what_nobody_asked_to_cancel() -> None:
    found = after(an_execution(X), events.AgentFailed(a_failure(), canceled=True))
    assert (found.attempt.state, found.run.state) == (F, RunState.READY)


def test_cancel_of_a_waiting_run_is_immediate() -> None:
    """Whether it waits for a place, for a window, or after a failure: a waiting run is READY."""
    for run in (a_run(), a_run(not_before_us=NOW + HOUR, tries=1, attempt_count=1), a_run(blocked_on="breaker")):
        assert ready.canceled(run, Moment(NOW, T)).state is RunState.CANCELED


@pytest.mark.parametrize(
    ("warnings", "state"),
    [((), RunState.SUCCEEDED), ((RunWarning("NOT_FROZEN", "w"),), RunState.SUCCEEDED_WITH_WARNINGS)],
)
def test_success(warnings: tuple[RunWarning, ...], state: RunState) -> None:
    published = after(an_execution(X), events.Validated(b"root", b"refmap"))
    assert published.attempt.root_hash == b"root"
    assert published.attempt.phase_deadline_us == NOW + 7 * 24 * HOUR
    assert machine.wanted(published) is None, "the host has nothing more to do"
    done = after(published, events.Committed(warnings))
    assert (done.run.state, done.run.warnings, done.run.ended_us) == (state, warnings, NOW)


def test_a_publication_that_is_canceled_is_committed_or_given_up_a_quarter_of_an_hour_later() -> None:
    published = happen("validated", an_execution(X))
    asked = happen("cancel", published)
    assert asked.attempt.state is U, "a validated point is committed where the store takes it"
    assert after(asked, events.Committed(())).run.state is RunState.SUCCEEDED
    assert after(asked, PASSED, 900 * SECOND - 1) == asked
    made = machine.step(asked, PASSED, Moment(NOW + 900 * SECOND, T))
    assert made.after.run.failure is not None and made.after.run.failure.reason == "PUBLISH_TIMEOUT"
    assert Instruction.DROP_POINT in made.instructions
    assert happen("window ended", published) == published, "the end of a window does not spoil a finished backup"


def test_a_publication_of_before_an_upgrade_has_no_deadline() -> None:
    published = a_live(U)
    old = replace(published, attempt=replace(published.attempt, phase_deadline_us=0))
    assert happen("a week later", old) == old


def test_a_repeated_restore_hand_in_changes_nothing() -> None:
    done = after(as_restore(an_execution(X)), events.RestoreHandedIn((), "vm-9"))
    assert done.run.restored_vm_id == "vm-9"
    assert after(done, events.RestoreHandedIn((), "vm-8"), 5) == done


@pytest.mark.parametrize(
    ("event", "state", "expected"),
    [
        ("accept", A, set()),
        ("report", L, set()),
        ("report of an older epoch", X, {Instruction.ANSWER_FORGET}),
        ("host offline", X, set()),
        ("fail", X, {Instruction.WAKE_HOST, Instruction.COUNT_END}),
        ("restarted", X, {Instruction.WAKE_HOST, Instruction.COUNT_END, Instruction.ANSWER_FORGET}),
        ("cancel", A, {Instruction.WAKE_HOST, Instruction.COUNT_END, Instruction.TELL_WATCHERS}),
        ("cancel", X, {Instruction.WAKE_HOST}),
        ("validated", X, {Instruction.WAKE_HOST}),
        ("refused", U, {Instruction.COUNT_END, Instruction.DROP_POINT, Instruction.TELL_WATCHERS}),
        ("overdue", X, {Instruction.WAKE_HOST, Instruction.COUNT_END, Instruction.TELL_WATCHERS}),
    ],
)
def test_what_the_shell_is_told_to_do(event: str, state: AttemptState, expected: set[Instruction]) -> None:
    happened, later_us = EVENTS[event]
    assert machine.step(a_live(state), happened, Moment(NOW + later_us, T)).instructions == expected


def test_an_attempt_does_not_expire_while_it_waits_for_its_hooks() -> None:
    """However long their queue is; once they are done, its host has its time."""
    assigned = a_live(AttemptState.ASSIGNED)
    waits = replace(PASSED, hook_waits=True)
    assert after(assigned, waits, 3 * HOUR) == assigned
    assert after(assigned, waits, 25 * HOUR).attempt.state is AttemptState.ABANDONED
    passed = after(assigned, events.HookPassed(), 3 * HOUR)
    assert passed.attempt.phase_deadline_us == NOW + 3 * HOUR + 60 * SECOND
    assert after(passed, PASSED, 3 * HOUR + 59 * SECOND) == passed


def test_an_application_is_not_stopped_again_and_again_for_a_host_that_takes_nothing() -> None:
    expired = after(a_live(AttemptState.ASSIGNED), PASSED, HOUR)
    assert (expired.run.state, expired.run.tries) == (RunState.READY, 0)
    begun, tries = replace(PASSED, hook_begun=True), 0
    run = expired.run
    while run.state is not RunState.FAILED:
        found = after(replace(a_live(AttemptState.ASSIGNED), run=replace(run, state=RunState.ACTIVE)), begun, HOUR)
        assert found.attempt.state is AttemptState.EXPIRED
        run, tries = found.run, tries + 1
        pause_us = run.not_before_us - NOW - HOUR
        assert run.state is RunState.FAILED or pause_us == 60 * SECOND * 4 ** (tries - 1)
    assert tries == T.most_tries and run.failure is not None and run.failure.reason == "NOT_TAKEN"


@pytest.mark.parametrize(
    ("event", "handed_over"),
    [("restarted", True), ("host offline", True), ("went on", False), ("overdue", False), ("a week of grace", False)],
)
def test_who_is_gone_after_the_hand_in_holds_no_place(event: str, handed_over: bool) -> None:
    """Else an attempt whose worker or host is gone would hold its VM and all limits for a week of a store that is away."""
    found = happen(event, a_live(U)).attempt
    assert (found.state, found.handed_over) == (U, handed_over)


def test_the_scheduler_looks_once_at_a_point_that_waits_for_its_store_without_its_host() -> None:
    waiting = a_live(U).attempt
    gone = replace(waiting, handed_over=True)
    looks = [machine.may_change(each, 1, online, NOW) for each in (waiting, gone) for online in (True, False)]
    assert looks == [False, True, False, False]
