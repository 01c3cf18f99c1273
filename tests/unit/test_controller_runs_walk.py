"""All that the machine can reach: every state has an owner and a deadline, and time alone ends each of them."""

from dataclasses import replace

import pytest

from seawall.controller.records.runs import AttemptState, RunKind, RunState
from seawall.controller.runs import deadlines, events, machine, ready
from seawall.controller.runs.instructions import Instruction
from seawall.controller.timings import microseconds
from support.attempt_letters import A, B, C, E, F, L, P, S, U, X
from support.execution_walk import EPOCH, TIMINGS, Move, Situation, changes, every_look, states, walk

SITUATIONS, MOVES = walk()
OPEN = [each for each in SITUATIONS if not each.run.state.over]

CHANGES = {
    A: {P, E, F, C, B},
    P: {X, L, U, F, C, B},
    X: {L, U, F, C, B},
    L: {P, X, U, F, C, B},
    U: {S, F},
}
"""Every change of a backup's attempt that may happen."""
OF_RESTORES = {
    A: {P, E, F, C, B},
    P: {X, L, S, F, C, B},
    X: {L, S, F, C, B},
    L: {P, X, S, F, C, B},
}


def test_every_state_can_be_reached() -> None:
    assert {each.run.state for each in SITUATIONS} == set(RunState) - {RunState.SUCCEEDED_WITH_WARNINGS}
    assert {each.attempt.state for each in SITUATIONS if each.attempt} == set(AttemptState)
    assert len(SITUATIONS) > 100, len(SITUATIONS)
    assert len(MOVES) > 5_000, len(MOVES)


@pytest.mark.parametrize(("kind", "expected"), [(RunKind.BACKUP, CHANGES), (RunKind.RESTORE, OF_RESTORES)])
def test_no_other_change_of_state_happens(kind: RunKind, expected: dict[AttemptState, set[AttemptState]]) -> None:
    found: dict[AttemptState, set[AttemptState]] = {}
    for before, after in changes(MOVES, kind):
        found.setdefault(before, set()).add(after)
    assert found == expected


def test_each_state_that_is_not_the_end_has_an_owner_and_a_deadline() -> None:
    assert set(deadlines.ATTEMPTS) == {state for state in AttemptState if state.live}
    assert set(deadlines.RUNS) == {state for state in RunState if not state.over}
    guards = [
        *deadlines.ATTEMPTS.values(),
        *deadlines.RUNS.values(),
        deadlines.ASKED_TO_STOP,
        deadlines.PUBLISHING_ASKED_TO_STOP,
    ]
    assert all(getattr(TIMINGS, guard.limit) > 0 for guard in guards)


@pytest.mark.parametrize("state", deadlines.ATTEMPTS)
def test_time_makes_of_each_state_what_the_table_says(state: AttemptState) -> None:
    guard, tried = deadlines.ATTEMPTS[state], 0
    for move in MOVES:
        if states(move)[0] is not state or not _at_its_deadline(move):
            continue
        after = move.after.attempt
        assert after is not None and after.state is guard.then
        assert (after.failure.reason if after.failure else "") in (guard.why, "CANCEL_TIMEOUT")
        tried += 1
    assert tried


def _at_its_deadline(move: Move) -> bool:
    attempt, run, now_us = move.before.attempt, move.before.run, move.before.now_us
    assert attempt is not None
    alone = events.TimePassed(EPOCH, host_online=True, seen_elsewhere=False, grace=False)
    looked = move.event in (alone, replace(alone, hook_begun=True))
    return looked and attempt.phase_deadline_us <= now_us < run.deadline_us


@pytest.mark.parametrize("host_online", [True, False])
def test_no_state_is_without_a_way_out_by_time_alone(host_online: bool) -> None:
    """Nobody does anything any more: no agent, no operator, no store; a READY run finds no place."""
    look = events.TimePassed(EPOCH, host_online, seen_elsewhere=False, grace=False)
    longest_us = microseconds(TIMINGS.max_run_seconds + TIMINGS.publishing_seconds)
    for begun in OPEN:
        here, steps = begun, 0
        while not here.run.state.over:
            here, steps = waited(here, look), steps + 1
            assert steps < 20, begun
        assert here.now_us - begun.now_us <= longest_us, begun


