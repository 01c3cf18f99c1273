"""How long one call to a store may take in all: an amount that is always allowed, and more for each byte of a body.

A connection's own timeout bounds only the silence between two bytes; a store that lets them drip would hold a call for ever. The adapters
s3 and presigned look at the clock between the pieces of a body; where a body comes in one piece, a watchdog does.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from seawall.repository.clock import Clock
from seawall.repository.errors import StoreUnavailable

CONNECT_SECONDS = 20.0
"""Longest wait for a connection, and for the kernel to take the next piece of a body."""
SILENCE_SECONDS = 60.0
"""Longest wait for the next byte of an answer."""
CALL_SECONDS = 60.0
"""What every call may take beside its body."""
LEAST_BYTES_PER_SECOND = 64 * 1024
"""A body that moves slower than this is given up: a pack of 32 MiB after 9.5 minutes."""
LONGEST_BODY_BYTES = 1 << 30
"""Of an answer whose length only the store knows: no time is allowed for more."""
PIECE_BYTES = 256 * 1024
LOOK_SECONDS = 1.0
"""Between two looks of a watchdog."""
IDLE_LOOKS = 10
"""With nothing to watch, before its thread ends."""


class Deadline:
    """Of one call that begins now."""

    def __init__(self, clock: Clock, label: str) -> None:
        self._clock = clock
        self._label = label
        self._began = clock.monotonic_seconds()
        self._seconds = CALL_SECONDS

    def allow_body(self, length_bytes: int) -> None:
        self._seconds += length_bytes / LEAST_BYTES_PER_SECOND

    def check(self) -> None:
        """Raises StoreUnavailable."""
        if self.passed:
            seconds = self._clock.monotonic_seconds() - self._began
            raise StoreUnavailable(f"{self._label}: too slow: not done after {seconds:.0f} s")

    @property
    def passed(self) -> bool:
        return self._clock.monotonic_seconds() - self._began > self._seconds

    def pieces(self, body: bytes | memoryview) -> Iterator[memoryview]:
        """The body to send, watched: a socket's timeout is for all of what it is given at once."""
        view = memoryview(body).cast("B")
        self.allow_body(view.nbytes)
        for start in range(0, view.nbytes, PIECE_BYTES):
            self.check()
            yield view[start : start + PIECE_BYTES]


class Watchdog:
    """Ends what is overdue from a thread of its own, which lives while there is something to watch. Thread-safe.

    For bodies that are read in one piece: to read them in many costs as much CPU again as the network does.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._watched: dict[int, tuple[Deadline, Callable[[], None]]] = {}
        self._thread: threading.Thread | None = None
        self._quiet = threading.Event()  # never set: a pause that needs no clock

    @contextmanager
    def over(self, deadline: Deadline, end: Callable[[], None]) -> Iterator[None]:
        """`end` is called in the other thread once the deadline has passed, never after this context was left."""
        with self._lock:
            self._watched[id(deadline)] = (deadline, end)
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="store-deadlines", daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._lock:
                del self._watched[id(deadline)]

    def _watch(self) -> None:
        idle = 0
        while idle < IDLE_LOOKS:
            self._quiet.wait(LOOK_SECONDS)
            with self._lock:
                idle = 0 if self._watched else idle + 1
                for deadline, end in self._watched.values():
                    if deadline.passed:
                        with suppress(OSError, ValueError, RuntimeError):  # it ended by itself just now
                            end()
                if idle == IDLE_LOOKS:
                    self._thread = None
