"""The offline recovery key: a printed X25519 secret that opens a repository when controller and database are gone.

Made by the client that adds the repository (it never stands in the bucket), typed back by a person in an emergency: so base32 without
look-alikes (Crockford), groups of four, a checksum.
"""

import base64

from blake3 import blake3

from seawall.repository.crypto.keys import SECRET_BYTES
from seawall.repository.errors import WrongKey

_VERSION = 1
_CHECKSUM_BYTES = 7
_PAYLOAD_BYTES = 1 + SECRET_BYTES + _CHECKSUM_BYTES
_GROUP = 4
_RFC = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_TO_CROCKFORD = str.maketrans(_RFC, _CROCKFORD)
_FROM_CROCKFORD = str.maketrans(_CROCKFORD + "OIL", _RFC + "ABB")  # O read as 0; I and L as 1
_CHARACTERS = _PAYLOAD_BYTES * 8 // 5


def recovery_key_text(secret_key: bytes) -> str:
    """64 characters in 16 groups of four, joined by hyphens. `secret_key`: X25519, 32 bytes."""
    if len(secret_key) != SECRET_BYTES:
        raise ValueError(f"a recovery key has {SECRET_BYTES} bytes, not {len(secret_key)}")
    content = bytes([_VERSION]) + secret_key
    text = base64.b32encode(content + _checksum(content)).decode("ascii").translate(_TO_CROCKFORD)
    return "-".join(text[start : start + _GROUP] for start in range(0, len(text), _GROUP))


def parse_recovery_key(text: str) -> bytes:
    """The secret key, 32 bytes. Blanks, hyphens and case do not matter. Raises WrongKey, saying what is wrong with the text."""
    characters = "".join(text.split()).replace("-", "").upper()
    strange = sorted(set(characters) - set(_CROCKFORD) - set("OIL"))
    if strange:
        raise WrongKey(f"recovery key: {strange[0]!r} cannot stand in a recovery key")
    if len(characters) != _CHARACTERS:
        raise WrongKey(
            f"recovery key: {len(characters)} characters; it has {_CHARACTERS} ({_CHARACTERS // _GROUP} groups of {_GROUP})"
        )
    payload = base64.b32decode(characters.translate(_FROM_CROCKFORD))
    content, checksum = payload[:-_CHECKSUM_BYTES], payload[-_CHECKSUM_BYTES:]
    if checksum != _checksum(content):
        raise WrongKey("recovery key: the checksum does not hold: a character is mistyped or two are swapped")
    if content[0] != _VERSION:
        raise WrongKey(f"recovery key: of version {content[0]}; this Seawall reads version {_VERSION}: upgrade it")
    return content[1:]


def _checksum(content: bytes) -> bytes:
    return blake3(content, derive_key_context="seawall v1 recovery key checksum").digest(length=_CHECKSUM_BYTES)
