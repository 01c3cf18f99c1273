"""Ed25519 signatures under a domain of their own, so that a signature of one kind never passes as one of another kind."""

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from seawall.repository.errors import IntegrityError

SIGNATURE_BYTES = 64
MANIFEST_DOMAIN = b"seawall v1 manifest signature\x00"
CONFIG_DOMAIN = b"seawall v1 config signature\x00"
TOMBSTONE_DOMAIN = b"seawall v1 tombstone signature\x00"
CONDEMNED_DOMAIN = b"seawall v1 condemn log signature\x00"
OPEN_DOMAIN = b"seawall v1 open mark signature\x00"


def signing_public_key_of(secret_key: bytes) -> bytes:
    """The Ed25519 public key, 32 bytes, of a secret seed of 32 bytes."""
    return Ed25519PrivateKey.from_private_bytes(secret_key).public_key().public_bytes_raw()


def sign(secret_key: bytes, domain: bytes, message: bytes) -> bytes:
    """64 bytes over domain + message."""
    return Ed25519PrivateKey.from_private_bytes(secret_key).sign(domain + message)


def verify(public_key: bytes, domain: bytes, message: bytes, signature: bytes, what: str) -> None:
    """Raises IntegrityError, naming `what`, when the signature is not this key's over domain + message."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, domain + message)
    except (InvalidSignature, ValueError) as error:
        raise IntegrityError(f"{what}: the signature is not this repository's") from error
