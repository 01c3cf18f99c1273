"""AES-256-GCM with our own errors. A sealed box is nonce (12) + ciphertext + tag (16)."""

import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from seawall.repository.errors import IntegrityError

KEY_BYTES = 32
NONCE_BYTES = 12
TAG_BYTES = 16
BOX_OVERHEAD_BYTES = NONCE_BYTES + TAG_BYTES


def new_nonce() -> bytes:
    """12 random bytes. Keys are used for one box, or for a handful of boxes of one plaintext, so chance never repeats a nonce."""
    return secrets.token_bytes(NONCE_BYTES)


def new_nonces(count: int) -> list[bytes]:
    """`new_nonce` so many times; the kernel is asked once."""
    drawn = secrets.token_bytes(NONCE_BYTES * count)
    return [drawn[at : at + NONCE_BYTES] for at in range(0, len(drawn), NONCE_BYTES)]


def seal_box(key: bytes, nonce: bytes, plaintext: bytes | memoryview, aad: bytes) -> bytes:
    """nonce + ciphertext + tag. Releases the GIL."""
    return nonce + AESGCM(key).encrypt(nonce, plaintext, aad)


def seal_box_into(target: memoryview, key: bytes, nonce: bytes, plaintext: bytes | memoryview, aad: bytes) -> None:
    """`seal_box` into memory of exactly the box's length."""
    target[:NONCE_BYTES] = nonce
    AESGCM(key).encrypt_into(nonce, plaintext, aad, target[NONCE_BYTES:])


def open_box(key: bytes, box: bytes | memoryview, aad: bytes, what: str) -> bytes:
    """The plaintext. Raises IntegrityError, naming `what`, when box, key or associated data differ from what was sealed."""
    if len(key) != KEY_BYTES:
        raise IntegrityError(f"{what}: the key has {len(key)} bytes, not {KEY_BYTES}")
    if len(box) < BOX_OVERHEAD_BYTES:
        raise IntegrityError(f"{what}: {len(box)} bytes are too few for a sealed box")
    try:
        return AESGCM(key).decrypt(bytes(box[:NONCE_BYTES]), memoryview(box)[NONCE_BYTES:], aad)
    except InvalidTag as error:
        raise IntegrityError(f"{what}: does not decrypt: altered, swapped, or of another key or repository") from error
