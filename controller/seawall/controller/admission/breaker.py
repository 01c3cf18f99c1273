"""The circuit breaker of a host or a repository: after so many failures in a row its runs wait, then one of them tries. Pure.

closed --5 TRANSIENT failures in a row--> open --1, 2, 4, 5 min--> half-open: one attempt --success, or a proof--> closed
                                           ^--------------------------------/  failure

An attempt may last a day, and most of what a breaker stands for is refuted in its first minutes: hence the proofs (proofs.py).
"""

from enum import StrEnum

from seawall.controller.records.limits import Breaker, Scope
from seawall.controller.records.runs import Attempt, AttemptState, Failure, FailureKind
from seawall.controller.runs.retry import AGENT_AWAY
from seawall.controller.timings import SECOND_US

FAILURES = 5
FIRST_PAUSE_US = 60 * SECOND_US
LONGEST_PAUSE_US = 300 * SECOND_US

OF_THE_STORE = ("STORE_", "BUCKET_", "OBJECT_MISSING", "FOREIGN_REPOSITORY", "REPOSITORY_")
"""Beginnings of reasons that speak of a repository's store. A host that alone cannot reach the store has them too: its own breaker opens
first, because other hosts' successes end the repository's row."""


class BreakerState(StrEnum):
    CLOSED = "CLOSED"
    OPEN = "OPEN"
    HALF_OPEN = "HALF_OPEN"


def state_of(breaker: Breaker | None, now_us: int) -> BreakerState:
    if breaker is None or breaker.failures < FAILURES:
        return BreakerState.CLOSED
    # A failure of a time to come was written down while the clock was ahead: it must not keep everybody waiting until then.
    return BreakerState.OPEN if breaker.last_us <= now_us < probe_us(breaker) else BreakerState.HALF_OPEN


def probe_us(breaker: Breaker) -> int:
    """When the next attempt may try."""
    doublings = min(max(breaker.failures - FAILURES, 0), 10)
    return breaker.last_us + min(FIRST_PAUSE_US << doublings, LONGEST_PAUSE_US)


def counts_against(scope: Scope, failure: Failure) -> bool:
    """Whether a failure says something of the host, or of the repository."""
    if failure.kind is not FailureKind.TRANSIENT or failure.reason in AGENT_AWAY:
        return False
    return scope is Scope.HOST or failure.reason.startswith(OF_THE_STORE)


def after_attempt(breaker: Breaker, attempt: Attempt) -> Breaker:
    """The breaker once an attempt of its host or repository is over. What says nothing, a cancel or a VM that moved, changes nothing."""
    if attempt.state is AttemptState.SUCCEEDED:
        return closed(breaker)
    failure = attempt.failure
    ended_badly = attempt.state in (AttemptState.FAILED, AttemptState.ABANDONED)
    if failure is None or not ended_badly or not counts_against(breaker.scope, failure):
        return breaker
    return one_more(breaker, failure.reason, failure.message, attempt.ended_us)


def one_more(breaker: Breaker, reason: str, message: str, now_us: int) -> Breaker:
    return Breaker(breaker.scope, breaker.key, breaker.failures + 1, now_us, reason, message)


def closed(breaker: Breaker) -> Breaker:
    """As if it did not exist."""
    return Breaker(breaker.scope, breaker.key, 0, 0, "", "")
