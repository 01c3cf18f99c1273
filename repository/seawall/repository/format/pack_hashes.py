"""The sealed list of h of a pack: sealed key (80) | nonce (12) | AES-GCM over 32 bytes per slot, in table order.

A fresh AES key is sealed to the repository's public key, so that only trusted readers (the verifier, rescue) may open the chunks of a
pack that no manifest names yet. Info and AAD bind it to the lineage and to the table of contents.
"""

import secrets
from collections.abc import Sequence

from seawall.repository.crypto.aead import KEY_BYTES, new_nonce, open_box, seal_box
from seawall.repository.crypto.chunk import HASH_BYTES
from seawall.repository.crypto.sealing import SEAL_OVERHEAD_BYTES, open_sealed, seal_to
from seawall.repository.errors import IntegrityError

_DOMAIN = b"seawall v1 pack hashes\x00"
_SEALED_KEY_BYTES = SEAL_OVERHEAD_BYTES + KEY_BYTES


def seal_hashes(hashes: Sequence[bytes], lineage_id: bytes, table_hash: bytes, public_key: bytes) -> bytes:
    """The list as it stands in the pack, under a fresh key."""
    key = secrets.token_bytes(KEY_BYTES)
    sealed_key = seal_to(public_key, key, hashes_binding(lineage_id, table_hash))
    return assemble_hashes(hashes, lineage_id, table_hash, sealed_key, key, new_nonce())


def hashes_binding(lineage_id: bytes, table_hash: bytes) -> bytes:
    """HPKE info and AAD: `table_hash` is BLAKE3 of the table of contents, 32 bytes."""
    return _DOMAIN + lineage_id + table_hash


def assemble_hashes(
    hashes: Sequence[bytes], lineage_id: bytes, table_hash: bytes, sealed_key: bytes, key: bytes, nonce: bytes
) -> bytes:
    """The deterministic rest of `seal_hashes`; golden vectors call it with fixed key and nonce."""
    return sealed_key + seal_box(key, nonce, b"".join(hashes), hashes_binding(lineage_id, table_hash))


def unseal_hashes(sealed: bytes, lineage_id: bytes, table_hash: bytes, secret_key: bytes) -> list[bytes]:
    """In table order. Raises IntegrityError."""
    binding = hashes_binding(lineage_id, table_hash)
    what = "pack's list of hashes"
    key = open_sealed(secret_key, sealed[:_SEALED_KEY_BYTES], binding, what)
    flat = open_box(key, sealed[_SEALED_KEY_BYTES:], binding, what)
    if len(flat) % HASH_BYTES:
        raise IntegrityError(f"{what}: {len(flat)} bytes are no whole number of hashes")
    return [flat[start : start + HASH_BYTES] for start in range(0, len(flat), HASH_BYTES)]
