"""A clock whose pauses end when the operator interrupts: a store that is retried must not hold Ctrl-C for two minutes."""

from threading import Event

from seawall.repository.clock import Clock
from seawall.repository.errors import RepositoryError


class Interrupted(RepositoryError):
    """Raised in a thread that was waiting to try again."""


class InterruptibleClock:
    """A Clock. `interrupt` is called from a signal handler."""

    def __init__(self, inner: Clock) -> None:
        self._inner = inner
        self._interrupted = Event()

    def interrupt(self) -> None:
        self._interrupted.set()

    @property
    def interrupted(self) -> bool:
        return self._interrupted.is_set()

    def now_us(self) -> int:
        return self._inner.now_us()

    def monotonic_seconds(self) -> float:
        return self._inner.monotonic_seconds()

    def sleep_seconds(self, seconds: float) -> None:
        """Raises Interrupted."""
        if self._interrupted.wait(seconds):
            raise Interrupted("interrupted")
