"""When a failed attempt is tried again, and when not."""

from dataclasses import replace

import pytest

from seawall.controller.records.runs import FailureKind, Run, RunState
from seawall.controller.runs import ready
from seawall.controller.runs.events import Moment
from seawall.controller.runs.making import WAITS, due_at
from seawall.controller.runs.retry import (
    AGENT_AWAY,
    AGENT_RESTARTED,
    WORKER_EXITED,
    after_expiry,
    after_failure,
    longest_pause_seconds,
)
from seawall.controller.runs.steady import SteadyClock
from seawall.controller.timings import Timings
from support.controller_clock import ManualClock
from support.controller_records import NOW, SECOND, a_failure, an_execution

T = Timings()
RUN = an_execution().run


@pytest.mark.parametrize(("tries", "seconds"), [(0, 60), (1, 240)])
@pytest.mark.parametrize(("jitter", "factor"), [(0.0, 0.8), (0.5, 1.0), (1.0, 1.2)])
def test_transient_failures_wait_longer_each_time(tries: int, seconds: int, jitter: float, factor: float) -> None:
    after = after_failure(replace(RUN, tries=tries), a_failure(), NOW, T, jitter)
    assert (after.state, after.tries) == (RunState.READY, tries + 1)
    assert after.not_before_us == pytest.approx(NOW + seconds * factor * SECOND, abs=1)
    assert "STORE_UNAVAILABLE" in after.blocked_on


def test_the_third_transient_failure_is_the_last() -> None:
    after = after_failure(replace(RUN, tries=2), a_failure(), NOW, T, 0.5)
    assert (after.state, after.failure, after.ended_us) == (RunState.FAILED, a_failure(), NOW)


@pytest.mark.parametrize(("jitter", "seconds"), [(0.0, 60), (1.0, 300)])
def test_conflicts_are_requeued_and_not_counted(jitter: float, seconds: int) -> None:
    after = after_failure(RUN, a_failure(FailureKind.CONFLICT, "VM_MIGRATING"), NOW, T, jitter)
    assert (after.state, after.tries, after.requeues) == (RunState.READY, 0, 1)
    assert after.not_before_us == NOW + seconds * SECOND


@pytest.mark.parametrize("reason", ["VM_STARTED", "VM_STOPPED"])
def test_a_vm_that_went_on_or_off_is_backed_up_at_once_as_it_is_now(reason: str) -> None:
    failure = a_failure(FailureKind.CONFLICT, reason)
    after = after_failure(RUN, failure, NOW, T, 0.5)
    assert (after.tries, after.requeues, after.not_before_us) == (0, 1, NOW + 3 * SECOND)
    restless = after_failure(replace(RUN, requeues=3), failure, NOW, T, 0.5)
    assert restless.not_before_us == NOW + 180 * SECOND, "it goes on and off again and again"


def test_conflicts_end_some_day() -> None:
    failure = a_failure(FailureKind.CONFLICT)
    assert after_failure(replace(RUN, requeues=19), failure, NOW, T, 0.5).state is RunState.READY
    assert after_failure(replace(RUN, requeues=20), failure, NOW, T, 0.5).state is RunState.FAILED


def test_permanent_failures_end_at_once() -> None:
    assert after_failure(RUN, a_failure(FailureKind.PERMANENT), NOW, T, 0.5).state is RunState.FAILED


@pytest.mark.parametrize("reason", AGENT_AWAY)
def test_an_agent_that_began_anew_is_soon_tried_again(reason: str) -> None:
    after = after_failure(replace(RUN, tries=2), a_failure(reason=reason), NOW, T, 0.5)
    assert (after.state, after.tries) == (RunState.READY, 2)
    assert after.not_before_us == NOW + 3 * SECOND


