"""The fixed parts of a pack, byte by byte: header, record header, table entry, footer. No other module knows an offset in them."""

import struct
from dataclasses import dataclass

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from seawall.repository.crypto.aead import BOX_OVERHEAD_BYTES, KEY_BYTES
from seawall.repository.crypto.chunk import HASH_BYTES
from seawall.repository.crypto.sealing import SEAL_OVERHEAD_BYTES
from seawall.repository.errors import IntegrityError
from seawall.repository.format.header import HEADER_BYTES, PACK, PACK_FOOTER, check_header, encode_header
from seawall.repository.format.record import BODY_HASH_BYTES as BODY_HASH_BYTES
from seawall.repository.format.record import MAX_CHUNK_BYTES, ChunkType, Codec, Record, stored_bytes_of_raw
from seawall.repository.format.slot_set import MAX_SLOTS

PACK_ID_BYTES = 16
PACK_MAX_SLOTS = MAX_SLOTS

TABLE_ENTRY = np.dtype(
    [
        ("chunk_id", "V16"),
        ("offset", "<u4"),
        ("stored_bytes", "<u4"),
        ("raw_bytes", "<u4"),
        ("slot", "<u2"),
        ("codec", "u1"),
        ("type", "u1"),
        ("body_hash", "V16"),  # BLAKE3 of the body
    ]
)

_META_FLAG = 1
_PACK_HEADER = struct.Struct("<16sIIII")  # lineage, flags, three zeroes; behind the common header
_RECORD_HEADER = struct.Struct("<4sHBBII16s")  # marker, slot, codec, type, raw, stored, chunk id; then the check
# Lineage, flags, slots, table offset, table length, hash list length, BLAKE3 of the two; then the check.
_FOOTER = struct.Struct("<16sIIQQQ32s16s")

RECORD_MARKER = b"SWRC"
RECORD_CHECK_BYTES = 16
FOOTER_CHECK_BYTES = 16
PACK_HEADER_BYTES = HEADER_BYTES + _PACK_HEADER.size
RECORD_HEADER_BYTES = _RECORD_HEADER.size + RECORD_CHECK_BYTES
FIRST_BODY_OFFSET = PACK_HEADER_BYTES + RECORD_HEADER_BYTES
FOOTER_BYTES = HEADER_BYTES + _FOOTER.size + FOOTER_CHECK_BYTES


@dataclass(frozen=True, slots=True)
class Footer:
    """What the last FOOTER_BYTES of a pack say. The lengths of table and hash list follow from `slots`."""

    lineage_id: bytes
    meta: bool
    slots: int
    table_offset: int
    table_hash: bytes  # BLAKE3, 32 bytes
    hashes_hash: bytes  # of the sealed list of h: BLAKE3, 16 bytes

    @property
    def table_bytes(self) -> int:
        return self.slots * TABLE_ENTRY.itemsize

    @property
    def hashes_bytes(self) -> int:
        return hashes_bytes_of(self.slots)

    @property
    def tail_bytes(self) -> int:
        """Table, hash list and footer: the last bytes of the pack that hold no record."""
        return self.table_bytes + self.hashes_bytes + FOOTER_BYTES

    @property
    def pack_bytes(self) -> int:
        return self.table_offset + self.tail_bytes


@dataclass(frozen=True, slots=True)
class RecordHeader:
    """What stands before each body."""

    slot: int
    codec: Codec
    type: ChunkType
    raw_bytes: int
    stored_bytes: int
    chunk_id: bytes


def hashes_bytes_of(slots: int) -> int:
    """Length of the sealed list of h: a sealed key (80), then a box of 32 bytes per slot."""
    return SEAL_OVERHEAD_BYTES + KEY_BYTES + BOX_OVERHEAD_BYTES + HASH_BYTES * slots


def encode_pack_header(lineage_id: bytes, meta: bool) -> bytes:
    return encode_header(PACK) + _PACK_HEADER.pack(lineage_id, _META_FLAG if meta else 0, 0, 0, 0)


def parse_pack_header(body: bytes | bytearray) -> tuple[bytes, bool]:
    """(lineage id, meta). Raises IntegrityError, FormatUnsupported."""
    check_header(body, PACK, "pack")
    if len(body) < PACK_HEADER_BYTES:
        raise IntegrityError("pack: cut short in its header")
    lineage_id, flags, *zeroes = _PACK_HEADER.unpack_from(body, HEADER_BYTES)
    if flags not in (0, _META_FLAG) or any(zeroes):
        raise IntegrityError("pack: unknown flags in its header")
    return lineage_id, flags == _META_FLAG


def encode_record_header(record: Record, slot: int, body_hash: bytes) -> bytes:
    """48 bytes. The check covers the fields and the body's hash, so a forward scan needs no table."""
    return record_header_of(
        slot, record.codec, record.type, record.raw_bytes, len(record.body), record.chunk_id, body_hash
    )


