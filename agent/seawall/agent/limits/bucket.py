"""A worker's part of the host's bandwidth: bytes to and from stores wait here. The rate changes while they wait."""

import math
import threading
from collections.abc import Callable

from seawall.agent.errors import AgentError
from seawall.agent.throttle.bucket import TokenBucket
from seawall.repository.clock import Clock

BURST_SECONDS = 1.0
LOOK_SECONDS = 0.2
"""A wait is cut into such pieces, so that a new rate counts at once."""


class TransferStopped(AgentError):
    """The work ended for another reason, which is the one that is told."""

    reason = "TRANSFER_STOPPED"


class RateBucket:
    """Thread-safe. A body larger than what is there makes a debt, which whoever comes next waits off: the average keeps to the rate."""

    def __init__(self, clock: Clock, pause: Callable[[float], None], bytes_per_second: int = 0) -> None:
        """`pause` sleeps, and raises what stops the worker. A rate of 0: no limit."""
        self._clock = clock
        self._pause = pause
        self._lock = threading.Lock()
        self._bucket = self._of(bytes_per_second)
        self._waiters = 0
        self._passed = 0
        self._waited_at = float("-inf")
        self._stopped = False

    def stop(self) -> None:
        """Whoever waits, or would, raises TransferStopped: a debt of minutes must not delay the end of a job that failed."""
        self._stopped = True

    def set_rate(self, bytes_per_second: int) -> None:
        """What was owed is still owed, at the new rate; without a limit nothing is."""
        with self._lock:
            if self._unlimited or not bytes_per_second:
                self._bucket = self._of(bytes_per_second, level=0.0)
            else:
                self._bucket.change(bytes_per_second, bytes_per_second * BURST_SECONDS, self._clock.monotonic_seconds())

    def take(self, n_bytes: int) -> None:
        """Blocks until earlier bytes are paid for. Raises TransferStopped and what `pause` raises."""
        wait = self._try(n_bytes)
        if wait <= 0:
            return
        with self._lock:
            self._waiters += 1
        try:
            while wait > 0:
                if self._stopped:
                    raise TransferStopped("the transfer was stopped")
                self._pause(min(wait, LOOK_SECONDS))
                wait = self._try(n_bytes)
        finally:
            with self._lock:
                self._waiters -= 1
                self._waited_at = self._clock.monotonic_seconds()

    @property
    def waiting_on(self) -> str:
        """One sentence while somebody waits; ""."""
        with self._lock:
            if not self._waiters or self._unlimited:  # who still sleeps goes on in a moment
                return ""
            rate = self._bucket.per_second / 2**20
            return f"this host's share of the bandwidth limit ({rate:.1f} MiB/s for this run)"

    @property
    def passed_bytes(self) -> int:
        """Since the worker began."""
        return self._passed

    def held_back(self, within_seconds: float) -> bool:
        """Whether anybody waited lately."""
        with self._lock:
            return bool(self._waiters) or self._clock.monotonic_seconds() - self._waited_at < within_seconds

    @property
    def _unlimited(self) -> bool:
        return self._bucket.per_second == math.inf

    def _of(self, bytes_per_second: int, level: float | None = None) -> TokenBucket:
        """`level`: None: full."""
        rate = bytes_per_second or math.inf
        return TokenBucket(rate, bytes_per_second * BURST_SECONDS, self._clock.monotonic_seconds(), level)

    def _try(self, n_bytes: int) -> float:
        """Seconds to wait; 0: they are taken."""
        with self._lock:
            wait = self._bucket.take(n_bytes, self._clock.monotonic_seconds())
            if wait <= 0:
                self._passed += n_bytes
            return wait
