"""Header | length u32 | canonical JSON: the front of roots, manifests, config and key objects."""

import struct

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
