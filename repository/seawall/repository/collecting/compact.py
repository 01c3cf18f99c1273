"""Compaction: the same pack without its condemned slots, as the next generation. Same id, same slots, same bodies (rule 9)."""

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from seawall.repository.crypto.chunk import CHUNK_ID_BYTES
from seawall.repository.errors import IntegrityError
from seawall.repository.format.pack import PackTail, open_pack_hashes, parse_tail
from seawall.repository.format.pack_hashes import seal_hashes
from seawall.repository.format.pack_layout import (
    BODY_HASH_BYTES,
    FIRST_BODY_OFFSET,
    FOOTER_BYTES,
    RECORD_HEADER_BYTES,
    TABLE_ENTRY,
    Footer,
    encode_footer,
    encode_pack_header,
    hashes_bytes_of,
    parse_footer,
    record_header_of,
)
from seawall.repository.format.record import body_hash_of
from seawall.repository.format.slot_set import SlotSet
from seawall.repository.repository import OpenRepository


def compacted_pack(repository: OpenRepository, body: bytes, condemned: SlotSet) -> bytes:
    """The next generation's bytes from those of the present one: every slot but the condemned, each body proven by its BLAKE3.

    Raises IntegrityError: a body that is kept is damaged, or the pack is not what its end says. Then nothing may be dropped.
    """
    tail = whole_tail(body)
    hashes = open_pack_hashes(body, repository.secrets.repository_secret_key)
    kept = tail.table[~np.isin(tail.table["slot"], condemned.array())]
    if not len(kept):
        raise IntegrityError("pack: nothing of it is to be kept")
    lineage_id = repository.config.lineage_id
    records = _records(memoryview(body), kept)
    table = kept.copy()
    lengths = kept["stored_bytes"].astype(np.int64) + RECORD_HEADER_BYTES
    table["offset"] = FIRST_BODY_OFFSET + np.cumsum(lengths) - lengths
    table_bytes = table.tobytes()
    table_hash = blake3(table_bytes).digest()
    sealed = seal_hashes(
        [hashes[slot] for slot in kept["slot"].tolist()],
        lineage_id,
        table_hash,
        repository.config.repository_public_key,
    )
    front = encode_pack_header(lineage_id, tail.footer.meta)
    table_offset = len(front) + sum(map(len, records))
    sealed_hash = blake3(sealed).digest(length=16)
    footer = Footer(lineage_id, tail.footer.meta, len(table), table_offset, table_hash, sealed_hash)
    return b"".join((front, *records, table_bytes, sealed, encode_footer(footer)))


def compacted_bytes(tail: PackTail, condemned: SlotSet) -> int:
    """The length of what `compacted_pack` makes, told from the pack's end alone."""
    kept = tail.table[~np.isin(tail.table["slot"], condemned.array())]
    records = int(kept["stored_bytes"].sum(dtype="u8")) + len(kept) * (RECORD_HEADER_BYTES + TABLE_ENTRY.itemsize)
    return FIRST_BODY_OFFSET - RECORD_HEADER_BYTES + records + hashes_bytes_of(len(kept)) + FOOTER_BYTES


def _records(body: memoryview, kept: NDArray[np.void]) -> list[bytes | memoryview]:
    """Header and body of each, in turn. Columns as lists, no copies: rows of an array take ten times as long. Raises IntegrityError."""
    identities, proofs = kept["chunk_id"].tobytes(), kept["body_hash"].tobytes()
    fields = ("slot", "offset", "stored_bytes", "raw_bytes", "codec", "type")
    columns = [kept[name].tolist() for name in fields]
    records: list[bytes | memoryview] = []
    for number, (slot, offset, stored_bytes, raw_bytes, codec, kind) in enumerate(zip(*columns, strict=True)):
        proof = proofs[number * BODY_HASH_BYTES : (number + 1) * BODY_HASH_BYTES]
        identity = identities[number * CHUNK_ID_BYTES : (number + 1) * CHUNK_ID_BYTES]
        stored = body[offset : offset + stored_bytes]
        if body_hash_of(stored) != proof:
            raise IntegrityError(f"pack: the body of slot {slot} is altered")
        records += (record_header_of(slot, codec, kind, raw_bytes, stored_bytes, identity, proof), stored)
    return records


def proven_tail(body: bytes) -> PackTail:
    """The end of a whole pack, each body that its table names proven by its BLAKE3. Raises IntegrityError."""
    tail = whole_tail(body)
    _records(memoryview(body), tail.table)
    return tail


def whole_tail(body: bytes) -> PackTail:
    """The checked end of a whole pack. Raises IntegrityError."""
    if len(body) < FOOTER_BYTES:
        raise IntegrityError(f"pack: {len(body)} bytes are too few for a pack")
    footer = parse_footer(bytes(body[-FOOTER_BYTES:]))
    tail = parse_tail(bytes(body[-footer.tail_bytes :]), len(body))
    if isinstance(tail, int):
        raise IntegrityError("pack: cut short in its table of contents")
    return tail
