"""Chunks sealed one behind the other as they will lie in a pack, so that the pack takes all of them with one copy. Thread-safe.

Called by the writing pipeline; what a pack is made of otherwise (manifest pages, compaction) comes record by record.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from seawall.repository.crypto.aead import new_nonces
from seawall.repository.format.pack_layout import RECORD_HEADER_BYTES
from seawall.repository.format.record import ChunkType, PlainChunk, Record, seal_apart


@dataclass(frozen=True, slots=True)
class SealedRun:
    """`room`: for each record in turn the place of its header, still empty, and its body."""

    records: Sequence[Record]
    room: memoryview

    @property
    def stored_bytes(self) -> int:
        """Of all bodies."""
        return len(self.room) - RECORD_HEADER_BYTES * len(self.records)

    def place_of(self, number: int) -> int:
        """Where in `room` a record begins."""
        return sum([RECORD_HEADER_BYTES + len(record.body) for record in self.records[:number]])


def seal_run(lineage_id: bytes, chunks: Sequence[PlainChunk], type: ChunkType, level: int) -> SealedRun:
    """`seal_record` of each. Raises ValueError as that does."""
    return SealedRun(*seal_apart(lineage_id, chunks, type, level, new_nonces(len(chunks)), RECORD_HEADER_BYTES))