def waited(here: Situation, look: events.TimePassed) -> Situation:
    """After the next moment at which something is due, and one look at it."""
    run, attempt = here.run, here.attempt
    if run.state is RunState.READY:
        later = replace(here, now_us=max(here.now_us, run.deadline_us))
        return replace(later, run=ready.overdue(run, later.moment))
    assert attempt is not None and attempt.phase_deadline_us > 0, "a live attempt without a deadline"
    due_us = attempt.phase_deadline_us
    if attempt.state is not AttemptState.PUBLISHING:
        due_us = min(due_us, run.deadline_us)
    later = replace(here, now_us=max(here.now_us, due_us))
    assert later.execution is not None
    after = machine.step(later.execution, look, later.moment).after
    return Situation(after.run, after.attempt, later.now_us)


def test_whatever_is_live_is_the_current_attempt_of_an_active_run() -> None:
    for each in SITUATIONS:
        live = each.attempt is not None and each.attempt.state.live
        assert live == (each.run.state is RunState.ACTIVE)
        if live:
            assert each.attempt is not None
            assert each.run.current_attempt == each.attempt.id
            assert (each.attempt.lost_from is not None) == (each.attempt.state is L)
        if each.run.state.over:
            assert each.run.ended_us and not each.run.blocked_on


def test_a_canceled_run_is_never_tried_again() -> None:
    for move in MOVES:
        if move.before.run.cancel_us and move.after.run.state is not RunState.ACTIVE:
            published = states(move)[0] is U
            assert move.after.run.state is RunState.CANCELED or published, move


def test_cancel_works_in_every_state() -> None:
    """At once where nobody works on it; else the agent is told, and time ends it where it does not listen."""
    for each in OPEN:
        execution = each.execution
        if execution is None:
            assert ready.canceled(each.run, each.moment).state is RunState.CANCELED
            continue
        made = machine.step(execution, events.CancelAsked(), each.moment)
        assert made.after.run.cancel_us
        if execution.attempt.state is A:
            assert made.after.run.state is RunState.CANCELED
        elif execution.attempt.state is U:
            limit_us = microseconds(TIMINGS.cancel_publishing_seconds)
            assert made.after.attempt.phase_deadline_us <= max(
                each.now_us + limit_us, execution.attempt.phase_deadline_us
            )
        else:
            wanted = machine.wanted(made.after)
            assert wanted is not None and wanted.cancel


def test_in_a_leaders_grace_nothing_expires() -> None:
    for each in OPEN:
        if each.execution is None:
            continue
        later = replace(each, now_us=each.now_us + 30 * 24 * 3600 * 10**6)
        for look in every_look(grace=True):
            after = machine.step(each.execution, look, later.moment).after
            if look.db_epoch == EPOCH or each.execution.attempt.state is U:
                assert after == each.execution


def test_what_the_scheduler_does_not_look_at_closer_does_not_change() -> None:
    for each in OPEN:
        if each.execution is None or each.now_us >= each.run.deadline_us:
            continue
        for look in every_look():
            suspect = machine.may_change(each.execution.attempt, look.db_epoch, look.host_online, each.now_us)
            if not suspect:
                assert machine.step(each.execution, look, each.moment).after == each.execution


def test_the_shell_is_told_of_everything_that_it_has_to_do() -> None:
    for move in MOVES:
        before, after, told = move.before.execution, move.made.after, move.made.instructions
        assert before is not None
        assert (Instruction.WAKE_HOST in told) == (machine.wanted(before) != machine.wanted(after))
        assert (Instruction.COUNT_END in told) == (not after.attempt.state.live)
        assert (Instruction.TELL_WATCHERS in told) == after.run.state.over
        assert (Instruction.DROP_POINT in told) == (states(move) == (U, F))
        forgotten = Instruction.ANSWER_FORGET in told
        assert not forgotten or isinstance(move.event, events.Greeted | events.Reported)
        assert not (forgotten and Instruction.ANSWER_CANCEL in told)
