"""What calls that are being repeated share: a busy store is left alone by all of them, and one can ask what is waited for."""

import threading

from seawall.repository.clock import Clock, datetime_of


class Pace:
    """When the next call to a store may begin. Thread-safe."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._not_before_seconds = 0.0

    def keep(self) -> None:
        """Blocks a call that would begin while a busy store is left alone."""
        with self._lock:
            seconds = self._not_before_seconds - self._clock.monotonic_seconds()
        if seconds > 0:
            self._clock.sleep_seconds(seconds)

    def slow_down(self, seconds: float) -> None:
        """The store asked for it: no call of anybody begins sooner."""
        with self._lock:
            self._not_before_seconds = max(self._not_before_seconds, self._clock.monotonic_seconds() + seconds)


class Waits:
    """Which calls failed and are to be repeated. `whom`: "the store", "the controller". Thread-safe; a call belongs to its thread."""

    def __init__(self, clock: Clock, whom: str) -> None:
        self._clock = clock
        self._whom = whom
        self._lock = threading.Lock()
        self._calls: dict[int, tuple[int, str]] = {}

    def failed(self, error: str) -> None:
        """This thread's call failed for now."""
        with self._lock:
            since_us, _ = self._calls.get(threading.get_ident(), (self._clock.now_us(), ""))
            self._calls[threading.get_ident()] = (since_us, error)

    def over(self) -> None:
        """This thread's call ended, well or not."""
        with self._lock:
            self._calls.pop(threading.get_ident(), None)

    def sentence(self) -> str:
        """About the call that has failed for longest; "" while none is being repeated."""
        with self._lock:
            if not self._calls:
                return ""
            since_us, error = min(self._calls.values())
        return f"{self._whom}, since {datetime_of(since_us):%Y-%m-%d %H:%M:%S} UTC: {error}"
