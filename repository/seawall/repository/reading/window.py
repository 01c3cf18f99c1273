"""Random reads of one disk of a point: for an NBD export, file retrieval, spot checks. Keeps a few pages and plain chunks."""

from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Iterator
from threading import Lock

from seawall.repository.errors import IntegrityError, ObjectMissing, RepositoryError
from seawall.repository.format.manifest import PAGE_BYTES, DiskManifest, Leaf, entry_offsets
from seawall.repository.format.record import ChunkType, open_record
from seawall.repository.naming import naming
from seawall.repository.reading.point import PointReader, page_length
from seawall.repository.reading.requests import PackRequest, WantedChunk, joined, only, pack_requests

_PAGES_KEPT = 8


class DiskWindow:
    """Thread-safe; concurrent reads of the same chunk may fetch it twice."""

    def __init__(self, reader: PointReader, disk: DiskManifest, cache_bytes: int = 32 * 1024 * 1024) -> None:
        self._reader = reader
        self._disk = disk
        self._cache_bytes = cache_bytes
        self._lock = Lock()
        self._pages: OrderedDict[int, tuple[Leaf, list[int]] | None] = OrderedDict()
        self._chunks: OrderedDict[bytes, bytes] = OrderedDict()
        self._held = 0

    def read(self, offset: int, length: int) -> bytes:
        """Exactly these bytes, proven. Raises ValueError outside the disk; IntegrityError, ObjectMissing, StoreUnavailable."""
        if offset < 0 or length < 0 or offset + length > self._disk.size_bytes:
            raise ValueError(f"disk {self._disk.disk} has {self._disk.size_bytes} bytes")
        return b"".join(self._parts(offset, offset + length))

    def _parts(self, offset: int, end: int) -> Iterator[bytes]:
        while offset < end:
            index, start = divmod(offset, PAGE_BYTES)
            stop = min(end - index * PAGE_BYTES, page_length(self._disk.size_bytes, index))
            page = self._page(index)
            if page is None:
                yield bytes(stop - start)
            else:
                yield from self._page_parts(index, page[0], page[1], start, stop)
            offset = index * PAGE_BYTES + stop

    def _page_parts(self, index: int, leaf: Leaf, starts: list[int], start: int, stop: int) -> Iterator[bytes]:
        first, behind = bisect_right(starts, start) - 1, bisect_left(starts, stop)
        chunks = self._plain(index, leaf, first, behind)
        for number in range(first, behind):
            entry = leaf.entries[number]
            begin = max(start - starts[number], 0)
            finish = min(stop - starts[number], int(entry["length"]))
            yield bytes(finish - begin) if entry["zero"] else chunks[entry["h"].tobytes()][begin:finish]

    def _plain(self, index: int, leaf: Leaf, first: int, behind: int) -> dict[bytes, bytes]:
        """h -> plain bytes of the entries first..behind."""
        found: dict[bytes, bytes] = {}
        for request in pack_requests(leaf, first=first, end=behind):
            missing = [chunk for chunk in request.chunks if not self._cached(chunk.h, chunk.raw_bytes, found)]
            if not missing:
                continue
            at = f"point {self._reader.root.point_id}, disk {self._disk.disk}, page {index}"
            try:
                for wanted in joined(request.pack_id, request.generation, missing):
                    for present in self._reader.moved.first_guess(wanted):
                        self._fetch(present, found)
            except (IntegrityError, ObjectMissing) as error:
                raise type(error)(f"{at}: {error}") from error
        return found

    def _fetch(self, request: PackRequest, found: dict[bytes, bytes]) -> None:
        """One ranged read, or those that take its place where the pack was compacted meanwhile."""
        try:
            packs = self._reader.packs
            body = memoryview(packs.read(request.pack_id, request.generation, request.offset, request.length))
        except (IntegrityError, ObjectMissing) as error:
            return self._fetch_elsewhere(request, error, found)
        for chunk in request.chunks:
            try:
                plain = self._opened(request, chunk, body)
            except IntegrityError as error:
                plain = self._alone(only(request, chunk), chunk, error)
            self._found(chunk, plain, found)

    def _fetch_elsewhere(self, request: PackRequest, error: RepositoryError, found: dict[bytes, bytes]) -> None:
        """Of a generation that is gone, or does not give all of a range: the range of the newest one, else every chunk by itself."""
        moved = self._reader.newer(request, error)
        for present in moved:
            self._fetch(present, found)
        if not moved:
            for chunk in request.chunks:
                self._found(chunk, self._alone(request, chunk, error), found)

    def _alone(self, request: PackRequest, chunk: WantedChunk, error: RepositoryError) -> bytes:
        """From whichever generation holds it whole. Raises the error where none does."""
        plain = self._reader.chunk_alone(request, chunk, error)
        if plain is None:
            raise error
        return plain

    def _found(self, chunk: WantedChunk, plain: bytes, found: dict[bytes, bytes]) -> None:
        found[chunk.h] = plain
        self._keep(chunk.h, plain)

    def _opened(self, request: PackRequest, chunk: WantedChunk, body: memoryview) -> bytes:
        reader, at = self._reader, chunk.offset - request.offset
        record = body[at : at + chunk.stored_bytes]
        with naming(reader.pack_name(request.pack_id, request.generation)):
            return open_record(
                reader.lineage_id, reader.k_dedup, chunk.h, ChunkType.DATA, chunk.codec, chunk.raw_bytes, record
            )

    def _page(self, index: int) -> tuple[Leaf, list[int]] | None:
        with self._lock:
            if index in self._pages:
                self._pages.move_to_end(index)
                return self._pages[index]
        child = self._reader.page(self._disk, index)
        page = None
        if child.chunk is not None:
            leaf = self._reader.leaf(child, self._disk, index)
            page = (leaf, list(entry_offsets(leaf)))
        with self._lock:
            self._pages[index] = page
            if len(self._pages) > _PAGES_KEPT:
                self._pages.popitem(last=False)
        return page

    def _cached(self, h: bytes, length: int, found: dict[bytes, bytes]) -> bool:
        with self._lock:
            plain = self._chunks.get(h)
            if plain is None or len(plain) != length:
                return False
            self._chunks.move_to_end(h)
        found[h] = plain
        return True

    def _keep(self, h: bytes, plain: bytes) -> None:
        with self._lock:
            if h in self._chunks:
                return
            self._chunks[h] = plain
            self._held += len(plain)
            while self._held > self._cache_bytes and len(self._chunks) > 1:
                self._held -= len(self._chunks.popitem(last=False)[1])
