"""A clock for deadlines that are stored: wall time at the start, carried on by monotonic time. A jump of the wall clock moves no lease.

Controllers of one database write and judge each other's deadlines, so they must agree: who does not lead takes over the leader's time
(scheduler/agreeing.py), and whoever leads next carries that on. The leader's own creeps back to what its machine's clock says.
"""

from seawall.repository.clock import Clock

CREEP = 0.01
"""Of the time that passes: an hour that a clock was wrong by is gone after four days, and no deadline is moved by more than a hundredth."""
LONGEST_SECONDS = 60.0
"""That count at once: it was somebody else's to creep before."""


class SteadyClock:
    """Follows `clock`; `now_us` never jumps while the process lives, but for `agree`. `started_us` is its first reading."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._wall_us = clock.now_us()
        self._monotonic = self._crept = clock.monotonic_seconds()

    @property
    def started_us(self) -> int:
        """By the time that it shows now."""
        return self._wall_us

    def now_us(self) -> int:
        return self._wall_us + int((self._clock.monotonic_seconds() - self._monotonic) * 1_000_000)

    def monotonic_seconds(self) -> float:
        return self._clock.monotonic_seconds()

    def sleep_seconds(self, seconds: float) -> None:
        self._clock.sleep_seconds(seconds)

    def agree(self, now_us: int) -> int:
        """It is that time now. By how many microseconds it was another one."""
        step_us = now_us - self.now_us()
        self._wall_us += step_us
        return step_us

    def creep(self) -> None:
        """Towards the machine's clock, by a little of what passed since the last call."""
        now = self._clock.monotonic_seconds()
        most_us = int(min(now - self._crept, LONGEST_SECONDS) * CREEP * 1_000_000)
        self._crept = now
        self._wall_us += max(-most_us, min(most_us, self._clock.now_us() - self.now_us()))
