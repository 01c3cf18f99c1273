"""The first 16 bytes of every object and of every page of a manifest: magic, version, suite, zeroes. Called by every codec here.

A change that an older reader would misread raises VERSION or SUITE of that object; both are checked before anything else is read.
"""

import struct

from seawall.repository.errors import FormatUnsupported, IntegrityError

VERSION = 1
SUITE = 1
"""BLAKE3, AES-256-GCM, HPKE (X25519, HKDF-SHA256, AES-256-GCM), Ed25519, zstd."""

PACK = b"SEAWPACK"
PACK_FOOTER = b"SEAWPFTR"
LEAF = b"SEAWLEAF"
NODE = b"SEAWNODE"
ROOT = b"SEAWROOT"
MANIFEST = b"SEAWMANI"
REFMAP = b"SEAWREFM"
CONFIG = b"SEAWCONF"
KEYS = b"SEAWKEYS"
TOMBSTONE = b"SEAWTOMB"
CONDEMNED = b"SEAWCOND"
EXPORT = b"SEAWEXPT"
OPEN = b"SEAWOPEN"

_HEADER = struct.Struct("<8sHHI")
HEADER_BYTES = _HEADER.size


def encode_header(magic: bytes) -> bytes:
    """16 bytes: magic (8), version u16, suite u16, zero u32."""
    return _HEADER.pack(magic, VERSION, SUITE, 0)


def of_this_version(body: bytes) -> bytes:
    """The same bytes with our version and suite in their header: what was written, if only those were altered."""
    return body[:8] + encode_header(body[:8])[8:12] + body[12:]


def check_header(body: bytes | bytearray | memoryview, magic: bytes, what: str) -> None:
    """Raises IntegrityError (too short, other magic, reserved bytes set), FormatUnsupported (other version or suite)."""
    if len(body) < HEADER_BYTES:
        raise IntegrityError(f"{what}: {len(body)} bytes are too few for its header")
    found, version, suite, reserved = _HEADER.unpack_from(body)
    if found != magic:
        raise IntegrityError(f"{what}: begins with {found!r}, not with {magic!r}")
    if version != VERSION:
        raise FormatUnsupported(f"{what}: format version {version}; this Seawall reads version {VERSION}: upgrade it")
    if suite != SUITE:
        raise FormatUnsupported(f"{what}: cipher suite {suite}; this Seawall knows suite {SUITE}: upgrade it")
    if reserved != 0:
        raise IntegrityError(f"{what}: reserved header bytes are not zero")
