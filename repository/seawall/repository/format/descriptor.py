"""Header | length u32 | canonical JSON: the front of roots, manifests, config, key objects, and of all that ends with a signature."""

import struct

from seawall.repository.crypto.signing import SIGNATURE_BYTES, verify
from seawall.repository.errors import IntegrityError
from seawall.repository.format.header import HEADER_BYTES, check_header, encode_header

MAX_DESCRIPTOR_BYTES = 64 * 1024
_LENGTH = struct.Struct("<I")


def with_descriptor(magic: bytes, descriptor: bytes) -> bytes:
    """The front of an object. Raises ValueError when the descriptor is too long to be read again."""
    if len(descriptor) > MAX_DESCRIPTOR_BYTES:
        raise ValueError(f"a descriptor of {len(descriptor)} bytes; at most {MAX_DESCRIPTOR_BYTES}")
    return encode_header(magic) + _LENGTH.pack(len(descriptor)) + descriptor


def read_descriptor(body: bytes, magic: bytes, what: str) -> tuple[bytes, int]:
    """(descriptor, offset behind it). Raises IntegrityError, FormatUnsupported."""
    check_header(body, magic, what)
    start = HEADER_BYTES + _LENGTH.size
    if len(body) < start:
        raise IntegrityError(f"{what}: cut short")
    (length,) = _LENGTH.unpack_from(body, HEADER_BYTES)
    if length > MAX_DESCRIPTOR_BYTES or len(body) < start + length:
        raise IntegrityError(f"{what}: cut short")
    return body[start : start + length], start + length


def signed_part(body: bytes, magic: bytes, domain: bytes, public_key: bytes, what: str) -> tuple[bytes, int, int]:
    """(descriptor, offset behind it, offset of the signature) of an object that its signature ends, proven to be what was signed.

    Raises IntegrityError, FormatUnsupported.
    """
    descriptor, start = read_descriptor(body, magic, what)
    end = len(body) - SIGNATURE_BYTES
    if end < start:
        raise IntegrityError(f"{what}: cut short")
    verify(public_key, domain, body[:end], body[end:], what)
    return descriptor, start, end
