"""Transactions that run again: conflicts with others, and servers that are away for a moment. Outside the transaction, with pauses.

A conflict is tried again at once, then after jittered pauses that grow. A server that is away is waited for, not for long: whoever asked
asks again by itself, and threads that wait here are missing elsewhere.
"""

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from seawall.controller.errors import Unavailable
from seawall.repository.clock import Clock

T = TypeVar("T")


class NotDone(Exception):
    """Nothing of the transaction was or will be committed: it may run again."""


class Conflict(NotDone):
    """Another transaction came in between."""


class Away(NotDone):
    """The server cannot be reached, or takes no writes for now."""


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds."""

    conflicts: float = 20.0
    """After so long a transaction that always lost is refused."""

    away: float = 3.0
    """So long a server that is away is waited for; not at all by those who come within a second after somebody waited in vain."""

    first_pause: float = 0.005
    longest_pause: float = 0.5


class Again:
    """Thread-safe."""

    def __init__(self, clock: Clock, patience: Patience | None = None) -> None:
        self._clock = clock
        self._patience = patience or Patience()
        self._random = random.Random()  # noqa: S311 (spreads tries; no secret)
        self._lock = threading.Lock()
        self._hopeless_until = 0.0

    def run(self, once: Callable[[], T]) -> T:
        """`once` until it does not raise NotDone. Raises Unavailable/DATABASE_BUSY, DATABASE."""
        failed, tries = None, 0
        while True:
            try:
                return once()
            except NotDone as error:
                # From the first failure on: a try that took long before it failed has used up nothing.
                failed = self._clock.monotonic_seconds() if failed is None else failed
                self._give_up(error, failed)
                if tries:
                    self._clock.sleep_seconds(self._pause_seconds(tries))
                tries += 1

    def _pause_seconds(self, tries: int) -> float:
        most = min(self._patience.longest_pause, self._patience.first_pause * 2.0 ** min(tries, 20))
        return self._random.uniform(0.0, most)

    def _give_up(self, error: NotDone, since: float) -> None:
        """Raises when it was tried for long enough."""
        now, patience = self._clock.monotonic_seconds(), self._patience
        if isinstance(error, Conflict):
            if now - since >= patience.conflicts:
                raise Unavailable(
                    "DATABASE_BUSY", "Too many transactions want the same rows of the database at once. Try again."
                ) from error
            return
        with self._lock:
            if now >= self._hopeless_until and now - since < patience.away:
                return
            self._hopeless_until = now + 1.0
        message = f"The database cannot be used now: {error}. Nothing is lost; this is tried again once it is back."
        raise Unavailable("DATABASE", message) from error
