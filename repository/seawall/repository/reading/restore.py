"""Restores one disk of a point: coalesced ranged reads, many in flight, each chunk proven, written in about disk order.

Called by restore workers and by rescue. Memory: at most READS_IN_FLIGHT answers of at most 8 MiB; for each a run of plain chunks, twice.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from threading import Event, Lock

from seawall.repository.disks import DiskSink
from seawall.repository.errors import IntegrityError, RepositoryError
from seawall.repository.format.manifest import NODE_BYTES, PAGE_BYTES, PAGES_PER_NODE, Child, DiskManifest, Leaf
from seawall.repository.format.record import ChunkType, SealedChunk, open_records
from seawall.repository.reading.damage import LOST, Damage, damage_error, merged
from seawall.repository.reading.point import PointReader, page_length
from seawall.repository.reading.port import PageFollower
from seawall.repository.reading.requests import PackRequest, WantedChunk, only, pack_requests, zero_ranges
from seawall.repository.reading.runs import batches, runs

READS_IN_FLIGHT = 8
_PAGES_AHEAD = 3
_WAIT_SECONDS = 0.25


class RestoreCounters:
    """Bytes of one disk; written by the restorer's threads, readable at any time."""

    def __init__(self) -> None:
        self.planned_bytes = 0
        """The disk's size."""
        self.done_bytes = 0
        """Written, zeroed, kept and lost."""
        self.written_bytes = 0
        self.fetched_bytes = 0
        """From the store."""
        self.kept_bytes = 0
        """Found whole in the target."""
        self.lost_bytes = 0
        """Damaged in the repository; zeroed."""
        self._lock = Lock()

    def add(
        self, *, planned: int = 0, written: int = 0, zeroed: int = 0, fetched: int = 0, kept: int = 0, lost: int = 0
    ) -> None:
        with self._lock:
            self.planned_bytes += planned
            self.done_bytes += written + zeroed + kept + lost
            self.written_bytes += written
            self.fetched_bytes += fetched
            self.kept_bytes += kept
            self.lost_bytes += lost


def restore_disk(
    reader: PointReader,
    disk: DiskManifest,
    sink: DiskSink,
    counters: RestoreCounters | None = None,
    stop: Callable[[], None] = lambda: None,
    follower: PageFollower | None = None,
) -> None:
    """Write every byte of the disk to the sink, then flush it. `stop` is called often and raises to abort; no thread is left behind.

    Raises IntegrityError, ObjectMissing (naming point, disk, bytes and object), StoreUnavailable, what the sink raises: the first of
    them. A `follower` may let what is damaged be zeroed instead, and what the sink holds be kept.
    """
    with _Restorer(reader, disk, sink, counters or RestoreCounters(), stop, follower) as restorer:
        restorer.run()
    sink.flush()


@dataclass(frozen=True, slots=True)
class _Look:
    """What is known of a page before its chunks are fetched."""

    leaf: Leaf
    held: bool


@dataclass(slots=True)
class _Page:
    index: int
    look: "Future[_Look] | None"
    """None: reads as zeroes entirely."""
    reads: int = 0
    """Requests not yet answered, and one while they are being submitted."""
    whole: bool = True