def record_header_of(
    slot: int, codec: int, type: int, raw_bytes: int, stored_bytes: int, chunk_id: bytes, body_hash: bytes
) -> bytes:
    """`encode_record_header` from plain fields, as a table has them."""
    fields = _RECORD_HEADER.pack(RECORD_MARKER, slot, codec, type, raw_bytes, stored_bytes, chunk_id)
    return fields + _record_check(fields, body_hash)


def parse_record_header(pack: bytes | bytearray | memoryview, offset: int) -> RecordHeader | None:
    """The header at this offset, its check not yet compared; None when these bytes cannot be one."""
    if offset + RECORD_HEADER_BYTES > len(pack):
        return None
    marker, slot, codec, kind, raw, stored, identity = _RECORD_HEADER.unpack_from(pack, offset)
    if marker != RECORD_MARKER or slot >= PACK_MAX_SLOTS or codec > Codec.ZSTD or kind > ChunkType.META:
        return None
    if raw > MAX_CHUNK_BYTES or not lengths_agree(codec, raw, stored):
        return None
    return RecordHeader(slot, Codec(codec), ChunkType(kind), raw, stored, identity)


def record_check_holds(pack: bytes | bytearray | memoryview, offset: int, body_hash: bytes) -> bool:
    """Whether the check in the record header at `offset` covers its fields and this body."""
    fields_end = offset + _RECORD_HEADER.size
    expected = _record_check(bytes(pack[offset:fields_end]), body_hash)
    return bytes(pack[fields_end : fields_end + RECORD_CHECK_BYTES]) == expected


def lengths_agree(codec: int, raw_bytes: int, stored_bytes: int) -> bool:
    """Whether a body of this length can hold such a chunk: raw exactly, compressed never longer than raw."""
    raw_stored = stored_bytes_of_raw(raw_bytes)
    return stored_bytes == raw_stored if codec == Codec.RAW else stored_bytes_of_raw(0) < stored_bytes < raw_stored


def all_lengths_agree(rows: NDArray[np.void], raw_field: str) -> NDArray[np.bool_]:
    """`lengths_agree` of each row of a table or leaf, and no chunk over the maximum. `raw_field`: the column of plain lengths."""
    raw, stored = rows[raw_field].astype(np.int64), rows["stored_bytes"].astype(np.int64)
    raw_stored = raw + stored_bytes_of_raw(0)
    shorter = (stored_bytes_of_raw(0) < stored) & (stored < raw_stored)
    agree: NDArray[np.bool_] = np.where(rows["codec"] == Codec.RAW, stored == raw_stored, shorter)
    return agree & (raw <= MAX_CHUNK_BYTES)


def encode_footer(footer: Footer) -> bytes:
    fields = encode_header(PACK_FOOTER) + _FOOTER.pack(
        footer.lineage_id,
        _META_FLAG if footer.meta else 0,
        footer.slots,
        footer.table_offset,
        footer.table_bytes,
        footer.hashes_bytes,
        footer.table_hash,
        footer.hashes_hash,
    )
    return fields + blake3(fields).digest(length=FOOTER_CHECK_BYTES)


def parse_footer(footer: bytes) -> Footer:
    """From exactly FOOTER_BYTES. Raises IntegrityError, FormatUnsupported."""
    check_header(footer, PACK_FOOTER, "pack footer")
    if len(footer) != FOOTER_BYTES:
        raise IntegrityError(f"pack footer: {len(footer)} bytes, not {FOOTER_BYTES}")
    fields, check = footer[:-FOOTER_CHECK_BYTES], footer[-FOOTER_CHECK_BYTES:]
    if blake3(fields).digest(length=FOOTER_CHECK_BYTES) != check:
        raise IntegrityError("pack footer: altered: its own hash does not hold")
    lineage, flags, slots, offset, table, hashes, table_hash, hashes_hash = _FOOTER.unpack_from(fields, HEADER_BYTES)
    parsed = Footer(lineage, flags == _META_FLAG, slots, offset, table_hash, hashes_hash)
    if flags not in (0, _META_FLAG) or not 1 <= slots <= PACK_MAX_SLOTS:
        raise IntegrityError("pack footer: unknown flags or a number of slots out of bounds")
    if (table, hashes) != (parsed.table_bytes, parsed.hashes_bytes) or not FIRST_BODY_OFFSET <= offset < 1 << 32:
        raise IntegrityError("pack footer: its lengths do not agree")
    return parsed


def _record_check(fields: bytes, body_hash: bytes) -> bytes:
    return blake3(fields + body_hash).digest(length=RECORD_CHECK_BYTES)
