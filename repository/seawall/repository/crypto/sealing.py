"""Sealing to a public key: HPKE base mode (RFC 9180), DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM, empty AAD.

A sealed message is the encapsulated key (32) + ciphertext + tag (16). `info` binds it to its place; every use has a domain of its own.
Anybody can seal to a public key: what is opened is secret, not authentic, until a signature or a comparison says so.
"""

from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from seawall.repository.errors import IntegrityError

SEAL_OVERHEAD_BYTES = 32 + 16
RECIPIENT_ID_BYTES = 8

_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


def public_key_of(secret_key: bytes) -> bytes:
    """The X25519 public key, 32 bytes, of a secret key of 32 bytes."""
    return X25519PrivateKey.from_private_bytes(secret_key).public_key().public_bytes_raw()


def recipient_id(public_key: bytes) -> bytes:
    """8 bytes that stand beside a sealed message, so that a wrong key is told from damaged bytes."""
    return blake3(public_key, derive_key_context="seawall v1 recipient id").digest(length=RECIPIENT_ID_BYTES)


def seal_to(public_key: bytes, plaintext: bytes, info: bytes) -> bytes:
    """Seal for the owner of the X25519 key. Raises ValueError when that is no usable public key."""
    return _SUITE.encrypt(plaintext, X25519PublicKey.from_public_bytes(public_key), info)


def open_sealed(secret_key: bytes, sealed: bytes, info: bytes, what: str) -> bytes:
    """Raises IntegrityError, naming `what`, when message, key or info differ."""
    try:
        return _SUITE.decrypt(sealed, X25519PrivateKey.from_private_bytes(secret_key), info)
    except (InvalidTag, ValueError) as error:
        raise IntegrityError(f"{what}: the sealed key does not open: altered, swapped, or of another key") from error