class _Restorer:
    """The driving side: keeps pages ahead and reads in flight."""

    def __init__(
        self,
        reader: PointReader,
        disk: DiskManifest,
        sink: DiskSink,
        counters: RestoreCounters,
        stop: Callable[[], None],
        follower: PageFollower | None,
    ) -> None:
        self._follower = follower
        self._reader = reader
        self._disk = disk
        self._sink = sink
        self._counters = counters
        self._stop = stop
        self._abort = Event()
        self._leaves = ThreadPoolExecutor(2, thread_name_prefix="restore-page")
        self._reads = ThreadPoolExecutor(READS_IN_FLIGHT, thread_name_prefix="restore-read")
        self._in_flight: dict[Future[None], _Page] = {}

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
            if page.look is not None or start != zero_end:
                self._zero(zero_start, zero_end)
                zero_start = start
            zero_end = start + page_length(self._disk.size_bytes, page.index)
            if page.look is not None:
                zero_start = zero_end
                self._restore_page(page, page.look)
        self._zero(zero_start, zero_end)
        while self._in_flight:
            self._wait_for_reads()
        # A manifest that does not cover its disk was refused on the way; this is the last word on it.
        if self._counters.done_bytes - before != self._disk.size_bytes:
            done = self._counters.done_bytes - before
            raise IntegrityError(
                f"point {self._reader.root.point_id}, disk {self._disk.disk}: the manifest covers {done} bytes of it"
            )

    def _pages_ahead(self) -> Iterator[_Page]:
        """Pages in order, the next leaves being fetched meanwhile."""
        waiting: deque[_Page] = deque()
        for index, child in self._children():
            self._stop()
            waiting.append(_Page(index, self._fetch(index, child)))
            if len(waiting) > _PAGES_AHEAD:
                yield waiting.popleft()
        yield from waiting

    def _children(self) -> Iterator[tuple[int, Child]]:
        """All pages but those below a node that is lost."""
        for number, child in enumerate(self._disk.nodes):
            try:
                node = self._reader.node(child, self._disk, number)
            except LOST as error:
                start = number * NODE_BYTES
                self._lose(self._name_of(child), error, [(start, min(NODE_BYTES, self._disk.size_bytes - start))])
                continue
            for position, page in enumerate(node.children):
                yield number * PAGES_PER_NODE + position, page

    def _fetch(self, index: int, child: Child) -> "Future[_Look] | None":
        if child.chunk is None:
            return None
        return self._leaves.submit(self._look, index, child)

    def _look(self, index: int, child: Child) -> _Look:
        """Runs in a page thread."""
        try:
            leaf = self._reader.leaf(child, self._disk, index)
        except LOST as error:
            raise _LeafLost(self._name_of(child), error) from error
        return _Look(leaf, self._follower is not None and self._follower.holds(index, leaf))

    def _restore_page(self, page: _Page, looking: "Future[_Look]") -> None:
        start, length = page.index * PAGE_BYTES, page_length(self._disk.size_bytes, page.index)
        try:
            look = self._result(looking)
        except _LeafLost as lost:
            return self._lose(lost.object_name, lost.error, [(start, length)])
        if look.held:
            return self._counters.add(kept=length)
        for offset, zeroes in zero_ranges(look.leaf):
            self._zero(start + offset, start + offset + zeroes)
        page.reads = 1
        for request in pack_requests(look.leaf):
            while len(self._in_flight) >= READS_IN_FLIGHT:
                self._wait_for_reads()
            page.reads += 1
            self._in_flight[self._reads.submit(self._read, page, start, request)] = page
        self._answered(page)

    def _wait_for_reads(self) -> None:
        self._stop()
        for future in wait(self._in_flight, timeout=_WAIT_SECONDS, return_when="FIRST_COMPLETED").done:
            page = self._in_flight.pop(future)
            future.result()
            self._answered(page)

    def _answered(self, page: _Page) -> None:
        page.reads -= 1
        if page.reads == 0 and page.whole and self._follower is not None:
            self._follower.page_done(page.index)

    def _result(self, future: "Future[_Look]") -> _Look:
        while not wait([future], timeout=_WAIT_SECONDS).done:
            self._stop()
        return future.result()

    def _zero(self, start: int, end: int) -> None:
        if start < end:
            self._sink.zero(start, end - start)
            self._counters.add(zeroed=end - start)

    def _read(self, page: _Page, start: int, request: PackRequest) -> None:
        """One ranged read and the chunks in it; several where the pack was compacted meanwhile. Runs in a reading thread."""
        for present in self._reader.moved.first_guess(request):
            self._read_there(page, start, present)

    def _read_there(self, page: _Page, start: int, request: PackRequest) -> None:
        if self._abort.is_set():
            return
        try:
            body = self._reader.packs.read(request.pack_id, request.generation, request.offset, request.length)
        except LOST as error:
            return self._read_elsewhere(page, start, request, error)
        self._counters.add(fetched=len(body))
        view = memoryview(body)
        for batch in batches(request.chunks):
            if self._abort.is_set():
                return
            sealed = [_sealed(chunk, view, request.offset) for chunk in batch]
            self._write(page, start, request, batch, sealed)

    def _read_elsewhere(self, page: _Page, start: int, request: PackRequest, error: RepositoryError) -> None:
        """Of a generation that is gone, or does not give all of a range: the range of the newest one, else every chunk by itself."""
        moved = self._reader.newer(request, error)
        for present in moved:
            self._read_there(page, start, present)
        if not moved:
            self._read_alone(page, start, request, request.chunks, error)

    def _write(
        self, page: _Page, start: int, request: PackRequest, batch: list[WantedChunk], sealed: list[SealedChunk]
    ) -> None:
        """What opens of these neighbours goes to the sink."""
        reader = self._reader
        try:
            plaintexts = open_records(reader.lineage_id, reader.k_dedup, ChunkType.DATA, sealed)
        except IntegrityError as error:
            if len(batch) == 1:
                return self._read_alone(page, start, only(request, batch[0]), batch, error)
            for chunk, one in zip(batch, sealed, strict=True):
                self._write(page, start, request, [chunk], [one])
            return
        self._put(start, batch, plaintexts)

    def _put(self, start: int, chunks: list[WantedChunk], plaintexts: Sequence[bytes | memoryview]) -> None:
        for place, plain in runs(chunks, plaintexts):
            self._sink.write(start + place, plain)
            self._counters.add(written=len(plain))

    def _read_alone(
        self, page: _Page, start: int, request: PackRequest, chunks: Sequence[WantedChunk], error: RepositoryError
    ) -> None:
        """Each from whichever generation holds it whole. `error`: of the read in which they failed together."""
        lost = []
        for chunk in chunks:
            if self._abort.is_set():
                return
            plain = self._reader.chunk_alone(request, chunk, error)
            if plain is None:
                lost.append(chunk)
            else:
                self._counters.add(fetched=chunk.stored_bytes)
                self._put(start, [chunk], [plain])
        if lost:
            self._lose_chunks(page, start, request, lost, error)

    def _lose_chunks(
        self, page: _Page, start: int, request: PackRequest, chunks: Iterable[WantedChunk], error: RepositoryError
    ) -> None:
        page.whole = False
        places = [(start + place, chunk.raw_bytes) for chunk in chunks for place in chunk.places]
        self._lose(self._reader.pack_name(request.pack_id, request.generation), error, places)

    def _lose(self, object_name: str, error: RepositoryError, places: Iterable[tuple[int, int]]) -> None:
        """Ends the restore, or zeroes the places when the follower lets it go on."""
        damage = Damage(self._disk.disk, object_name, str(error), merged(places))
        if self._follower is None:
            raise damage_error(self._reader.root.point_id, damage, error) from error
        self._follower.lost(damage, error)
        for offset, length in damage.ranges:
            self._sink.zero(offset, length)
            self._counters.add(lost=length)

    def _name_of(self, child: Child) -> str:
        return self._reader.pack_name(child.chunk.pack_id, child.chunk.generation) if child.chunk else ""


def _sealed(chunk: WantedChunk, body: memoryview, offset: int) -> SealedChunk:
    """`body`: the bytes of the pack from `offset` on."""
    at = chunk.offset - offset
    return SealedChunk(chunk.h, chunk.codec, chunk.raw_bytes, body[at : at + chunk.stored_bytes])


class _LeafLost(Exception):
    """Carries what a page thread met to the driver."""

    def __init__(self, object_name: str, error: RepositoryError) -> None:
        super().__init__(object_name)
        self.object_name = object_name
        self.error = error
