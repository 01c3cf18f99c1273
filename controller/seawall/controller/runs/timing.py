"""Every duration of the control loop in one frozen value, so that tests and the laboratory can shorten them."""

from dataclasses import dataclass, field

SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US


@dataclass(frozen=True, slots=True)
class Timing:
    """Durations in seconds. The defaults are the ones in control's design; README has the table."""

    heartbeat_seconds: float | None = None
    """None: by the number of hosts, hosts / 75, between 2 s (live bars of a small fleet) and 60 s."""
    lease_minimum_seconds: float = 90.0
    lease_heartbeats: int = 6
    poll_wait_seconds: float = 25.0
    assigned_seconds: float = 60.0
    preparing_seconds: float = 600.0
    no_progress_seconds: float = 600.0
    longest_run_seconds: float = 24 * 3600.0
    reattach_grace_seconds: float = 900.0
    failover_grace_seconds: float = 180.0
    transient_backoff_seconds: tuple[float, ...] = (60.0, 240.0, 960.0)
    most_tries: int = 3
    conflict_backoff_seconds: tuple[float, float] = (60.0, 300.0)
    most_requeues: int = 20
    restart_backoff_seconds: float = 3.0
    expired_backoff_seconds: float = 5.0
    leader_lease_seconds: float = 15.0
    leader_renew_seconds: float = 2.0
    tick_seconds: float = 2.0
    watch_seconds: float = 1.0
    progress_write_seconds: float = 1.0
    url_seconds: int = 3600
    idempotency_seconds: float = 24 * 3600.0
    failure_window_seconds: float = field(default=24 * 3600.0)

    def heartbeat_of(self, hosts: int) -> float:
        """Seconds between the heartbeats of one host."""
        return self.heartbeat_seconds if self.heartbeat_seconds is not None else min(60.0, max(2.0, hosts / 75))

    def lease_of(self, hosts: int) -> float:
        """Seconds that a heartbeat keeps its host online."""
        return max(self.lease_minimum_seconds, self.lease_heartbeats * self.heartbeat_of(hosts))


def microseconds(seconds: float) -> int:
    return int(seconds * SECOND_US)
