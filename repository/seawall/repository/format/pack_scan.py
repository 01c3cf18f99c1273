"""Forward scan of a pack whose end is damaged: finds records by their headers. For the maintenance worker and rescue."""

from collections.abc import Iterator

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from seawall.repository.errors import IntegrityError
from seawall.repository.format.pack_layout import (
    BODY_HASH_BYTES,
    PACK_HEADER_BYTES,
    RECORD_HEADER_BYTES,
    RECORD_MARKER,
    TABLE_ENTRY,
    parse_pack_header,
    parse_record_header,
    record_check_holds,
)


def scan_records(body: bytes | bytearray) -> NDArray[np.void]:
    """A table of all records whose header and body are whole, in slot order, whatever happened to table, footer or other records.

    A record that is found twice under one slot counts once. Raises IntegrityError (not even the pack's header is whole, or it was made to
    keep a scanner busy), FormatUnsupported.
    """
    _, meta = parse_pack_header(body)
    by_slot = {row[4]: row for row in _rows(body) if bool(row[6]) == meta}
    return np.array([by_slot[slot] for slot in sorted(by_slot)], dtype=TABLE_ENTRY)


def _rows(body: bytes | bytearray) -> Iterator[tuple[bytes, int, int, int, int, int, int, bytes]]:
    view = memoryview(body)
    position = PACK_HEADER_BYTES
    # Sound records are hashed once. Only false headers inside bodies, which nobody writes by accident, cost more.
    budget_bytes = 2 * len(view)
    while (position := body.find(RECORD_MARKER, position)) >= 0:
        header = parse_record_header(view, position)
        start = position + RECORD_HEADER_BYTES
        if header is not None and start + header.stored_bytes <= len(view):
            budget_bytes -= header.stored_bytes
            if budget_bytes < 0:
                raise IntegrityError("pack: full of false record headers")
            body_hash = blake3(view[start : start + header.stored_bytes]).digest(length=BODY_HASH_BYTES)
            if record_check_holds(view, position, body_hash):
                lengths = (header.stored_bytes, header.raw_bytes)
                yield (header.chunk_id, start, *lengths, header.slot, header.codec, header.type, body_hash)
                position = start + header.stored_bytes
                continue
        position += len(RECORD_MARKER)
