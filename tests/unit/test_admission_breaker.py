"""Circuit breakers: what counts, when they open, when one may try, what closes them."""

from dataclasses import replace

import pytest

from seawall.controller.admission.breaker import FAILURES, BreakerState, after_attempt, probe_us, state_of
from seawall.controller.records.limits import Breaker, Scope
from seawall.controller.records.runs import Attempt, AttemptState, FailureKind
from support.controller_records import NOW, SECOND, a_failure, an_execution

HOST = Breaker(Scope.HOST, "alpha", 0, 0, "", "")
STORE = Breaker(Scope.REPOSITORY, "repository", 0, 0, "", "")


def ended(reason: str, kind: FailureKind = FailureKind.TRANSIENT, at_us: int = NOW) -> Attempt:
    failure = a_failure(kind, reason)
    return replace(an_execution().attempt, state=AttemptState.FAILED, failure=failure, ended_us=at_us)


@pytest.mark.parametrize(
    ("reason", "kind", "host", "store"),
    [
        ("WORKER_EXITED", FailureKind.TRANSIENT, 1, 0),
        ("STORE_UNAVAILABLE", FailureKind.TRANSIENT, 1, 1),
        ("AGENT_RESTARTED", FailureKind.TRANSIENT, 0, 0),
        ("AGENT_STOPPING", FailureKind.TRANSIENT, 0, 0),
        ("VM_MOVED", FailureKind.CONFLICT, 0, 0),
        ("DISK_UNSUPPORTED", FailureKind.PERMANENT, 0, 0),
    ],
)
def test_what_counts_against_whom(reason: str, kind: FailureKind, host: int, store: int) -> None:
    attempt = ended(reason, kind)
    assert (after_attempt(HOST, attempt).failures, after_attempt(STORE, attempt).failures) == (host, store)


def test_five_in_a_row_open_it_and_each_further_failure_makes_the_pause_longer() -> None:
    breaker, pauses = HOST, []
    for number in range(1, 10):
        breaker = after_attempt(breaker, ended("WORKER_EXITED", at_us=NOW))
        if number < FAILURES:
            assert state_of(breaker, NOW) is BreakerState.CLOSED
        else:
            pauses.append((probe_us(breaker) - NOW) // SECOND)
            assert state_of(breaker, probe_us(breaker) - 1) is BreakerState.OPEN
            assert state_of(breaker, probe_us(breaker)) is BreakerState.HALF_OPEN
    assert pauses == [60, 120, 240, 300, 300]


def test_a_failure_that_a_clock_ahead_wrote_down_keeps_nobody_waiting_for_a_year() -> None:
    ahead = replace(STORE, failures=FAILURES, last_us=NOW + 365 * 86_400 * SECOND)
    assert state_of(ahead, NOW) is BreakerState.HALF_OPEN
    assert state_of(after_attempt(ahead, ended("STORE_UNAVAILABLE")), NOW) is BreakerState.OPEN


def test_one_success_closes_it_and_what_says_nothing_changes_nothing() -> None:
    opened = replace(HOST, failures=7, last_us=NOW)
    assert after_attempt(opened, ended("VM_MOVED", FailureKind.CONFLICT)) == opened
    canceled = replace(ended("CANCELED"), state=AttemptState.CANCELED)
    assert after_attempt(opened, canceled) == opened
    done = replace(an_execution().attempt, state=AttemptState.SUCCEEDED, ended_us=NOW, failure=None)
    assert state_of(after_attempt(opened, done), NOW) is BreakerState.CLOSED


def test_a_store_failure_of_one_host_ends_with_anothers_success() -> None:
    """Only the host that cannot reach the store opens: others go on meanwhile."""
    host, store = HOST, STORE
    for _ in range(FAILURES):
        attempt = ended("STORE_UNAVAILABLE")
        host, store = after_attempt(host, attempt), after_attempt(store, attempt)
        of_another = replace(an_execution().attempt, state=AttemptState.SUCCEEDED, host_id="beta", failure=None)
        store = after_attempt(store, of_another)
    assert state_of(host, NOW) is BreakerState.OPEN
    assert state_of(store, NOW) is BreakerState.CLOSED
