"""The numbers by which watchers go on."""

from hypothesis import given
from hypothesis import strategies as st

from seawall.controller.services.run_changes import RunChanges

MARKS = st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 3))


@given(st.lists(MARKS, max_size=12), st.integers(0, 12))
def test_who_goes_on_from_a_number_learns_all_that_differs_now(looks: list[dict[str, int]], begun: int) -> None:
    """Whatever happened in between: what a watcher was told, brought up to date by `since`, is what there is."""
    changes, told, number = RunChanges(), dict[str, int](), 0
    for step, marks in enumerate(looks):
        changes.look(marks)
        if step < begun:
            continue
        if number < changes.oldest:
            told = {run_id: marks[run_id] for run_id in changes.all()}
        else:
            told |= {run_id: marks[run_id] for run_id in changes.since(number)}
        number = changes.number
        assert {run_id: told[run_id] for run_id in marks} == marks
    assert changes.since(changes.number) == []


def test_changes_come_in_the_order_of_the_last_change_each_run_once() -> None:
    changes = RunChanges()
    changes.look({"a": 1, "b": 1})
    first = changes.number
    changes.look({"a": 1, "b": 2})
    changes.look({"a": 2, "b": 3})
    assert changes.since(first) == ["a", "b"] and changes.since(0) == ["a", "b"]
    assert changes.number == first + 3


def test_the_end_of_a_run_that_is_looked_at_no_more_is_not_passed_over() -> None:
    changes = RunChanges()
    changes.look({"a": 1})
    changes.look({"a": 2, "b": 1})
    seen = changes.number - 2
    assert seen >= changes.oldest
    changes.look({"b": 1})
    assert seen < changes.oldest <= changes.number
