"""What the simulation calls a violation of points that were given up, and what it tells of one."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

from seawall.controller.records.runs import Attempt, AttemptState, RunState
from support.controller_records import NOW, a_run

from .invariants import Invariants
from .process import Process
from .program import LAST_LINES, told_of
from .watching import Committed, Seen
from .world import World

FAILED = replace(a_run(1), state=RunState.FAILED)
GIVEN_UP = Attempt("attempt", FAILED.id, 1, "host", 1, AttemptState.FAILED, NOW, 0)
SUCCEEDED = replace(FAILED, state=RunState.SUCCEEDED_WITH_WARNINGS)
TAKEN_BACK = Seen("take_back", (FAILED.id, 1), None)
SAVED = (
    Seen("save_run", (FAILED,), SUCCEEDED),
    Seen("save_attempt", (GIVEN_UP,), replace(GIVEN_UP, state=AttemptState.SUCCEEDED)),
)


def found(*calls: Seen) -> tuple[list[str], list[tuple[str, str]]]:
    """Problems, and what is read back: (point, attempt)."""
    problems: list[str] = []
    published: list[tuple[str, str]] = []
    truth = SimpleNamespace(published=lambda *given: published.append(given))
    world = SimpleNamespace(now=0.0, note=lambda _: None, problem=problems.append, truth=truth)
    invariants = Invariants(cast("World", world))
    invariants.shadow.put_run(FAILED)
    invariants.shadow.put_attempt(GIVEN_UP, 0.0)
    invariants.committed(Committed(cast("Process", cast("Any", None)), calls, "", 1))
    return problems, published


def test_a_point_that_the_bucket_shows_again_makes_its_run_good_and_is_read_back() -> None:
    assert found(TAKEN_BACK, *SAVED) == ([], [(FAILED.id, GIVEN_UP.id)])


def test_nothing_else_of_what_is_over_changes_with_it() -> None:
    run, attempt = SAVED
    other = replace(GIVEN_UP, state=AttemptState.CANCELED)
    problems, _ = found(TAKEN_BACK, run, replace(attempt, result=other))
    assert problems == [f"attempt {GIVEN_UP.id} was FAILED and is CANCELED"]
    problems, _ = found(TAKEN_BACK, replace(run, result=replace(FAILED, state=RunState.CANCELED)), attempt)
    assert problems == [f"run {FAILED.id} was FAILED and is CANCELED"]


def test_without_its_attempt_nothing_would_be_read_back() -> None:
    problems, published = found(TAKEN_BACK, SAVED[0])
    assert problems == [f"point {FAILED.id} is taken back without its attempt"]
    assert not published


def test_a_failed_run_does_not_become_good_without_it() -> None:
    problems, published = found(*SAVED)
    assert [problem.split(FAILED.id)[-1].split(GIVEN_UP.id)[-1] for problem in problems] == [
        " was FAILED and is SUCCEEDED_WITH_WARNINGS",
        " is SUCCEEDED_WITH_WARNINGS without its point",
        " was FAILED and is SUCCEEDED",
    ]
    assert not published


def test_what_named_the_same_hours_ago_is_told_before_the_last_lines() -> None:
    named, other = "01a17309-42d8-705e-ae6f-413ed684bb80", "01a1706f-8927-78c3-adbe-bc85cf5aecf1"
    history = [f"run {named}", f"run {other}", *(f"line {number}" for number in range(LAST_LINES + 5))]
    assert told_of([f"run {named} is wrong"], history) == [f"run {named}", *history[-LAST_LINES:]]
