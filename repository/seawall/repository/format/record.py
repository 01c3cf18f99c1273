"""Records: one chunk, compressed and sealed. Thread-safe."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

import numpy as np
from blake3 import blake3

from seawall.repository.crypto.aead import BOX_OVERHEAD_BYTES, new_nonces, open_box, seal_box_into
from seawall.repository.crypto.chunk import HASH_BYTES, chunk_hash, chunk_id, chunk_key
from seawall.repository.errors import IntegrityError
from seawall.repository.format.compression import decompressed, frames_of, plaintexts_of
from seawall.repository.format.header import SUITE

MAX_CHUNK_BYTES = 16 * 1024 * 1024
"""No chunk is larger, data or meta; a frame that claims more is refused before it is decompressed."""

LINEAGE_ID_BYTES = 16
BODY_HASH_BYTES = 16


class Codec(IntEnum):
    RAW = 0
    ZSTD = 1


class ChunkType(IntEnum):
    DATA = 0
    META = 1
    """Pages and nodes of manifests, members (domain XML, NVRAM)."""


class Record(NamedTuple):
    """A sealed chunk, ready for a pack. `body` = nonce (12) + ciphertext + tag (16). A tuple: it is made in a third of the time."""

    h: bytes
    chunk_id: bytes
    type: ChunkType
    codec: Codec
    raw_bytes: int
    body: bytes | memoryview
    body_hash: bytes = b""
    """BLAKE3-16 of the body where whoever sealed it knows it; a pack builder computes it otherwise."""


@dataclass(frozen=True, slots=True)
class Locator:
    """Where a chunk's record body lies. `offset` and `stored_bytes` hold for this generation of the pack only; the slot holds for all."""

    pack_id: bytes
    generation: int
    slot: int
    offset: int
    stored_bytes: int
    raw_bytes: int
    codec: Codec


_AAD = struct.Struct("<HBBI16s16s")


Plain = tuple[bytes, bytes | memoryview]
"""A chunk to be sealed: `h` and its bytes."""


class PlainChunk(NamedTuple):
    """The same where its id is known already: it costs as much as a hundredth of compressing."""

    h: bytes
    chunk_id: bytes
    data: bytes | memoryview


def seal_record(lineage_id: bytes, h: bytes, plaintext: bytes | memoryview, type: ChunkType, level: int) -> Record:
    """Compress (zstd, kept raw where that gains under 5 %) and seal with AES-256-GCM under the chunk's key, random nonce,
    AAD = suite + type + codec + raw length + chunk id + lineage id.

    Raises ValueError when the plaintext is over MAX_CHUNK_BYTES or an id has the wrong length.
    """
    return seal_records(lineage_id, [(h, plaintext)], type, level)[0]


def seal_records(lineage_id: bytes, chunks: Sequence[Plain], type: ChunkType, level: int) -> list[Record]:
    """`seal_record` of each. The bodies share one piece of memory, which lives as long as one of them does."""
    return seal_with_nonces(lineage_id, chunks, type, level, new_nonces(len(chunks)))


def seal_with_nonces(
    lineage_id: bytes, chunks: Sequence[Plain], type: ChunkType, level: int, nonces: Sequence[bytes]
) -> list[Record]:
    """`seal_records` with the nonces given: for golden vectors only, as one key must never meet one nonce twice."""
    known = [PlainChunk(h, chunk_id(h), plaintext) for h, plaintext in chunks]
    return seal_apart(lineage_id, known, type, level, nonces, 0)[0]


def seal_apart(
    lineage_id: bytes,
    chunks: Sequence[PlainChunk],
    type: ChunkType,
    level: int,
    nonces: Sequence[bytes],
    gap_bytes: int,
) -> tuple[list[Record], memoryview]:
    """(records, the memory that their bodies share): before each body that many bytes that nobody wrote to."""
    if len(lineage_id) != LINEAGE_ID_BYTES or any(
        len(chunk.data) > MAX_CHUNK_BYTES or len(chunk.h) != HASH_BYTES for chunk in chunks
    ):
        raise ValueError("a chunk is at most 16 MiB, its hash 32 bytes, a lineage id 16 bytes")
    packed = _packed([chunk.data for chunk in chunks], level)
    size = sum([len(data) for _, data in packed]) + (gap_bytes + BOX_OVERHEAD_BYTES) * len(packed)
    room = memoryview(np.empty(size, dtype=np.uint8))  # type: ignore[arg-type]  # not cleared first, as a bytearray is
    records, end = [], 0
    for (h, identity, plaintext), (codec, data), nonce in zip(chunks, packed, nonces, strict=True):
        start = end + gap_bytes
        end = start + len(data) + BOX_OVERHEAD_BYTES
        body, raw_bytes = room[start:end], len(plaintext)
        aad = _AAD.pack(SUITE, type, codec, raw_bytes, identity, lineage_id)
        seal_box_into(body, chunk_key(h), nonce, data, aad)
        records.append(Record(h, identity, type, codec, raw_bytes, body, blake3(body).digest(length=BODY_HASH_BYTES)))
    return records, room


