"""Identity of chunks: the keyed hash, and the id and key derived from it. See repository/DESIGN.md, "Identity and secrecy".

Called by the writing pipeline for each chunk, by `format.record` on every read. Pure.
"""

from blake3 import blake3

HASH_BYTES = 32
CHUNK_ID_BYTES = 16
CHUNK_KEY_BYTES = 32

ID_CONTEXT = "seawall v1 chunk id"
KEY_CONTEXT = "seawall v1 chunk key"


def chunk_hash(k_dedup: bytes, plaintext: bytes | memoryview) -> bytes:
    """`h`: BLAKE3 keyed with the dedup key, 32 bytes. Releases the GIL on large inputs."""
    return blake3(plaintext, key=k_dedup).digest()


def chunk_id(h: bytes) -> bytes:
    """The public name of a chunk, 16 bytes: BLAKE3 in derive-key mode, context "seawall v1 chunk id"."""
    return blake3(h, derive_key_context=ID_CONTEXT).digest(length=CHUNK_ID_BYTES)


def chunk_key(h: bytes) -> bytes:
    """The AES-256 key of a chunk, 32 bytes: BLAKE3 in derive-key mode, context "seawall v1 chunk key"."""
    return blake3(h, derive_key_context=KEY_CONTEXT).digest(length=CHUNK_KEY_BYTES)
