"""A clock for retries and throttles: sleeping takes no time, and the pauses can be looked at."""

import threading


class SkippingClock:
    """A Clock. `pauses` are the seconds of every sleep, in order; monotonic time moves by them and by nothing else."""

    def __init__(self) -> None:
        self.pauses: list[float] = []
        self._lock = threading.Lock()
        self._seconds = 1_000.0

    def now_us(self) -> int:
        return int(self.monotonic_seconds() * 1_000_000)

    def monotonic_seconds(self) -> float:
        with self._lock:
            return self._seconds

    def sleep_seconds(self, seconds: float) -> None:
        with self._lock:
            self.pauses.append(seconds)
            self._seconds += seconds

    def pass_seconds(self, seconds: float) -> None:
        """Time goes by without anybody's sleep."""
        with self._lock:
            self._seconds += seconds
