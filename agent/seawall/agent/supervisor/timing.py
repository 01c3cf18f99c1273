"""The supervisor's own times, in seconds; those of leases and polls come with Hello. Frozen; tests shorten them."""

from dataclasses import dataclass, field
from random import Random, SystemRandom

from seawall.api.standing_still import LOOK_SECONDS


@dataclass(frozen=True, slots=True)
class Timing:
    """Defaults are what a production agent uses."""

    call: float = 10.0  # deadline of a unary call
    silence: float = LOOK_SECONDS  # of a call, before its controller is looked at; where there is another one to ask
    poll_margin: float = 10.0  # a long-poll's deadline lies this far behind the wait asked for
    first_backoff: float = 0.5
    longest_backoff: float = 5.0
    refused_backoff: float = 30.0  # after a Hello that was refused, not missed
    inventory: float = 30.0  # a full report at least this often, unless the controller wants to hear it less often
    share: float = 0.5  # how often the bandwidth is divided anew among the workers
    look: float = 5.0  # how often libvirt is asked whether anything changed
    cancel_grace: float = 60.0  # from a soft cancel to SIGKILL
    fence_grace: float = 10.0
    stop_grace: float = 8.0  # of the whole agent
    settling_grace: float = 1800.0  # a worker that waits for the answer to its hand-in: twice as long as it asks for it
    finishing_grace: float = 120.0  # a worker that tidies up after its commit
    renewal_check: float = 600.0
    first_sweep_again: float = 1.0  # after a sweep that could not do everything
    longest_sweep_again: float = 30.0
    final_reports: float = 3.0  # how long a stopping agent tries to say what it killed


@dataclass(slots=True)
class Backoff:
    """Full jitter between the first and the longest wait, doubling with each failure."""

    first: float
    longest: float
    jitter: Random = field(default_factory=SystemRandom)
    failures: int = 0

    def next_seconds(self) -> float:
        ceiling = min(self.longest, self.first * 2**self.failures)
        self.failures = min(self.failures + 1, 16)
        return self.jitter.uniform(min(self.first, ceiling) / 2, ceiling)

    def reset(self) -> None:
        self.failures = 0
