"""A clock that tests move by hand."""

from threading import Lock

START_US = 1_800_000_000_000_000


class ManualClock:
    """Thread-safe; sleeping moves it."""

    def __init__(self, now_us: int = START_US) -> None:
        self._now_us = now_us
        self._lock = Lock()

    def now_us(self) -> int:
        return self._now_us

    def monotonic_seconds(self) -> float:
        return self._now_us / 1_000_000

    def sleep_seconds(self, seconds: float) -> None:
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        with self._lock:
            self._now_us += int(seconds * 1_000_000)
