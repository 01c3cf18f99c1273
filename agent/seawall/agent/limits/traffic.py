"""What a worker sends and fetches, and whether it would more: told to the supervisor, summed up for the controller."""

from collections.abc import Iterable
from dataclasses import dataclass

from seawall.agent.limits.bucket import RateBucket
from seawall.repository.clock import Clock

HEADROOM = 1.25
"""Who is not held back may go a little faster at the next look."""
LEAST_DEMAND = 1024 * 1024
"""Of a worker: it may begin to transfer at any moment."""
UNBOUNDED = 1 << 50
"""What a worker would use that is held back: more than its share, nobody knows how much."""
HELD_BACK_SECONDS = 5.0
SMOOTHING_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Traffic:
    """Of one worker."""

    rate_bytes_per_second: int = 0
    held_back: bool = False

    @property
    def demand(self) -> int:
        if self.held_back:
            return UNBOUNDED
        return max(int(self.rate_bytes_per_second * HEADROOM), LEAST_DEMAND)


def total(traffics: Iterable[Traffic]) -> tuple[int, int]:
    """(demand, rate) of a host; bytes per second."""
    some = list(traffics)
    return min(sum(each.demand for each in some), UNBOUNDED), sum(each.rate_bytes_per_second for each in some)


class TrafficMeter:
    """Reads a bucket now and then. One thread."""

    def __init__(self, bucket: RateBucket, clock: Clock) -> None:
        self._bucket = bucket
        self._clock = clock
        self._bytes = bucket.passed_bytes
        self._at = clock.monotonic_seconds()
        self._rate = 0.0

    def read(self) -> Traffic:
        """Since the last time, smoothed over a few seconds."""
        now, passed = self._clock.monotonic_seconds(), self._bucket.passed_bytes
        elapsed = now - self._at
        if elapsed > 0:
            weight = min(elapsed / SMOOTHING_SECONDS, 1.0)
            self._rate += ((passed - self._bytes) / elapsed - self._rate) * weight
            self._bytes, self._at = passed, now
        return Traffic(int(self._rate), self._bucket.held_back(HELD_BACK_SECONDS))
