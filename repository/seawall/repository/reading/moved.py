"""Finds chunks again in packs whose named generation is gone: compaction wrote the next one, where the same slots lie at other offsets.

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
        self._lock = Lock()

    def first_guess(self, request: PackRequest) -> list[PackRequest]:
        """The request itself, or what takes its place where it is known that the pack moved on."""
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

    def locator(self, chunk: Locator, h: bytes) -> Locator | None:
        """After ObjectMissing: where the newest generation has the chunk. None: there is none newer that holds it."""
        table = self._newer(chunk.pack_id, chunk.generation)
        place = table.places.get(chunk_id(h)) if table is not None else None
        if table is None or place is None or not _same(place, chunk.stored_bytes, chunk.raw_bytes, chunk.codec):
            return None
        return replace(chunk, generation=table.generation, offset=place.offset)

    def _newer(self, pack_id: bytes, generation: int) -> _Table | None:
        table = self._kept(pack_id)
        if table is None or table.generation <= generation:
            try:
                table = self._load(pack_id)
            except (ObjectMissing, IntegrityError, StoreRefused):
                return None  # then what the reader met first counts
        return table if table.generation > generation else None

    def _load(self, pack_id: bytes) -> _Table:
        generation, rows = self._packs.newest_table(pack_id)
        columns = zip(
            (one.tobytes() for one in rows["chunk_id"]),
            rows["offset"].tolist(),
            rows["stored_bytes"].tolist(),
            rows["raw_bytes"].tolist(),
            rows["codec"].tolist(),
            strict=True,
        )
        table = _Table(generation, {identity: _Place(*place) for identity, *place in columns})
        with self._lock:
            self._tables[pack_id] = table
            while len(self._tables) > _TABLES_KEPT:
                self._tables.popitem(last=False)
        return table

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
