"""A token bucket: so many bytes (or requests) a second on average, so many at once. Pure but for what it remembers."""

import math


class TokenBucket:
    """Time is monotonic seconds. Whoever finds no debt takes what he wants, also more than is in it; the others wait until it is paid.

    So over any stretch of time no more passes than rate x time + burst + the largest single amount, whatever the amounts are.
    """

    def __init__(self, per_second: float, burst: float, now_seconds: float, level: float | None = None) -> None:
        """`level`: at this moment; None: full."""
        self._per_second, self._burst = per_second, burst
        self._level = burst if level is None else level
        self._filled_seconds = now_seconds

    @property
    def per_second(self) -> float:
        return self._per_second

    @property
    def level(self) -> float:
        """When it was last looked at; below zero: owed."""
        return self._level

    @property
    def filled_seconds(self) -> float:
        """When that was."""
        return self._filled_seconds

    def change(self, per_second: float, burst: float, now_seconds: float) -> None:
        """From now on. What is owed stays owed, and is paid at the new rate."""
        self._fill(now_seconds)
        self._level = burst if self._per_second == math.inf else min(self._level, burst)
        self._per_second, self._burst = per_second, burst

    def take(self, amount: float, now_seconds: float) -> float:
        """0: taken. Else nothing was, and it is worth asking again after so many seconds."""
        self._fill(now_seconds)
        if self._per_second == math.inf:
            return 0.0
        if self._level >= 0:
            self._level -= amount
            return 0.0
        return max(-self._level / self._per_second, 0.001)

    def _fill(self, now_seconds: float) -> None:
        """A clock that stood still or jumped back fills nothing."""
        elapsed = max(now_seconds - self._filled_seconds, 0.0)
        self._filled_seconds = max(now_seconds, self._filled_seconds)
        if self._per_second == math.inf:
            self._level = self._burst
        else:
            self._level = min(self._burst, self._level + elapsed * self._per_second)
