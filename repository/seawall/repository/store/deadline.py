"""How long one call to a store may take in all: an amount that is always allowed, and more for each byte of a body.

A connection's own timeout bounds only the silence between two bytes; a store that lets them drip would hold a call for ever. Used by the
adapters s3 and presigned between the pieces of a body.
"""

from collections.abc import Iterator

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
        passed = self._clock.monotonic_seconds() - self._began
        if passed > self._seconds:
            raise StoreUnavailable(f"{self._label}: too slow: not done after {passed:.0f} s")

    def pieces(self, body: bytes | memoryview) -> Iterator[memoryview]:
        """The body to send, watched: a socket's timeout is for all of what it is given at once."""
        view = memoryview(body).cast("B")
        self.allow_body(view.nbytes)
        for start in range(0, view.nbytes, PIECE_BYTES):
            self.check()
            yield view[start : start + PIECE_BYTES]