def test_a_killed_worker_is_soon_tried_again_but_only_once() -> None:
    first = after_failure(RUN, a_failure(reason=WORKER_EXITED), NOW, T, 0.5)
    assert (first.tries, first.not_before_us) == (1, NOW + 3 * SECOND)
    second = after_failure(replace(RUN, tries=1), a_failure(reason=WORKER_EXITED), NOW, T, 0.5)
    assert (second.tries, second.not_before_us) == (2, NOW + 240 * SECOND)


def test_no_try_begins_after_the_deadline() -> None:
    late = replace(RUN, deadline_us=NOW + 30 * SECOND)
    assert after_failure(late, a_failure(), NOW, T, 0.5).state is RunState.FAILED


def test_the_steady_clock_follows_no_jump() -> None:
    clock = ManualClock()
    steady = SteadyClock(clock)
    begun = steady.now_us()
    clock.advance(5)
    assert steady.now_us() - begun == 5 * SECOND
    assert steady.started_us == begun
    steady.sleep_seconds(1)
    assert steady.monotonic_seconds() == clock.monotonic_seconds()


PAUSES = [
    after_failure(replace(RUN, tries=1), a_failure(), NOW, T, 1.0),
    after_failure(RUN, a_failure(FailureKind.CONFLICT), NOW, T, 1.0),
    after_failure(RUN, a_failure(reason=AGENT_RESTARTED), NOW, T, 1.0),
    after_failure(RUN, a_failure(reason=WORKER_EXITED), NOW, T, 1.0),
    after_expiry(RUN, NOW, T),
]
DAY = 86_400 * SECOND


@pytest.mark.parametrize("waits", PAUSES)
def test_a_pause_of_a_right_clock_is_believed_and_one_of_a_clock_ahead_only_as_far_as_the_longest(waits: Run) -> None:
    now = Moment(NOW, T)
    assert ready.believed(waits, now) is waits
    ahead = replace(waits, not_before_us=waits.not_before_us + DAY // 2)
    assert ready.believed(ahead, now).not_before_us == NOW + 300 * SECOND
    assert ready.believed(ahead, now).deadline_us == waits.deadline_us


def test_the_longest_pause_follows_the_timings() -> None:
    assert longest_pause_seconds(T) == 300
    assert longest_pause_seconds(replace(T, retry_seconds=600.0)) == 600 * 4 * 1.2
    assert longest_pause_seconds(replace(T, retry_seconds=600.0, most_tries=1)) == 600 * 1.2


def test_what_a_policy_has_put_off_is_believed() -> None:
    """Its place in the spread, and the next window, may be days ahead; so may be what is no longer READY."""
    now, later_us = Moment(NOW, T), NOW + 3 * DAY
    spread = due_at(replace(RUN, state=RunState.READY, policy_id="policy-1", attempt_count=0), later_us, "spread", T)
    window = ready.postponed(replace(PAUSES[0], policy_id="policy-1"), later_us, "window", now)
    for run in (spread, window, replace(PAUSES[0], state=RunState.CANCELED, not_before_us=later_us)):
        assert ready.believed(run, now) is run


def test_what_somebody_ordered_of_a_leader_ahead_begins_now() -> None:
    ordered = due_at(replace(RUN, state=RunState.READY, attempt_count=0), NOW + DAY, WAITS, T)
    assert ready.believed(ordered, Moment(NOW, T)) == due_at(ordered, NOW, WAITS, T)
    assert ready.believed(ordered, Moment(NOW + DAY, T)) is ordered


def test_what_a_policy_made_in_the_future_has_its_place_so_much_earlier() -> None:
    """Else the policy would find it open at each firing, and make no other before that day."""
    fresh = replace(RUN, state=RunState.READY, policy_id="policy-1", attempt_count=0, created_us=NOW)
    made = due_at(replace(fresh, created_us=NOW + DAY), NOW + DAY + 300 * SECOND, "spread", T)
    right = due_at(fresh, NOW + 300 * SECOND, "spread", T)
    assert ready.believed(made, Moment(NOW, T)) == replace(right, created_us=NOW + DAY)
    assert ready.believed(made, Moment(NOW + DAY, T)) is made
