"""Who waits for a pace, since when, and how long altogether. Thread-safe."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from seawall.repository.clock import Clock

LATELY_SECONDS = 1.0
"""A reader that waited so recently is held up: between two waits it reads for moments."""
SHORTEST_SECONDS = 0.005
"""Shorter ones are not worth a word."""


class Waiting:
    """The time during which at least one thread waited counts once, however many did."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._threads = 0
        self._since_seconds = 0.0
        self._total_seconds = 0.0
        self._last_seconds: float | None = None

    @contextmanager
    def one(self) -> Iterator[None]:
        """This thread waits inside."""
        with self._lock:
            if self._threads == 0:
                self._since_seconds = self._clock.monotonic_seconds()
            self._threads += 1
        try:
            yield
        finally:
            with self._lock:
                self._threads -= 1
                if self._threads == 0:
                    self._end()

    @property
    def lately(self) -> bool:
        with self._lock:
            now = self._clock.monotonic_seconds()
            if self._threads and now - self._since_seconds >= SHORTEST_SECONDS:
                return True
            return self._last_seconds is not None and now - self._last_seconds < LATELY_SECONDS

    @property
    def total_seconds(self) -> float:
        with self._lock:
            under_way = self._clock.monotonic_seconds() - self._since_seconds if self._threads else 0.0
            return self._total_seconds + under_way

    def _end(self) -> None:
        now = self._clock.monotonic_seconds()
        waited = now - self._since_seconds
        self._total_seconds += waited
        if waited >= SHORTEST_SECONDS:
            self._last_seconds = now
