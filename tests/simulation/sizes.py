"""How large a simulated fleet is, and how often its parts look around. `LARGE` is the one that is played by hand."""

from dataclasses import dataclass

from seawall.agent.supervisor.timing import Timing
from seawall.controller.timings import Timings

TIMINGS = Timings(
    heartbeat_seconds=20.0,
    lease_ttl_seconds=60.0,
    poll_wait_seconds=60.0,
    assigned_seconds=40.0,
    preparing_seconds=120.0,
    no_progress_seconds=150.0,
    max_run_seconds=3 * 3600.0,
    reattach_grace_seconds=180.0,
    failover_grace_seconds=90.0,
    cancel_soft_seconds=30.0,
    scheduler_interval_seconds=15.0,
    watch_interval_seconds=15.0,
    retry_seconds=20.0,
    conflict_backoff_seconds=(20.0, 60.0),
    verify_new_seconds=1e7,
    verify_period_seconds=0.0,
    collect_grace_seconds=0.0,
    leader_lease_seconds=90.0,
    bandwidth_seconds=60.0,
    publish_retry_seconds=20.0,
)
LARGE_TIMINGS = Timings(
    inventory_seconds=3600.0,
    export_seconds=3600.0,
    export_settle_seconds=900.0,
    heartbeat_seconds=60.0,
    lease_ttl_seconds=180.0,
    poll_wait_seconds=300.0,
    assigned_seconds=120.0,
    preparing_seconds=300.0,
    no_progress_seconds=400.0,
    max_run_seconds=3 * 3600.0,
    reattach_grace_seconds=600.0,
    failover_grace_seconds=200.0,
    cancel_soft_seconds=60.0,
    scheduler_interval_seconds=30.0,
    watch_interval_seconds=15.0,
    retry_seconds=60.0,
    verify_new_seconds=1e7,
    verify_period_seconds=0.0,
    leader_lease_seconds=90.0,
    bandwidth_seconds=60.0,
    publish_retry_seconds=60.0,
)


@dataclass(frozen=True)
class Pace:
    """Of what no configuration says. `debounce`: the scheduler's pause for all that comes within a moment; `hooks`: that of
    whoever calls them, of which there are none here; `linger`: how long heartbeats
    and polls wait for others that share their transaction.
    """

    agent: Timing
    busy_heartbeat: float
    debounce: float
    hooks: float
    linger: float


USUAL_PACE = Pace(
    Timing(inventory=60.0, look=20.0, share=60.0, cancel_grace=30.0, settling_grace=600.0, finishing_grace=60.0),
    busy_heartbeat=15.0,
    debounce=0.1,
    hooks=15.0,
    linger=0.1,
)
LARGE_PACE = Pace(
    Timing(inventory=3600.0, look=300.0, share=300.0, cancel_grace=60.0, settling_grace=1200.0, finishing_grace=120.0),
    busy_heartbeat=60.0,
    debounce=15.0,
    hooks=15.0,
    linger=1.0,
)


@dataclass(frozen=True)
class Size:
    """`seconds`: of simulated time with faults; the calm at the end comes on top."""

    agents: int = 5
    vms: int = 20
    seconds: float = 600.0
    controllers: int = 2
    every_minutes: int = 5
    """The policy's interval; 1440: once a day, ten minutes after the beginning."""
    spread: str = ""
    """Of the policy. "": one of a few, up to 2 minutes."""
    between_faults: tuple[float, float] = (8.0, 60.0)
    """Seconds, the least and the most."""
    timings: Timings = TIMINGS
    pace: Pace = USUAL_PACE

    @property
    def most_at_once(self) -> int:
        """The greatest limit of all transfers that an operator sets."""
        return max(8, self.agents // 5)


OF_MUTANTS = Size(4, 16)
"""Each is looked for in several seeds, and those are played again without it."""
LARGE = Size(
    1000,
    20_000,
    86_400.0,
    every_minutes=1440,
    spread="20h",
    between_faults=(30.0, 240.0),
    timings=LARGE_TIMINGS,
    pace=LARGE_PACE,
)
