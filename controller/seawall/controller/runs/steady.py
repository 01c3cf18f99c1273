"""A clock for deadlines that are stored: wall time at the start, carried on by monotonic time. A jump of the wall clock moves no lease."""

from seawall.repository.clock import Clock


class SteadyClock:
    """Follows `clock`; `now_us` never jumps while the process lives. `started_us` is its first reading."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._wall_us = clock.now_us()
        self._monotonic = clock.monotonic_seconds()

    @property
    def started_us(self) -> int:
        return self._wall_us

    def now_us(self) -> int:
        return self._wall_us + int((self._clock.monotonic_seconds() - self._monotonic) * 1_000_000)

    def monotonic_seconds(self) -> float:
        return self._clock.monotonic_seconds()

    def sleep_seconds(self, seconds: float) -> None:
        self._clock.sleep_seconds(seconds)
