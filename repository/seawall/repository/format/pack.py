"""Packs: many records in one object. Layout in repository/DESIGN.md, "Pack".

header | (record header | body)* | table of contents | sealed list of h | footer

The writing pipeline builds them, the controller reads their tables into the index, readers fetch bodies by locator and never read a table.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from seawall.repository.format.pack_hashes import seal_hashes
from seawall.repository.format.pack_layout import (
    FOOTER_BYTES,
    PACK_ID_BYTES,
    PACK_MAX_SLOTS,
    RECORD_HEADER_BYTES,
    TABLE_ENTRY,
    Footer,
    encode_footer,
    encode_pack_header,
    encode_record_header,
    hashes_bytes_of,
    record_header_of,
)
from seawall.repository.format.pack_table import PackTail, open_pack_hashes, parse_table, parse_tail
from seawall.repository.format.record import ChunkType, Record, body_hash_of
from seawall.repository.format.sealed_run import SealedRun

__all__ = [
    "FOOTER_BYTES",
    "PACK_ID_BYTES",
    "PACK_MAX_SLOTS",
    "PACK_TARGET_BYTES",
    "TABLE_ENTRY",
    "PackBuilder",
    "PackTail",
    "SealedPack",
    "open_pack_hashes",
    "pack_id_of",
    "parse_table",
    "parse_tail",
]

PACK_TARGET_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class SealedPack:
    """A closed pack: its id is the BLAKE3 of its bytes, 16 bytes."""

    pack_id: bytes
    body: bytes | bytearray | memoryview
    """A view of the builder's buffer where the builder was given one: valid until the buffer's owner takes it back."""
    table: NDArray[np.void]  # TABLE_ENTRY
    meta: bool


def pack_id_of(body: bytes | bytearray | memoryview) -> bytes:
    """The id of a pack, from the bytes of its first generation."""
    return blake3(body).digest(length=PACK_ID_BYTES)


class PackBuilder:
    """Collects records until full. Not thread-safe: one owner. A builder is used once.

    `buffer`: memory to build the pack in, from an earlier pack; `seal` then hands out a view of it. Memory that was in use before costs
    nothing to fill, fresh memory a page fault for every 4 KiB. Without it the pack grows in a bytearray of its own, which `seal` hands out.
    """

    def __init__(
        self,
        lineage_id: bytes,
        repository_public_key: bytes,
        *,
        meta: bool,
        target_bytes: int = PACK_TARGET_BYTES,
        buffer: bytearray | None = None,
    ) -> None:
        self._lineage_id = lineage_id
        self._public_key = repository_public_key
        self._meta = meta
        self._target_bytes = target_bytes
        self._own = buffer is None
        self._buffer = bytearray() if buffer is None else buffer
        self._length = 0
        self._append(encode_pack_header(lineage_id, meta))
        self._rows: list[tuple[bytes, int, int, int, int, int, int, bytes]] = []
        self._hashes: list[bytes] = []
        self._sealed = False

    def add(self, record: Record) -> tuple[int, int]:
        """Append; returns (slot, offset of the body within the pack).

        Raises ValueError when the builder is sealed or out of slots, or the record's type is not the pack's.
        """
        self._check(record.type)
        slot = len(self._rows)
        offset = self._length + RECORD_HEADER_BYTES
        body_hash = record.body_hash or body_hash_of(record.body)
        self._append(encode_record_header(record, slot, body_hash))
        self._append(record.body)
        stored = len(record.body)
        self._rows.append(
            (record.chunk_id, offset, stored, record.raw_bytes, slot, record.codec, record.type, body_hash)
        )
        self._hashes.append(record.h)
        return slot, offset

    def add_run(self, run: SealedRun, first: int) -> int:
        """Append the run's records from number `first` on until the pack is full; how many. They get the slots from `slots` on.

        Raises as `add` does.
        """
        self._check(run.records[first].type)
        start, slots = self._length, len(self._rows)
        placed = self._fitting(run.records[first:])
        self._append(run.room[run.place_of(first) : run.place_of(first + len(placed))])
        with memoryview(self._buffer) as pack:
            for slot, record in enumerate(placed, slots):
                h, identity, kind, codec, raw_bytes, body, body_hash = record
                offset, stored = start + RECORD_HEADER_BYTES, len(body)
                pack[start:offset] = record_header_of(slot, codec, kind, raw_bytes, stored, identity, body_hash)
                self._rows.append((identity, offset, stored, raw_bytes, slot, codec, kind, body_hash))
                self._hashes.append(h)
                start = offset + stored
        return len(placed)

    def _fitting(self, records: Sequence[Record]) -> Sequence[Record]:
        """The first of them, up to the one that fills the pack."""
        length, slots_left = self._length, PACK_MAX_SLOTS - len(self._rows)
        for number, record in enumerate(records, 1):
            length += RECORD_HEADER_BYTES + len(record.body)
            if length >= self._target_bytes or number == slots_left:
                return records[:number]
        return records

    def _check(self, type: ChunkType) -> None:
        if self._sealed or len(self._rows) >= PACK_MAX_SLOTS:
            raise ValueError("the pack is sealed" if self._sealed else "the pack has no slot left")
        if (type == ChunkType.META) != self._meta:
            raise ValueError("data and meta chunks go into packs of their own")

    def _append(self, data: bytes | memoryview) -> None:
        """Over what the buffer held before; it grows at its end. Not by assigning to a slice of it: that copies twice, and needlessly."""
        start, self._length = self._length, self._length + len(data)
        if self._length <= len(self._buffer):
            memoryview(self._buffer)[start : self._length] = data
        else:
            del self._buffer[start:]
            self._buffer += data

    @property
    def full(self) -> bool:
        """Reached the target size or the slot limit: seal it now."""
        return self._length >= self._target_bytes or len(self._rows) >= PACK_MAX_SLOTS

    @property
    def slots(self) -> int:
        return len(self._rows)

    def seal(self) -> SealedPack:
        """Close it. Raises ValueError when it is empty or sealed already."""
        return self.seal_with(self._seal_hashes)

    def seal_with(self, sealed_hashes: Callable[[bytes], bytes]) -> SealedPack:
        """`seal` with the sealed list of h given, from the table's hash: for golden vectors."""
        if self._sealed or not self._rows:
            raise ValueError("a pack is sealed once, and not empty")
        self._sealed = True
        table = table_of(self._rows)
        self._finish(table, sealed_hashes)
        body = self._buffer if self._own else memoryview(self._buffer)[: self._length]
        return SealedPack(pack_id_of(body), body, table, self._meta)

    def _seal_hashes(self, table_hash: bytes) -> bytes:
        return seal_hashes(self._hashes, self._lineage_id, table_hash, self._public_key)

    def _finish(self, table: NDArray[np.void], seal: Callable[[bytes], bytes]) -> None:
        table_bytes = table.tobytes()
        table_hash = blake3(table_bytes).digest()
        sealed_hashes = seal(table_hash)
        if len(sealed_hashes) != hashes_bytes_of(len(table)):
            raise AssertionError("the sealed list of hashes has not the length that the footer promises")
        footer = Footer(
            lineage_id=self._lineage_id,
            meta=self._meta,
            slots=len(table),
            table_offset=self._length,
            table_hash=table_hash,
            hashes_hash=blake3(sealed_hashes).digest(length=16),
        )
        for part in (table_bytes, sealed_hashes, encode_footer(footer)):
            self._append(part)


def table_of(rows: Sequence[tuple[bytes, int, int, int, int, int, int, bytes]]) -> NDArray[np.void]:
    """Rows in the field order of TABLE_ENTRY as a table."""
    return np.array(rows, dtype=TABLE_ENTRY)
