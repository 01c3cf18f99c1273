"""Records: one chunk, compressed and sealed. Thread-safe, stateless but for the compressor per thread."""

import struct
import threading
from dataclasses import dataclass
from enum import IntEnum

import zstandard
from blake3 import blake3

from seawall.repository.crypto.aead import BOX_OVERHEAD_BYTES, new_nonce, open_box, seal_box
from seawall.repository.crypto.chunk import HASH_BYTES, chunk_hash, chunk_id, chunk_key
from seawall.repository.errors import IntegrityError
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


@dataclass(frozen=True, slots=True)
class Record:
    """A sealed chunk, ready for a pack. `body` = nonce (12) + ciphertext + tag (16)."""

    h: bytes
    chunk_id: bytes
    type: ChunkType
    codec: Codec
    raw_bytes: int
    body: bytes
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


class _Zstandard(threading.local):
    """A compressor per thread and level, a decompressor per thread: neither may be shared while it works."""

    def __init__(self) -> None:
        self.decompressor = zstandard.ZstdDecompressor()
        self._compressors: dict[int, zstandard.ZstdCompressor] = {}

    def compressor(self, level: int) -> zstandard.ZstdCompressor:
        found = self._compressors.get(level)
        if found is None:
            found = self._compressors[level] = zstandard.ZstdCompressor(level=level)
        return found


_zstandard = _Zstandard()


def seal_record(lineage_id: bytes, h: bytes, plaintext: bytes | memoryview, type: ChunkType, level: int) -> Record:
    """Compress (zstd, kept raw where that gains under 5 %) and seal with AES-256-GCM under the chunk's key, random nonce,
    AAD = suite + type + codec + raw length + chunk id + lineage id.

    Raises ValueError when the plaintext is over MAX_CHUNK_BYTES or an id has the wrong length.
    """
    return seal_with_nonce(lineage_id, h, plaintext, type, level, new_nonce())


def seal_with_nonce(
    lineage_id: bytes, h: bytes, plaintext: bytes | memoryview, type: ChunkType, level: int, nonce: bytes
) -> Record:
    """`seal_record` with the nonce given: for golden vectors only, as one key must never meet one nonce twice."""
    if len(plaintext) > MAX_CHUNK_BYTES or len(h) != HASH_BYTES or len(lineage_id) != LINEAGE_ID_BYTES:
        raise ValueError("a chunk is at most 16 MiB, its hash 32 bytes, a lineage id 16 bytes")
    codec, packed = _compressed(plaintext, level)
    identity = chunk_id(h)
    aad = _associated_data(lineage_id, identity, type, codec, len(plaintext))
    body = seal_box(chunk_key(h), nonce, packed, aad)
    return Record(h, identity, type, codec, len(plaintext), body, body_hash_of(body))


def open_record(
    lineage_id: bytes, k_dedup: bytes, h: bytes, type: ChunkType, codec: Codec, raw_bytes: int, body: bytes | memoryview
) -> bytes:
    """The plaintext, proven: decrypted, its frame size checked before decompressing, decompressed, `h` recomputed and compared.

    Raises IntegrityError.
    """
    if len(h) != HASH_BYTES:
        raise IntegrityError(f"a chunk hash of {len(h)} bytes")
    identity = chunk_id(h)
    what = f"chunk {identity.hex()}"
    if not 0 <= raw_bytes <= MAX_CHUNK_BYTES:
        raise IntegrityError(f"{what}: claims {raw_bytes} bytes, over the maximum of {MAX_CHUNK_BYTES}")
    aad = _associated_data(lineage_id, identity, type, codec, raw_bytes)
    packed = open_box(chunk_key(h), body, aad, what)
    plaintext = packed if codec == Codec.RAW else _decompressed(packed, raw_bytes, what)
    if len(plaintext) != raw_bytes:
        raise IntegrityError(f"{what}: holds {len(plaintext)} bytes, not {raw_bytes}")
    if chunk_hash(k_dedup, plaintext) != h:
        raise IntegrityError(
            f"{what}: its content is not what its hash says; a writer stored something else under this id"
        )
    return plaintext


def body_hash_of(body: bytes | memoryview) -> bytes:
    """What a pack's table and a record's header say of a body: BLAKE3, 16 bytes."""
    return blake3(body).digest(length=BODY_HASH_BYTES)


def stored_bytes_of_raw(raw_bytes: int) -> int:
    """The length of a record body whose chunk is kept raw."""
    return raw_bytes + BOX_OVERHEAD_BYTES


def _compressed(plaintext: bytes | memoryview, level: int) -> tuple[Codec, bytes | memoryview]:
    frame = _zstandard.compressor(level).compress(plaintext)
    if len(frame) * 100 <= len(plaintext) * 95:
        return Codec.ZSTD, frame
    return Codec.RAW, plaintext


def _decompressed(frame: bytes, raw_bytes: int, what: str) -> bytes:
    """The size in the frame is compared before a byte is decompressed: 32 KiB can claim, and become, 1 GiB."""
    try:
        claimed = zstandard.get_frame_parameters(frame).content_size
        if claimed != raw_bytes:
            raise IntegrityError(f"{what}: its frame claims {claimed} bytes, its record {raw_bytes}")
        return _zstandard.decompressor.decompress(frame, max_output_size=raw_bytes, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise IntegrityError(f"{what}: does not decompress") from error


def _associated_data(lineage_id: bytes, identity: bytes, type: ChunkType, codec: Codec, raw_bytes: int) -> bytes:
    return _AAD.pack(SUITE, type, codec, raw_bytes, identity, lineage_id)
