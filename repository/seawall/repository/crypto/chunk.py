"""Identity of chunks: the keyed hash, and the id and key derived from it. See repository/DESIGN.md, "Identity and secrecy"."""

HASH_BYTES = 32
CHUNK_ID_BYTES = 16


def chunk_hash(k_dedup: bytes, plaintext: bytes | memoryview) -> bytes:
    """`h`: BLAKE3 keyed with the dedup key, 32 bytes. Releases the GIL on large inputs."""
    raise NotImplementedError


def chunk_id(h: bytes) -> bytes:
    """The public name of a chunk, 16 bytes: BLAKE3 in derive-key mode, context "seawall v1 chunk id"."""
    raise NotImplementedError


def chunk_key(h: bytes) -> bytes:
    """The AES-256 key of a chunk, 32 bytes: BLAKE3 in derive-key mode, context "seawall v1 chunk key"."""
    raise NotImplementedError
