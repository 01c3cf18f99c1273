"""Reading the end of a pack: footer, table of contents, sealed list of h. Pure; every byte may be hostile.

The controller reads tables into the index; the maintenance worker opens the list of hashes.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from seawall.repository.crypto.chunk import chunk_id
from seawall.repository.errors import IntegrityError
from seawall.repository.format.pack_hashes import unseal_hashes
from seawall.repository.format.pack_layout import (
    FIRST_BODY_OFFSET,
    FOOTER_BYTES,
    PACK_MAX_SLOTS,
    RECORD_HEADER_BYTES,
    TABLE_ENTRY,
    Footer,
    all_lengths_agree,
    parse_footer,
)
from seawall.repository.format.record import ChunkType, Codec


@dataclass(frozen=True, slots=True)
class PackTail:
    """The end of a pack, checked."""

    footer: Footer
    table: NDArray[np.void]  # TABLE_ENTRY, read-only
    sealed_hashes: bytes


def parse_table(tail: bytes, pack_bytes: int) -> NDArray[np.void] | int:
    """The table of contents from the pack's last bytes, its BLAKE3 checked; or the number of last bytes that it takes to read it.

    Raises IntegrityError (wrong magic, hash, slot twice, offsets outside the pack), FormatUnsupported.
    """
    parsed = parse_tail(tail, pack_bytes)
    return parsed if isinstance(parsed, int) else parsed.table


def parse_tail(tail: bytes, pack_bytes: int) -> PackTail | int:
    """`parse_table` with footer and sealed hashes. `tail`: at least the last FOOTER_BYTES of a pack that is `pack_bytes` long."""
    if pack_bytes < FIRST_BODY_OFFSET + FOOTER_BYTES:
        raise IntegrityError(f"pack: {pack_bytes} bytes are too few for a pack")
    if len(tail) < FOOTER_BYTES:
        return FOOTER_BYTES
    footer = parse_footer(tail[-FOOTER_BYTES:])
    if footer.pack_bytes != pack_bytes:
        raise IntegrityError(f"pack: is {pack_bytes} bytes long, its footer says {footer.pack_bytes}")
    if len(tail) < footer.tail_bytes:
        return footer.tail_bytes
    table_start = len(tail) - footer.tail_bytes
    table_end = table_start + footer.table_bytes
    table_bytes, hashes = tail[table_start:table_end], tail[table_end : len(tail) - FOOTER_BYTES]
    if blake3(table_bytes).digest() != footer.table_hash:
        raise IntegrityError("pack: its table of contents is altered")
    if blake3(hashes).digest(length=len(footer.hashes_hash)) != footer.hashes_hash:
        raise IntegrityError("pack: its sealed list of hashes is altered")
    table = np.frombuffer(table_bytes, dtype=TABLE_ENTRY)
    _check_table(table, footer)
    return PackTail(footer, table, hashes)


def open_pack_hashes(body: bytes | bytearray, repository_secret_key: bytes) -> Mapping[int, bytes]:
    """Slot -> h of a whole pack, or of enough of its end. Raises IntegrityError, also when an h is not that of the slot's chunk id."""
    end = bytes(body[-FOOTER_BYTES:])
    footer = parse_footer(end) if len(end) == FOOTER_BYTES else None
    if footer is None or len(body) < footer.tail_bytes:
        raise IntegrityError("pack: cut short in its table of contents")
    tail = parse_tail(bytes(body[-footer.tail_bytes :]), footer.pack_bytes)
    if isinstance(tail, int):
        raise IntegrityError("pack: cut short in its table of contents")
    hashes = unseal_hashes(tail.sealed_hashes, footer.lineage_id, footer.table_hash, repository_secret_key)
    return _hashes_by_slot(tail.table, hashes)


def _hashes_by_slot(table: NDArray[np.void], hashes: list[bytes]) -> Mapping[int, bytes]:
    identities = [identity.tobytes() for identity in table["chunk_id"]]
    if identities != [chunk_id(h) for h in hashes]:
        raise IntegrityError("pack: its list of hashes does not match its table of contents")
    return dict(zip(table["slot"].tolist(), hashes, strict=True))


def _check_table(table: NDArray[np.void], footer: Footer) -> None:
    """A table that hashes right may still have been written by a hostile agent."""
    slots = table["slot"].astype(np.int64)
    if int(slots[-1]) >= PACK_MAX_SLOTS or not bool(np.all(slots[1:] > slots[:-1])):
        raise IntegrityError("pack: slots of its table are out of bounds, out of order or named twice")
    expected_type = ChunkType.META if footer.meta else ChunkType.DATA
    if not bool(np.all(table["type"] == expected_type)) or not bool(np.all(table["codec"] <= Codec.ZSTD)):
        raise IntegrityError("pack: its table names an unknown codec or a chunk type that is not the pack's")
    if not bool(np.all(all_lengths_agree(table, "raw_bytes"))):
        raise IntegrityError("pack: lengths in its table do not agree")
    offsets, stored = table["offset"].astype(np.int64), table["stored_bytes"].astype(np.int64)
    starts = FIRST_BODY_OFFSET + np.concatenate(([0], np.cumsum(stored + RECORD_HEADER_BYTES)))
    if not np.array_equal(offsets, starts[:-1]) or int(starts[-1]) - RECORD_HEADER_BYTES != footer.table_offset:
        raise IntegrityError("pack: the offsets of its table do not follow one another to the table's start")
