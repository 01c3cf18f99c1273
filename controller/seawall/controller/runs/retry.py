"""What a failed attempt means for its run: again soon, again later, or never."""

from dataclasses import replace

from seawall.controller.records.runs import Failure, FailureKind, Run, RunState
from seawall.controller.timings import Timings, microseconds

AGENT_RESTARTED = "AGENT_RESTARTED"
AGENT_AWAY = (AGENT_RESTARTED, "AGENT_STOPPING")
"""The agent began anew, in order or not: neither VM nor store had anything to do with it."""
WORKER_EXITED = "WORKER_EXITED"
STATE_CHANGED = ("VM_STARTED", "VM_STOPPED")
"""The VM went on or off during its backup: what it is now can be backed up at once."""
AT_ONCE_REQUEUES = 3
"""As often; a VM that goes on and off again and again is given time."""


def after_failure(run: Run, failure: Failure, now_us: int, timings: Timings, jitter: float) -> Run:
    """The run after one of its attempts ended with `failure`. `jitter` is uniform in [0, 1).

    A run that was asked to stop is CANCELED whatever the failure.
    """
    if run.cancel_us:
        return replace(run, state=RunState.CANCELED, ended_us=now_us, blocked_on="")
    if failure.kind is FailureKind.PERMANENT:
        return failed(run, failure, now_us)
    if failure.kind is FailureKind.CONFLICT or failure.reason in AGENT_AWAY:
        return _requeued(run, failure, now_us, timings, jitter)
    return _tried(run, failure, now_us, timings, jitter)


def after_expiry(run: Run, now_us: int, timings: Timings) -> Run:
    """The run after an attempt that nobody took, and no hook was called for: nothing was done, so nothing is counted. Its own deadline
    ends it some day.
    """
    if run.cancel_us:
        return replace(run, state=RunState.CANCELED, ended_us=now_us, blocked_on="")
    not_before_us = now_us + microseconds(timings.expired_backoff_seconds)
    waits = "the host did not take its last attempt in time"
    return replace(run, state=RunState.READY, not_before_us=not_before_us, blocked_on=waits)


def _tried(run: Run, failure: Failure, now_us: int, timings: Timings, jitter: float) -> Run:
    tries = run.tries + 1
    if tries >= timings.most_tries:
        return replace(failed(run, failure, now_us), tries=tries)
    return _ready(replace(run, tries=tries), failure, now_us, _pause_seconds(tries, failure, timings, jitter))


def _pause_seconds(tries: int, failure: Failure, timings: Timings, jitter: float) -> float:
    """A worker that was killed once says nothing of store or VM, so nothing is spared by waiting; twice, and memory may be what lacks."""
    if tries == 1 and failure.reason == WORKER_EXITED:
        return timings.restart_backoff_seconds
    return timings.retry_seconds * timings.retry_growth ** (tries - 1) * (0.8 + 0.4 * jitter)


def longest_pause_seconds(timings: Timings) -> float:
    """No attempt that ended is followed by a longer one."""
    most_tried = timings.retry_seconds * timings.retry_growth ** max(0, timings.most_tries - 2) * 1.2
    others = (timings.conflict_backoff_seconds[1], timings.restart_backoff_seconds, timings.expired_backoff_seconds)
    return max(timings.retry_seconds * 1.2, most_tried, *others)


def _requeued(run: Run, failure: Failure, now_us: int, timings: Timings, jitter: float) -> Run:
    requeues = run.requeues + 1
    if requeues > timings.most_requeues:
        return replace(failed(run, failure, now_us), requeues=requeues)
    shortest, longest = timings.conflict_backoff_seconds
    changed = failure.reason in STATE_CHANGED and requeues <= AT_ONCE_REQUEUES
    at_once = changed or failure.reason in AGENT_AWAY
    backoff = timings.restart_backoff_seconds if at_once else shortest + (longest - shortest) * jitter
    return _ready(replace(run, requeues=requeues), failure, now_us, backoff)


def _ready(run: Run, failure: Failure, now_us: int, backoff_seconds: float) -> Run:
    not_before = now_us + microseconds(backoff_seconds)
    if not_before >= run.deadline_us:
        return failed(run, failure, now_us)
    blocked_on = f"tries again in {max(1, round(backoff_seconds))} s after {failure.reason}: {failure.message}"
    return replace(run, state=RunState.READY, not_before_us=not_before, blocked_on=blocked_on)


def failed(run: Run, failure: Failure, now_us: int) -> Run:
    """Over: nothing is tried again."""
    return replace(run, state=RunState.FAILED, failure=failure, ended_us=now_us, blocked_on="")
