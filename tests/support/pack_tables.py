"""Tables of contents of packs, made up."""

from collections.abc import Sequence

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from seawall.repository.format.pack import TABLE_ENTRY
from seawall.repository.format.pack_layout import (
    FIRST_BODY_OFFSET,
    RECORD_HEADER_BYTES,
    Footer,
    encode_footer,
    hashes_bytes_of,
)
from seawall.repository.format.record import Codec, stored_bytes_of_raw


def table_of(chunk_ids: Sequence[bytes], seed: int = 0) -> NDArray[np.void]:
    """One slot per id, in order; lengths and offsets follow from the seed and the slot."""
    table = np.zeros(len(chunk_ids), TABLE_ENTRY)
    slots = np.arange(len(chunk_ids))
    if len(chunk_ids):
        table["chunk_id"] = np.frombuffer(b"".join(chunk_ids), "V16")
    table["slot"] = slots
    table["raw_bytes"] = 4096 * (1 + (slots + seed) % 16)
    table["stored_bytes"] = 100 + (slots * 7 + seed) % 1000
    table["offset"] = 64 + slots * 1100
    table["codec"] = (slots + seed) % 2
    return table


def random_ids(count: int, seed: int) -> list[bytes]:
    """Ids of 16 bytes."""
    joined = np.random.default_rng(seed).bytes(16 * count)
    return [joined[16 * n : 16 * n + 16] for n in range(count)]


def pack_tail(chunk_ids: bytes, seed: int = 0) -> tuple[bytes, bytes, int]:
    """The end of a data pack with these ids (16 bytes each, concatenated) as it lies in a store: (pack id, table + hashes + footer, bytes
    of the whole pack). Lengths follow from the seed and the slot, and agree. The sealed hashes are zeroes: only a verifier would notice.
    """
    table = np.zeros(len(chunk_ids) // 16, TABLE_ENTRY)
    slots = np.arange(len(table))
    table["chunk_id"] = table["body_hash"] = np.frombuffer(chunk_ids, "V16")
    table["slot"] = slots
    table["raw_bytes"] = 4096 * (2 + (slots * 7 + seed) % 30)
    table["stored_bytes"] = stored_bytes_of_raw(0) + table["raw_bytes"] // 2
    table["codec"] = Codec.ZSTD
    ends = np.cumsum(table["stored_bytes"] + RECORD_HEADER_BYTES)
    table["offset"] = FIRST_BODY_OFFSET + ends - table["stored_bytes"] - RECORD_HEADER_BYTES
    body, hashes = table.tobytes(), bytes(hashes_bytes_of(len(table)))
    table_offset = FIRST_BODY_OFFSET + int(ends[-1]) - RECORD_HEADER_BYTES
    hashes_hash = blake3(hashes).digest(length=16)
    footer = Footer(bytes(16), False, len(table), table_offset, blake3(body).digest(), hashes_hash)
    tail = body + hashes + encode_footer(footer)
    return blake3(tail).digest(length=16), tail, footer.pack_bytes
