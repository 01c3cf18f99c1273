"""Records: one chunk, compressed and sealed. Thread-safe, stateless but for the compressor per thread."""

from dataclasses import dataclass
from enum import IntEnum

MAX_CHUNK_BYTES = 16 * 1024 * 1024
"""No chunk is larger, data or meta; a frame that claims more is refused before it is decompressed."""


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


def seal_record(lineage_id: bytes, h: bytes, plaintext: bytes | memoryview, type: ChunkType, level: int) -> Record:
    """Compress (zstd, kept raw where that gains under 5 %) and seal with AES-256-GCM under the chunk's key, random nonce,
    AAD = suite + type + codec + raw length + chunk id + lineage id."""
    raise NotImplementedError


def open_record(
    lineage_id: bytes, k_dedup: bytes, h: bytes, type: ChunkType, codec: Codec, raw_bytes: int, body: bytes | memoryview
) -> bytes:
    """The plaintext, proven: decrypted, its frame size checked before decompressing, decompressed, `h` recomputed and compared.

    Raises IntegrityError.
    """
    raise NotImplementedError
