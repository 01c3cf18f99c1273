"""Which calls are made, tried again and dropped; what is news about a VM."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.controller.hooks.decision import (
    PAUSES_SECONDS,
    Step,
    begun,
    calls_around,
    ended,
    failure_of,
    holds_back,
    step_of,
)
from seawall.controller.hooks.messages import MOST_NAMED, RunNames, notice_bodies, run_message
from seawall.controller.hooks.outcome import Outcome
from seawall.controller.hooks.troubles import (
    after_runs,
    news,
    protected_still,
    told,
    wanted,
    with_damage,
    with_rpo,
)
from seawall.controller.records.hooks import CallState, EndedRun, Event, HookCall, OnFailure, Stage, Trouble
from seawall.controller.records.runs import AttemptState, FailureKind, RunState
from seawall.controller.store.hooks import DueCall
from support.controller_records import NOW, a_point, a_run, an_execution
from support.policies import a_policy

POLICY = a_policy("hooks: {before: {run: [one, two], timeout: 90s, on_failure: skip}, after: {run: three}}")
BAD, GOOD = Outcome(False, "It exited with 1."), Outcome(True, "It exited with 0.")
ATTEMPT = an_execution(AttemptState.ASSIGNED).attempt
HOUR_US = 3600 * 1_000_000


def calls() -> list[HookCall]:
    return calls_around(POLICY, ATTEMPT)


def test_an_attempt_brings_its_calls_in_order() -> None:
    assert [(each.stage, each.hook, each.position, each.timeout_seconds) for each in calls()] == [
        (Stage.BEFORE, "one", 0, 90),
        (Stage.BEFORE, "two", 1, 90),
        (Stage.AFTER, "three", 2, 60),
    ]
    assert len({each.id for each in calls()}) == 3
    assert calls() == calls(), "whoever makes them again makes the same"
    another = calls_around(POLICY, replace(ATTEMPT, id="another"))
    assert {each.id for each in another}.isdisjoint(each.id for each in calls())


@pytest.mark.parametrize("state", list(AttemptState))
def test_what_comes_before_has_a_reason_while_nobody_took_the_attempt(state: AttemptState) -> None:
    wanted_step = Step.CALL if state is AttemptState.ASSIGNED else Step.DROP
    assert step_of(DueCall(calls()[0], state, touched=True)) is wanted_step


@pytest.mark.parametrize(
    ("overtaken", "touched", "step"),
    [(False, True, Step.CALL), (False, False, Step.DROP), (True, True, Step.DROP), (True, False, Step.DROP)],
)
def test_what_comes_after_comes_after_what_was_begun_until_it_is_overtaken(
    overtaken: bool, touched: bool, step: Step
) -> None:
    assert step_of(DueCall(calls()[2], AttemptState.FAILED, overtaken, touched)) is step


def test_a_hook_before_an_attempt_has_one_try() -> None:
    first = begun(calls()[0], NOW)
    failed = ended(first, BAD, NOW)
    assert (failed.state, failed.tries) == (CallState.FAILED, 1)
    skipped = failure_of(failed, BAD)
    assert skipped is not None and (skipped.reason, skipped.kind) == ("HOOK_SKIPPED", FailureKind.PERMANENT)
    missing = failure_of(failed, replace(BAD, called=False))
    assert missing is not None and (missing.reason, missing.kind) == ("HOOK_UNUSABLE", FailureKind.CONFLICT)
    assert failure_of(replace(failed, on_failure=OnFailure.CONTINUE), BAD) is None
    done = ended(first, GOOD, NOW)
    assert done.state is CallState.DONE and failure_of(done, GOOD) is None
    waits = holds_back([done, *calls()[1:]], ATTEMPT.id)
    assert waits is not None and waits.hook == "two"
    assert holds_back(calls(), "another") is None


def test_what_comes_after_is_tried_again_for_hours_and_then_has_failed() -> None:
    call, waited = calls()[2], []
    while call.state is CallState.WAITING:
        call = ended(begun(call, NOW), BAD, NOW)
        waited.append((call.not_before_us - NOW) // 1_000_000)
    assert waited[:-1] == list(PAUSES_SECONDS) and call.state is CallState.FAILED
    assert call.tries == len(PAUSES_SECONDS) + 1
    assert ended(begun(calls()[2], NOW), GOOD, NOW).state is CallState.DONE
    left = begun(begun(calls()[2], NOW), NOW)
    assert ended(left, BAD, NOW).not_before_us == NOW + PAUSES_SECONDS[0] * 1_000_000, "a leader that dies is no try"


def ends(*states: RunState) -> list[EndedRun]:
    return [EndedRun(f"run-{number}", "p", "vm-1", state, NOW + number) for number, state in enumerate(states)]


def test_a_notice_names_everybody_or_there_are_several() -> None:
    troubles = [Trouble("p", f"vm-{number}", Event.FAILED, NOW) for number in range(MOST_NAMED + 1)]
    first, second = (json.loads(body) for body in notice_bodies(troubles, ["vm-x"], {}, NOW))
    assert [len(body["troubles"]) for body in (first, second)] == [MOST_NAMED, 1]
    assert [len(body["recovered"]) for body in (first, second)] == [1, 0]
    assert {body["troubles_total"] for body in (first, second)} == {MOST_NAMED + 1}
    assert list(notice_bodies([], [], {}, NOW)) == []


@pytest.mark.parametrize("state", [AttemptState.PUBLISHING, AttemptState.SUCCEEDED])
def test_what_comes_after_knows_whether_the_point_still_waits_for_the_store(state: AttemptState) -> None:
    execution = an_execution(state)
    message = run_message(calls()[2], execution.run, execution.attempt, RunNames("p", "r", "h"))
    assert json.loads(message.body)["run"]["publishing"] == (state is AttemptState.PUBLISHING)


def events(known: list[Trouble]) -> set[Event]:
    return {each.event for each in known}


def test_the_last_run_that_says_something_decides() -> None:
    assert events(after_runs([], "p", ends(RunState.SUCCEEDED, RunState.FAILED))) == {Event.FAILED}
    assert events(after_runs([], "p", ends(RunState.FAILED, RunState.SUCCEEDED_WITH_WARNINGS))) == set()
    assert events(after_runs([], "p", ends(RunState.FAILED, RunState.CANCELED, RunState.SKIPPED))) == {Event.FAILED}
    failed, missed = after_runs([], "p", ends(RunState.FAILED, RunState.MISSED, RunState.FAILED))
    assert [(each.event, each.since_us - NOW) for each in (failed, missed)] == [(Event.FAILED, 0), (Event.MISSED, 1)]
    assert after_runs([failed, missed], "p", ends(RunState.SUCCEEDED)) == []


def test_a_night_that_its_window_ended_is_a_failed_one() -> None:
    """Whoever it happens to every night has no backup, and somebody is told. What an operator cancelled is his business."""
    canceled = ends(RunState.CANCELED, RunState.CANCELED)
    nights = [replace(each, cut_off=True, message="The window ended.") for each in canceled]
    (trouble,) = after_runs([], "p", nights)
    assert (trouble.event, trouble.run_id, trouble.message) == (Event.FAILED, "run-0", "The window ended.")
    assert after_runs([], "p", canceled) == []
    assert after_runs([trouble], "p", ends(RunState.SUCCEEDED)) == []
    # It was done in time all the same.
    assert after_runs([], "p", [replace(nights[0], state=RunState.SUCCEEDED_WITH_WARNINGS)]) == []


@given(st.lists(st.sampled_from([*RunState]), max_size=6), st.integers(0, 6))
def test_runs_that_are_looked_at_again_change_nothing(states: list[RunState], cut: int) -> None:
    history = ends(*states)
    once = after_runs([], "p", history)
    assert events(after_runs(once, "p", history)) == events(once)
    assert events(after_runs(after_runs([], "p", history[:cut]), "p", history)) == events(once)


def test_a_vm_is_late_from_its_newest_point_or_from_when_it_was_asked_for() -> None:
    newest = {"old": NOW - 3 * HOUR_US, "fresh": NOW - HOUR_US, "none": 0, "new": 0}
    asked = {"old": NOW - 10 * HOUR_US, "fresh": 0, "none": NOW - 3 * HOUR_US}
    late = with_rpo([], "p", newest, 7200, asked, NOW)
    assert {each.vm_id for each in late} == {"old", "none"}, "of the new one nothing was asked yet"
    changed = dict.fromkeys(newest, NOW)
    assert with_rpo([], "p", newest, 7200, changed, NOW) == []
    assert with_rpo(late, "p", newest, 7200, changed, NOW) == late, "nobody recovers because the policy was edited"
    assert with_rpo(late, "p", newest | {"old": NOW}, 7200, asked, NOW) == [late[1]]
    assert with_rpo(late, "p", newest, 0, asked, NOW) == []
    assert protected_still(late, {"old"}) == [late[0]]


def test_what_a_policy_does_not_ask_for_is_not_known() -> None:
    assert wanted(a_policy("rpo: 1d").spec) == set(Event)
    assert wanted(a_policy("").spec) == set(Event) - {Event.RPO}
    told_of = a_policy("rpo: 1d\nnotify: {run: one, events: [failed, recovered]}").spec
    assert wanted(told_of) == {Event.FAILED, Event.RECOVERED}


def test_a_point_that_cannot_be_read_back_is_a_trouble_of_its_vm_until_it_is_whole_or_gone() -> None:
    points = [
        a_point(a_run(number, vm_id=vm_id), "attempt") for number, vm_id in ((1, "vm-1"), (2, "vm-1"), (3, "gone"))
    ]
    failed = Trouble("p", "vm-1", Event.FAILED, NOW)
    now = with_damage([failed], "p", points, {"vm-1", "vm-2"}, NOW)
    assert [each.vm_id for each in now] == ["vm-1", "vm-1"], "the third one's VM is protected no more"
    (damaged,) = (each for each in now if each.event is Event.DAMAGED)
    assert points[1].id in damaged.message
    assert with_damage(now, "p", points[:1], {"vm-1", "vm-2"}, NOW + HOUR_US) == now, "told once"
    assert with_damage(now, "p", [], {"vm-1", "vm-2"}, NOW) == [failed]
    assert told(news(now, [failed]), tuple(Event)).recovered == (), "it still fails"
    assert told(news([damaged], []), (Event.DAMAGED, Event.RECOVERED)).recovered == ("vm-1",)


def test_news_are_told_once_and_only_as_asked() -> None:
    failed = Trouble("p", "vm-1", Event.FAILED, NOW)
    late = Trouble("p", "vm-1", Event.RPO, NOW)
    came = news([], [failed, late])
    assert (came.came, came.recovered) == ((failed, late), ())
    assert news([failed, late], [late]).recovered == (), "it is still late"
    over = news([failed, late], [])
    assert told(over, tuple(Event)).recovered == ("vm-1",)
    assert told(over, (Event.MISSED, Event.RECOVERED)).recovered == (), "nobody was told of it"
    assert told(over, (Event.FAILED,)).recovered == ()
    assert news([failed], [], frozenset()).recovered == (), "it is protected no more"
    assert news([failed], [failed]).empty
