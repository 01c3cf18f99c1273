"""Secrets at rest and in logs: an envelope under the key-encryption key (KEK), and a type that never shows itself."""

import hashlib
import os
import struct
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from seawall.controller.errors import DataLoss, FailedPrecondition

KEK_BYTES = 32
_MAGIC = b"SWS1"
_NONCE_BYTES = 12
_KEK_ID_BYTES = 8
_HEADER_BYTES = len(_MAGIC) + _KEK_ID_BYTES + _NONCE_BYTES


class Secret:
    """Bytes that print as ***. Ask for them by name: `reveal`."""

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        self._value = value

    def reveal(self) -> bytes:
        return self._value

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__

    def __reduce__(self) -> str:
        raise TypeError("a Secret is not to be pickled")


class SecretBox:
    """AES-256-GCM under one KEK. Thread-safe.

    Sealed = magic, kek id, nonce, ciphertext with tag. The context says what the secret is ("ca/root", "repository/<id>/s3"): what was
    sealed as one thing does not open as another, so rows and files cannot be swapped.
    """

    def __init__(self, kek: Secret) -> None:
        if len(kek.reveal()) != KEK_BYTES:
            raise DataLoss(
                "BAD_KEK",
                f"The key-encryption key must have {KEK_BYTES} bytes; restore the file kek from your backup of it.",
            )
        self._cipher = AESGCM(kek.reveal())
        self._kek_id = hashlib.sha256(b"seawall v1 kek id" + kek.reveal()).digest()[:_KEK_ID_BYTES]

    @classmethod
    def from_file(cls, path: Path) -> "SecretBox":
        """Raises FailedPrecondition/NOT_INITIALISED, DataLoss/BAD_KEK."""
        try:
            return cls(Secret(path.read_bytes()))
        except FileNotFoundError as error:
            raise FailedPrecondition(
                "NOT_INITIALISED", f"{path} does not exist; run `seawall controller init` first."
            ) from error

    @property
    def kek_id(self) -> str:
        """Names the KEK without telling it; hexadecimal."""
        return self._kek_id.hex()

    def seal(self, secret: Secret, context: str) -> bytes:
        nonce = os.urandom(_NONCE_BYTES)
        return _MAGIC + self._kek_id + nonce + self._cipher.encrypt(nonce, secret.reveal(), _aad(self._kek_id, context))

    def open(self, sealed: bytes, context: str) -> Secret:
        """Raises DataLoss/WRONG_KEK (sealed under another KEK), SECRET_DAMAGED (damaged, or sealed as something else)."""
        if len(sealed) < _HEADER_BYTES or not sealed.startswith(_MAGIC):
            raise DataLoss("SECRET_DAMAGED", f"The sealed secret {context!r} is not one; restore it from a backup.")
        kek_id = sealed[len(_MAGIC) : len(_MAGIC) + _KEK_ID_BYTES]
        if kek_id != self._kek_id:
            message = f"The secret {context!r} was sealed under key {kek_id.hex()}, not {self.kek_id}: the file kek is another one's."
            raise DataLoss("WRONG_KEK", message)
        nonce = sealed[_HEADER_BYTES - _NONCE_BYTES : _HEADER_BYTES]
        try:
            return Secret(self._cipher.decrypt(nonce, sealed[_HEADER_BYTES:], _aad(kek_id, context)))
        except InvalidTag as error:
            raise DataLoss(
                "SECRET_DAMAGED", f"The sealed secret {context!r} is damaged; restore it from a backup."
            ) from error


def _aad(kek_id: bytes, context: str) -> bytes:
    name = context.encode()
    return _MAGIC + kek_id + struct.pack("<I", len(name)) + name
