"""Every duration of the control loop in one frozen value, so that tests and the laboratory can shorten them."""

from dataclasses import dataclass

from seawall.controller.timings import Timings

SECOND_US = 1_000_000


@dataclass(frozen=True, slots=True)
class Timing:
    """Durations in seconds: those that the configuration may set, and those that are the design's own."""

    heartbeat_seconds: float = 15.0
    lease_seconds: float = 90.0
    poll_wait_seconds: float = 25.0
    assigned_seconds: float = 60.0
    preparing_seconds: float = 600.0
    no_progress_seconds: float = 600.0
    longest_run_seconds: float = 24 * 3600.0
    reattach_grace_seconds: float = 900.0
    failover_grace_seconds: float = 180.0
    tick_seconds: float = 5.0
    watch_seconds: float = 1.0
    url_seconds: int = 3600
    transient_backoff_seconds: tuple[float, ...] = (60.0, 240.0, 960.0)
    most_tries: int = 3
    conflict_backoff_seconds: tuple[float, float] = (60.0, 300.0)
    most_requeues: int = 20
    restart_backoff_seconds: float = 3.0
    expired_backoff_seconds: float = 5.0
    leader_lease_seconds: float = 15.0
    remember_answers_seconds: float = 24 * 3600.0
    publish_retry_seconds: float = 5.0


def timing_of(timings: Timings) -> Timing:
    """What the configuration says."""
    return Timing(
        heartbeat_seconds=timings.heartbeat_seconds,
        lease_seconds=timings.lease_ttl_seconds,
        poll_wait_seconds=timings.poll_wait_seconds,
        assigned_seconds=timings.assigned_seconds,
        preparing_seconds=timings.preparing_seconds,
        no_progress_seconds=timings.no_progress_seconds,
        longest_run_seconds=timings.max_run_seconds,
        reattach_grace_seconds=timings.reattach_grace_seconds,
        failover_grace_seconds=timings.failover_grace_seconds,
        tick_seconds=timings.scheduler_interval_seconds,
        watch_seconds=timings.watch_interval_seconds,
        url_seconds=int(timings.url_ttl_seconds),
    )


def microseconds(seconds: float) -> int:
    return int(seconds * SECOND_US)
