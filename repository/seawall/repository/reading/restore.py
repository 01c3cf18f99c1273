"""Restores one disk of a point: coalesced ranged reads, many in flight, each chunk proven, written in about disk order.

Called by restore workers and by rescue. Memory: at most READS_IN_FLIGHT answers of at most 8 MiB, one plain chunk for each.
"""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from threading import Event, Lock

from seawall.repository.disks import DiskSink
from seawall.repository.errors import IntegrityError, ObjectMissing
from seawall.repository.format.manifest import PAGE_BYTES, Child, DiskManifest, Leaf
from seawall.repository.format.record import ChunkType, open_record
from seawall.repository.reading.point import PointReader, page_length
from seawall.repository.reading.requests import PackRequest, WantedChunk, pack_requests, zero_ranges

READS_IN_FLIGHT = 8
_PAGES_AHEAD = 3
_WAIT_SECONDS = 0.25


class RestoreCounters:
    """Bytes of one disk; written by the restorer's threads, readable at any time."""

    def __init__(self) -> None:
        self.planned_bytes = 0
        """The disk's size."""
        self.done_bytes = 0
        """Written and zeroed."""
        self.written_bytes = 0
        self.fetched_bytes = 0
        """From the store."""
        self._lock = Lock()

    def add(self, *, planned: int = 0, written: int = 0, zeroed: int = 0, fetched: int = 0) -> None:
        with self._lock:
            self.planned_bytes += planned
            self.done_bytes += written + zeroed
            self.written_bytes += written
            self.fetched_bytes += fetched


def restore_disk(
    reader: PointReader,
    disk: DiskManifest,
    sink: DiskSink,
    counters: RestoreCounters | None = None,
    stop: Callable[[], None] = lambda: None,
) -> None:
    """Write every byte of the disk to the sink, then flush it. `stop` is called often and raises to abort; no thread is left behind.

    Raises IntegrityError, ObjectMissing (naming point, disk and offset), StoreUnavailable, what the sink raises: the first of them.
    """
    with _Restorer(reader, disk, sink, counters or RestoreCounters(), stop) as restorer:
        restorer.run()
    sink.flush()


@dataclass(frozen=True, slots=True)
class _Page:
    index: int
    leaf: "Future[Leaf] | None"
    """None: reads as zeroes entirely."""


class _Restorer:
    """The driving side: keeps pages ahead and reads in flight."""

    def __init__(
        self,
        reader: PointReader,
        disk: DiskManifest,
        sink: DiskSink,
        counters: RestoreCounters,
        stop: Callable[[], None],
    ) -> None:
        self._reader = reader
        self._disk = disk
        self._sink = sink
        self._counters = counters
        self._stop = stop
        self._abort = Event()
        self._leaves = ThreadPoolExecutor(2, thread_name_prefix="restore-page")
        self._reads = ThreadPoolExecutor(READS_IN_FLIGHT, thread_name_prefix="restore-read")
        self._in_flight: set[Future[None]] = set()

    def __enter__(self) -> "_Restorer":
        return self

    def __exit__(self, *_: object) -> None:
        self._abort.set()
        for pool in (self._leaves, self._reads):
            pool.shutdown(wait=True, cancel_futures=True)

    def run(self) -> None:
        self._counters.add(planned=self._disk.size_bytes)
        before = self._counters.done_bytes
        zero_start = zero_end = 0
        for page in self._pages_ahead():
            start = page.index * PAGE_BYTES
            if page.leaf is None:
                zero_end = start + page_length(self._disk.size_bytes, page.index)
                continue
            self._zero(zero_start, zero_end)
            self._restore_page(start, self._result(page.leaf))
            zero_start = zero_end = start + page_length(self._disk.size_bytes, page.index)
        self._zero(zero_start, zero_end)
        while self._in_flight:
            self._wait_for_reads()
        # A manifest that does not cover its disk was refused on the way; this is the last word on it.
        if self._counters.done_bytes - before != self._disk.size_bytes:
            raise IntegrityError(f"{self._at(0)}: the manifest covers {self._counters.done_bytes - before} bytes of it")

    def _pages_ahead(self) -> Iterator[_Page]:
        """Pages in order, the next leaves being fetched meanwhile."""
        waiting: deque[_Page] = deque()
        for index, child in self._reader.pages(self._disk):
            self._stop()
            waiting.append(_Page(index, self._fetch(index, child)))
            if len(waiting) > _PAGES_AHEAD:
                yield waiting.popleft()
        yield from waiting

    def _fetch(self, index: int, child: Child) -> "Future[Leaf] | None":
        if child.chunk is None:
            return None
        return self._leaves.submit(self._reader.leaf, child, self._disk, index)

    def _restore_page(self, start: int, leaf: Leaf) -> None:
        for offset, length in zero_ranges(leaf):
            self._zero(start + offset, start + offset + length)
        for request in pack_requests(leaf):
            while len(self._in_flight) >= READS_IN_FLIGHT:
                self._wait_for_reads()
            self._in_flight.add(self._reads.submit(self._read, start, request))

    def _wait_for_reads(self) -> None:
        self._stop()
        done, self._in_flight = wait(self._in_flight, timeout=_WAIT_SECONDS, return_when="FIRST_COMPLETED")
        for future in done:
            future.result()

    def _result(self, future: "Future[Leaf]") -> Leaf:
        while not wait([future], timeout=_WAIT_SECONDS).done:
            self._stop()
        return future.result()

    def _zero(self, start: int, end: int) -> None:
        if start < end:
            self._sink.zero(start, end - start)
            self._counters.add(zeroed=end - start)

    def _read(self, start: int, request: PackRequest) -> None:
        """One ranged read and the chunks in it. Runs in a reading thread."""
        if self._abort.is_set():
            return
        try:
            body = self._reader.packs.read(request.pack_id, request.generation, request.offset, request.length)
        except (IntegrityError, ObjectMissing) as error:
            raise type(error)(f"{self._at(start + request.chunks[0].places[0])}: {error}") from error
        self._counters.add(fetched=len(body))
        view = memoryview(body)
        for chunk in sorted(request.chunks, key=lambda chunk: chunk.places[0]):
            if self._abort.is_set():
                return
            at = chunk.offset - request.offset
            plain = self._open(start, chunk, view[at : at + chunk.stored_bytes])
            for place in chunk.places:
                self._sink.write(start + place, plain)
                self._counters.add(written=len(plain))

    def _open(self, start: int, chunk: WantedChunk, body: memoryview) -> bytes:
        reader = self._reader
        try:
            return open_record(
                reader.lineage_id, reader.k_dedup, chunk.h, ChunkType.DATA, chunk.codec, chunk.raw_bytes, body
            )
        except IntegrityError as error:
            raise IntegrityError(f"{self._at(start + chunk.places[0])}: {error}") from error

    def _at(self, offset: int) -> str:
        return f"point {self._reader.root.point_id}, disk {self._disk.disk}, byte {offset}"