class SealedChunk(NamedTuple):
    """What must be known of a record to open it. `body`: as it lies in the pack."""

    h: bytes
    codec: Codec
    raw_bytes: int
    body: bytes | memoryview


def open_record(
    lineage_id: bytes, k_dedup: bytes, h: bytes, type: ChunkType, codec: Codec, raw_bytes: int, body: bytes | memoryview
) -> bytes:
    """The plaintext, proven: decrypted, its frame size checked before decompressing, decompressed, `h` recomputed and compared.

    Raises IntegrityError.
    """
    packed = _decrypted(lineage_id, type, SealedChunk(h, codec, raw_bytes, body))
    plaintext = packed if codec == Codec.RAW else decompressed(packed, raw_bytes, _name_of(h))
    _prove(k_dedup, h, raw_bytes, plaintext)
    return plaintext


def open_records(
    lineage_id: bytes, k_dedup: bytes, type: ChunkType, chunks: Sequence[SealedChunk]
) -> list[bytes | memoryview]:
    """`open_record` of each, in their order, but that zstd is called once and its frames are not searched for more than one each.

    Raises IntegrityError where one of them does not open: `open_record` tells which.
    """
    packed = [_decrypted(lineage_id, type, chunk) for chunk in chunks]
    frames = [(data, chunk.raw_bytes) for data, chunk in zip(packed, chunks, strict=True) if chunk.codec != Codec.RAW]
    unpacked = iter(plaintexts_of(frames))
    plaintexts: list[bytes | memoryview] = []
    for chunk, data in zip(chunks, packed, strict=True):
        plaintext = data if chunk.codec == Codec.RAW else next(unpacked)
        _prove(k_dedup, chunk.h, chunk.raw_bytes, plaintext)
        plaintexts.append(plaintext)
    return plaintexts


def _decrypted(lineage_id: bytes, type: ChunkType, chunk: SealedChunk) -> bytes:
    if len(chunk.h) != HASH_BYTES:
        raise IntegrityError(f"a chunk hash of {len(chunk.h)} bytes")
    what, raw_bytes = _name_of(chunk.h), chunk.raw_bytes
    if not 0 <= raw_bytes <= MAX_CHUNK_BYTES:
        raise IntegrityError(f"{what}: claims {raw_bytes} bytes, over the maximum of {MAX_CHUNK_BYTES}")
    aad = _associated_data(lineage_id, chunk_id(chunk.h), type, chunk.codec, raw_bytes)
    return open_box(chunk_key(chunk.h), chunk.body, aad, what)


def _prove(k_dedup: bytes, h: bytes, raw_bytes: int, plaintext: bytes | memoryview) -> None:
    if len(plaintext) != raw_bytes:
        raise IntegrityError(f"{_name_of(h)}: holds {len(plaintext)} bytes, not {raw_bytes}")
    if chunk_hash(k_dedup, plaintext) != h:
        raise IntegrityError(
            f"{_name_of(h)}: its content is not what its hash says; a writer stored something else under this id"
        )


def _name_of(h: bytes) -> str:
    return f"chunk {chunk_id(h).hex()}"


def body_hash_of(body: bytes | memoryview) -> bytes:
    """What a pack's table and a record's header say of a body: BLAKE3, 16 bytes."""
    return blake3(body).digest(length=BODY_HASH_BYTES)


def stored_bytes_of_raw(raw_bytes: int) -> int:
    """The length of a record body whose chunk is kept raw."""
    return raw_bytes + BOX_OVERHEAD_BYTES


def _packed(plaintexts: Sequence[bytes | memoryview], level: int) -> list[tuple[Codec, bytes | memoryview]]:
    """Each as its frame, or as it is where that is hardly longer."""
    frames = iter(frames_of([plaintext for plaintext in plaintexts if plaintext], level))
    packed: list[tuple[Codec, bytes | memoryview]] = []
    for plaintext in plaintexts:
        frame = next(frames) if plaintext else plaintext
        shorter = plaintext and len(frame) * 100 <= len(plaintext) * 95
        packed.append((Codec.ZSTD, frame) if shorter else (Codec.RAW, plaintext))
    return packed


def _associated_data(lineage_id: bytes, identity: bytes, type: ChunkType, codec: Codec, raw_bytes: int) -> bytes:
    return _AAD.pack(SUITE, type, codec, raw_bytes, identity, lineage_id)
