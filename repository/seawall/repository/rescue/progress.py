"""How fast a rescue goes and how long it will take: from the bytes of the last seconds. Pure but for the clock that is passed in."""

from collections import deque

from seawall.repository.clock import Clock

_WINDOW_SECONDS = 15.0


class RateMeter:
    """`tell` it the bytes done now and then; used by one thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._samples: deque[tuple[float, int]] = deque()

    def tell(self, done_bytes: int) -> None:
        now = self._clock.monotonic_seconds()
        self._samples.append((now, done_bytes))
        while len(self._samples) > 2 and now - self._samples[0][0] > _WINDOW_SECONDS:
            self._samples.popleft()

    @property
    def bytes_per_second(self) -> float:
        """0 until there is something to say."""
        if len(self._samples) < 2:
            return 0.0
        (began, first), (ended, last) = self._samples[0], self._samples[-1]
        return max(0, last - first) / (ended - began) if ended > began else 0.0

    def seconds_left(self, left_bytes: int) -> float | None:
        """None when nothing moves."""
        rate = self.bytes_per_second
        return left_bytes / rate if rate > 0 else None
