"""Finds chunks again in packs whose named generation is gone or altered: compaction or healing wrote a later one, where the same slots lie
at other offsets.

A locator's generation is a first guess. Where it fails, the tables of the generations that lie there say where the chunk is, by its id.
"""

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from threading import Lock
from typing import TypeVar

from seawall.repository.crypto.chunk import chunk_id
from seawall.repository.errors import IntegrityError, ObjectMissing, RepositoryError, StoreRefused
from seawall.repository.reading.port import PackReader
from seawall.repository.reading.requests import PackPlace, PackRequest, WantedChunk, joined

_TABLES_KEPT = 8
_PACKS_KEPT = 64
"""Of which is known what generations lie there."""

_Key = TypeVar("_Key")
_Kept = TypeVar("_Kept")


@dataclass(frozen=True, slots=True)
class Sought:
    """A record, wherever it lies: bodies are carried over as they are, so other lengths mean another record."""

    pack_id: bytes
    h: bytes
    stored_bytes: int
    raw_bytes: int
    codec: int


@dataclass(frozen=True, slots=True)
class _Entry:
    offset: int
    stored_bytes: int
    raw_bytes: int
    codec: int


@dataclass(frozen=True, slots=True)
class _Table:
    generation: int
    entries: Mapping[bytes, _Entry]

    def place(self, sought: Sought) -> PackPlace | None:
        """None: the record is not there, or not as its locator says it should be."""
        entry = self.entries.get(chunk_id(sought.h))
        if entry is None:
            return None
        same = (entry.stored_bytes, entry.raw_bytes, entry.codec) == (
            sought.stored_bytes,
            sought.raw_bytes,
            sought.codec,
        )
        return PackPlace(self.generation, entry.offset) if same else None


class MovedPacks:
    """Thread-safe; keeps the tables of a few packs."""

    def __init__(self, packs: PackReader) -> None:
        self._packs = packs
        self._tables: OrderedDict[tuple[bytes, int], _Table | None] = OrderedDict()
        """By pack and generation. None: it cannot be read."""
        self._lying: OrderedDict[bytes, tuple[int, ...]] = OrderedDict()
        """Generations of a pack, the newest first, when somebody last looked."""
        self._moved: OrderedDict[bytes, int] = OrderedDict()
        """Packs of which a named generation was gone, and the newest that is there."""
        self._lock = Lock()

    def first_guess(self, request: PackRequest) -> list[PackRequest]:
        """The request itself, or what takes its place where it is known that the pack moved on. A generation that is only altered somewhere
        stays the first guess: what else it holds may be whole there alone.
        """
        with self._lock:
            newest = self._moved.get(request.pack_id, 0)
            table = self._tables.get((request.pack_id, newest))
        if table is None or newest <= request.generation:
            return [request]
        return _relocated(request, table) or [request]

    def again(self, request: PackRequest) -> list[PackRequest]:
        """After ObjectMissing: the same chunks in the newest generation. Empty: there is none newer that holds them all.

        Raises StoreUnavailable.
        """
        with self._lock:
            newest = self._moved.get(request.pack_id, 0)
        if newest <= request.generation:
            newest = next(iter(self._look(request.pack_id)), 0)
            if newest > request.generation:
                self._keep(self._moved, request.pack_id, newest, _PACKS_KEPT)
        return self._moved_to(request, newest)

    def instead(self, request: PackRequest) -> list[PackRequest]:
        """After IntegrityError: the same chunks in the newest generation, which lies beside the altered one. Empty: there is none.

        Looked for once a pack, as damage comes in numbers. Raises StoreUnavailable.
        """
        return self._moved_to(request, next(iter(self._known(request.pack_id)), 0))

    def anywhere(self, sought: Sought, failed: Mapping[int, RepositoryError]) -> Iterator[PackPlace]:
        """Where it stands in each generation that lies there, the newest first. `failed`: filled by the caller, who reads each place before
        he asks for the next; where one of these was gone meanwhile, what lies there is looked at once more. Raises StoreUnavailable.
        """
        known = self._known(sought.pack_id)
        yield from self._places(sought, known)
        with self._lock:
            changed = self._lying.get(sought.pack_id) != known
        if changed or any(isinstance(failed.get(generation), ObjectMissing) for generation in known):
            yield from self._places(sought, self._look(sought.pack_id))

    def _places(self, sought: Sought, generations: tuple[int, ...]) -> Iterator[PackPlace]:
        for generation in generations:
            table = self._table(sought.pack_id, generation)
            place = table.place(sought) if table is not None else None
            if place is not None:
                yield place

    def _moved_to(self, request: PackRequest, generation: int) -> list[PackRequest]:
        if generation <= request.generation:
            return []
        table = self._table(request.pack_id, generation)
        return _relocated(request, table) if table is not None else []

    def _known(self, pack_id: bytes) -> tuple[int, ...]:
        with self._lock:
            generations = self._lying.get(pack_id)
        return self._look(pack_id) if generations is None else generations

    def _look(self, pack_id: bytes) -> tuple[int, ...]:
        try:
            generations = tuple(self._packs.generations(pack_id))
        except (ObjectMissing, StoreRefused):  # what the reader met first counts
            generations = ()
        self._keep(self._lying, pack_id, generations, _PACKS_KEPT)
        return generations

    def _table(self, pack_id: bytes, generation: int) -> _Table | None:
        key = (pack_id, generation)
        with self._lock:
            if key in self._tables:
                self._tables.move_to_end(key)
                return self._tables[key]
        try:
            table = self._read_table(pack_id, generation)
        except ObjectMissing:  # replaced since somebody looked
            with self._lock:
                self._lying.pop(pack_id, None)
            return None
        self._keep(self._tables, key, table, _TABLES_KEPT)
        return table

    def _read_table(self, pack_id: bytes, generation: int) -> _Table | None:
        try:
            rows = self._packs.table(pack_id, generation)
        except (IntegrityError, StoreRefused):
            return None
        columns = zip(
            (one.tobytes() for one in rows["chunk_id"]),
            rows["offset"].tolist(),
            rows["stored_bytes"].tolist(),
            rows["raw_bytes"].tolist(),
            rows["codec"].tolist(),
            strict=True,
        )
        return _Table(generation, {identity: _Entry(*entry) for identity, *entry in columns})

    def _keep(self, kept: OrderedDict[_Key, _Kept], key: _Key, value: _Kept, most: int) -> None:
        with self._lock:
            kept[key] = value
            kept.move_to_end(key)
            while len(kept) > most:
                kept.popitem(last=False)


def _relocated(request: PackRequest, table: _Table) -> list[PackRequest]:
    """Empty: one of the chunks is not in the table, as its locator says it should be."""
    chunks: list[WantedChunk] = []
    for chunk in request.chunks:
        place = table.place(sought_chunk(request.pack_id, chunk))
        if place is None:
            return []
        named = chunk.named or PackPlace(request.generation, chunk.offset)
        chunks.append(replace(chunk, offset=place.offset, named=named))
    return joined(request.pack_id, table.generation, chunks)


def sought_chunk(pack_id: bytes, chunk: WantedChunk) -> Sought:
    return Sought(pack_id, chunk.h, chunk.stored_bytes, chunk.raw_bytes, chunk.codec)
