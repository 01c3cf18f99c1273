"""NBD connections over libnbd, the one module that imports it. Every request has a deadline: a hung QEMU must not hang a worker."""

import os
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbd

from seawall.agent.disk.extents import StatusRun
from seawall.agent.errors import AgentError, DiskUnreadable
from seawall.repository.clock import Clock

ALLOCATION = "base:allocation"
REQUEST_BYTES = 2 * 1024 * 1024
REQUESTS_IN_FLIGHT = 2
STATUS_BYTES = 1024 * 1024 * 1024  # asked for in one block status; the protocol's lengths have 32 bits
POLL_MILLISECONDS = 500

Completion = Callable[[Any], int]
"""Called by libnbd with the request's error; what it returns says whether libnbd may forget the request."""


def _unreadable(what: str, error: Exception) -> AgentError:
    return DiskUnreadable(f"{what}: {error}.")


def was_refused(error: AgentError) -> bool:
    """Whether nobody listened on the socket, as where the server had made it and not got further yet."""
    cause = error.__cause__
    return isinstance(cause, nbd.Error) and cause.errno == "ECONNREFUSED"


class NbdConnection:
    """One connection to one export. Not thread-safe: the pool lends it to one thread at a time."""

    def __init__(
        self,
        socket: Path,
        export: str,
        contexts: Sequence[str],
        clock: Clock,
        timeout_seconds: float,
        failure: Callable[[str, Exception], AgentError] = _unreadable,
    ) -> None:
        """Connects. Every failure of this connection is raised as what `failure(what failed, why)` returns."""
        self._failure = failure
        self._what = f"NBD export {export!r} at {socket}"
        self._clock = clock
        self._timeout_seconds = timeout_seconds
        self._handle: Any = nbd.NBD()
        with self._errors("connect"):
            self._handle.set_export_name(export)
            for context in contexts:
                self._handle.add_meta_context(context)
            self._handle.aio_connect_unix(str(socket))
            self._poll_until("connect", lambda: bool(self._handle.aio_is_ready() or self._handle.aio_is_dead()))
            self.size_bytes = int(self._handle.get_size())
            self.minimum_bytes = max(1, int(self._handle.get_block_size(nbd.SIZE_MINIMUM)))
            self.contexts = frozenset(name for name in contexts if self._handle.can_meta_context(name))

    def close(self) -> None:
        """Drop the connection; what was not flushed may be lost. libnbd's handle closes with its last reference."""
        self._handle = None

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill the buffer with requests in flight side by side."""
        slots = _spare.slots()

        def send(start: int, end: int, done: Completion) -> None:
            slot = slots.pop()

            def landed(error: Any) -> int:
                if not error.value:
                    buffer[start:end] = slot.view[: end - start]
                slots.append(slot)
                return done(error)

            self._handle.aio_pread(slot.part(end - start), offset + start, landed)

        with self._errors(f"read at {offset}"):
            self._in_flight(len(buffer), send)

    def write(self, offset: int, data: memoryview) -> None:
        slots = _spare.slots()

        def send(start: int, end: int, done: Completion) -> None:
            slot = slots.pop()
            slot.view[: end - start] = data[start:end]

            def landed(error: Any) -> int:
                slots.append(slot)
                return done(error)

            self._handle.aio_pwrite(slot.part(end - start), offset + start, landed)

        with self._errors(f"write at {offset}"):
            self._in_flight(len(data), send)

    def zero(self, offset: int, length: int) -> None:
        """Write zeroes, giving the space back where the server can."""
        with self._errors(f"zero at {offset}"):
            self._in_flight(
                length,
                lambda start, end, done: self._handle.aio_zero(end - start, offset + start, done),
                STATUS_BYTES,
            )

    def flush(self) -> None:
        with self._errors("flush"):
            self._in_flight(1, lambda _start, _end, done: self._handle.aio_flush(done))

    def block_status(self, offset: int, length: int) -> dict[str, list[StatusRun]]:
        """Runs from `offset` per context; may describe less than asked, never nothing."""
        found: dict[str, list[StatusRun]] = {}

        def extents(context: str, start: int, entries: list[int], _error: Any) -> int:
            runs = zip(entries[::2], entries[1::2], strict=True)
            if start == offset:
                found.setdefault(context, []).extend(StatusRun(size, flags) for size, flags in runs)
            return 0

        with self._errors(f"block status at {offset}"):
            self._in_flight(
                1,
                lambda _start, _end, done: self._handle.aio_block_status(
                    min(length, STATUS_BYTES), offset, extents, done
                ),
            )
        return found

    def _in_flight(
        self, length: int, send: Callable[[int, int, Completion], Any], piece_bytes: int = REQUEST_BYTES
    ) -> None:
        """Send requests for pieces of `length`, a few at once, and wait for all. `send(start, end, completion)`."""
        flight = _Flight()
        for start in range(0, length, piece_bytes):
            self._poll_until("answer", lambda: flight.pending < REQUESTS_IN_FLIGHT)
            if flight.errors:
                break
            flight.pending += 1
            send(start, min(start + piece_bytes, length), flight.landed)
        self._poll_until("answer", lambda: flight.pending == 0)
        if flight.errors:
            raise OSError(flight.errors[0], os.strerror(flight.errors[0]))

    def _poll_until(self, what: str, condition: Callable[[], bool]) -> None:
        deadline = self._clock.monotonic_seconds() + self._timeout_seconds
        while not condition():
            if self._clock.monotonic_seconds() > deadline:
                raise TimeoutError(f"no {what} within {self._timeout_seconds:g} seconds")
            self._handle.poll(POLL_MILLISECONDS)

    @contextmanager
    def _errors(self, doing: str) -> Iterator[None]:
        try:
            yield
        except (nbd.Error, OSError) as error:
            raise self._failure(f"{self._what}: {doing} failed", error) from error


class _Slot:
    """The memory of one request at a time, used again and again.

    libnbd 1.14 never lets go of a buffer that a request was given: with one per request a worker grew by every byte that it read. It keeps
    one more reference to the same object each time instead; so there is one object per length, of which there are few.
    """

    def __init__(self) -> None:
        self.view = memoryview(bytearray(REQUEST_BYTES))
        self._parts: dict[int, Any] = {}

    def part(self, length: int) -> Any:
        """Its first bytes, as libnbd takes them."""
        part = self._parts.get(length)
        if part is None:
            part = self._parts[length] = nbd.Buffer.from_buffer(self.view[:length])
        return part


class _Spare(threading.local):
    """Each thread's own slots: it waits for all its requests before it goes on to others, on this or another connection.

    A connection that failed is not polled again, so nothing more arrives in a slot that it was given.
    """

    def __init__(self) -> None:
        self._slots = [_Slot() for _ in range(REQUESTS_IN_FLIGHT)]

    def slots(self) -> list[_Slot]:
        """All of them, free."""
        return list(self._slots)


_spare = _Spare()


class _Flight:
    """Requests sent and not yet answered."""

    def __init__(self) -> None:
        self.pending = 0
        self.errors: list[int] = []

    def landed(self, error: Any) -> int:
        """Completion callback of one request."""
        self.pending -= 1
        if error.value:
            self.errors.append(int(error.value))
        return 1  # libnbd may forget the command


class NbdPool:
    """Up to `limit` connections to one export, opened when needed. Thread-safe. A connection that failed is not used again."""

    def __init__(self, connect: Callable[[], NbdConnection], limit: int) -> None:
        self._connect = connect
        self._places = threading.BoundedSemaphore(limit)
        self._idle: queue.LifoQueue[NbdConnection] = queue.LifoQueue()
        first = connect()
        self.size_bytes = first.size_bytes
        self.minimum_bytes = first.minimum_bytes
        self.contexts = first.contexts
        self._idle.put(first)

    @contextmanager
    def lend(self) -> Iterator[NbdConnection]:
        """A connection for this thread alone."""
        with self._places:
            connection = self._take()
            try:
                yield connection
            except BaseException:
                connection.close()
                raise
            self._idle.put(connection)

    def close(self) -> None:
        """Close the idle ones; lent ones are closed by their borrowers' failure or at the next close."""
        while True:
            try:
                self._idle.get_nowait().close()
            except queue.Empty:
                return

    def _take(self) -> NbdConnection:
        try:
            return self._idle.get_nowait()
        except queue.Empty:
            return self._connect()
