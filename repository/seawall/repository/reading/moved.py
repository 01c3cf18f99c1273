"""Finds chunks again in packs whose named generation is gone or altered: compaction or healing wrote a later one, where the same slots lie
at other offsets.

A locator's generation is a first guess. Where it fails, the newest generation's table says where the chunk is, by its id.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from threading import Lock

from seawall.repository.crypto.chunk import chunk_id
from seawall.repository.errors import IntegrityError, ObjectMissing, StoreRefused
from seawall.repository.format.record import Locator
from seawall.repository.reading.port import PackReader
from seawall.repository.reading.requests import PackRequest, WantedChunk, joined

_TABLES_KEPT = 8


@dataclass(frozen=True, slots=True)
class _Place:
    offset: int
    stored_bytes: int
    raw_bytes: int
    codec: int


@dataclass(frozen=True, slots=True)
class _Table:
    generation: int
    places: Mapping[bytes, _Place]


class MovedPacks:
    """Thread-safe; keeps the tables of a few packs."""

    def __init__(self, packs: PackReader) -> None:
        self._packs = packs
        self._tables: OrderedDict[bytes, _Table] = OrderedDict()
        self._beside: OrderedDict[bytes, _Table | None] = OrderedDict()
        self._lock = Lock()

    def first_guess(self, request: PackRequest) -> list[PackRequest]:
        """The request itself, or what takes its place where it is known that the pack moved on. A generation that is only altered somewhere
        stays the first guess: what else it holds may be whole there alone.
        """
        table = self._kept(request.pack_id)
        if table is None or table.generation <= request.generation:
            return [request]
        return _relocated(request, table) or [request]

    def again(self, request: PackRequest) -> list[PackRequest]:
        """After ObjectMissing: the same chunks in the newest generation. Empty: there is none newer that holds them all.

        Raises StoreUnavailable.
        """
        table = self._newer(request.pack_id, request.generation)
        return _relocated(request, table) if table is not None else []

    def instead(self, request: PackRequest) -> list[PackRequest]:
        """After IntegrityError: the same chunks in a newer generation that lies beside the altered one. Empty: there is none.

        Looked for once a pack, as damage comes in numbers. Raises StoreUnavailable.
        """
        with self._lock:
            looked, table = request.pack_id in self._beside, self._beside.get(request.pack_id)
        if not looked:
            table = self._newest(request.pack_id)
            self._keep_beside(request.pack_id, table)
        return _relocated(request, table) if table is not None and table.generation > request.generation else []

    def locator(self, chunk: Locator, h: bytes) -> Locator | None:
        """After ObjectMissing or damage: where the newest generation has the chunk. None: there is none newer that holds it."""
        table = self._newer(chunk.pack_id, chunk.generation)
        place = table.places.get(chunk_id(h)) if table is not None else None
        if table is None or place is None or not _same(place, chunk.stored_bytes, chunk.raw_bytes, chunk.codec):
            return None
        return replace(chunk, generation=table.generation, offset=place.offset)

    def _newer(self, pack_id: bytes, generation: int) -> _Table | None:
        table = self._kept(pack_id)
        if table is None or table.generation <= generation:
            table = self._newest(pack_id)
            if table is None:
                return None
            self._keep(pack_id, table)
        return table if table.generation > generation else None

    def _newest(self, pack_id: bytes) -> _Table | None:
        """None: it cannot be read either; then what the reader met first counts."""
        try:
            generation, rows = self._packs.newest_table(pack_id)
        except (ObjectMissing, IntegrityError, StoreRefused):
            return None
        columns = zip(
            (one.tobytes() for one in rows["chunk_id"]),
            rows["offset"].tolist(),
            rows["stored_bytes"].tolist(),
            rows["raw_bytes"].tolist(),
            rows["codec"].tolist(),
            strict=True,
        )
        return _Table(generation, {identity: _Place(*place) for identity, *place in columns})

    def _keep(self, pack_id: bytes, table: _Table) -> None:
        with self._lock:
            self._tables[pack_id] = table
            while len(self._tables) > _TABLES_KEPT:
                self._tables.popitem(last=False)

    def _keep_beside(self, pack_id: bytes, table: _Table | None) -> None:
        with self._lock:
            self._beside[pack_id] = table
            while len(self._beside) > _TABLES_KEPT:
                self._beside.popitem(last=False)

    def _kept(self, pack_id: bytes) -> _Table | None:
        with self._lock:
            if pack_id in self._tables:
                self._tables.move_to_end(pack_id)
            return self._tables.get(pack_id)


def _relocated(request: PackRequest, table: _Table) -> list[PackRequest]:
    """Empty: one of the chunks is not in the table, as its locator says it should be."""
    chunks: list[WantedChunk] = []
    for chunk in request.chunks:
        place = table.places.get(chunk_id(chunk.h))
        if place is None or not _same(place, chunk.stored_bytes, chunk.raw_bytes, chunk.codec):
            return []
        chunks.append(replace(chunk, offset=place.offset))
    return joined(request.pack_id, table.generation, chunks)


def _same(place: _Place, stored_bytes: int, raw_bytes: int, codec: int) -> bool:
    """Bodies are carried over as they are: other lengths mean another record."""
    return (place.stored_bytes, place.raw_bytes, place.codec) == (stored_bytes, raw_bytes, codec)
