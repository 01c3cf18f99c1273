"""The header of a qcow2 file: its version, and the extensions behind it."""

import os
import struct
import sys
from collections.abc import Iterator
from typing import BinaryIO

_START = struct.Struct(">4sI")  # magic, version
_MAGIC = b"QFI\xfb"
_OLD_HEADER_BYTES, _HEADER_LENGTH_AT = 72, 100
_EXTENSION = struct.Struct(">II")  # kind, length


def version_in(file: BinaryIO) -> int:
    """Of the file, read from its start; 0: it is no qcow2. Raises OSError."""
    file.seek(0)
    start = file.read(_START.size)
    magic, version = _START.unpack(start) if len(start) == _START.size else (b"", 0)
    return int(version) if magic == _MAGIC else 0


def stand_at(file: BinaryIO, offset: int) -> None:
    """Where the header says. Raises struct.error where no file reaches: the kernel's offsets have 63 bits, a header's 64."""
    if offset > sys.maxsize:
        raise struct.error(f"offset {offset} lies beyond any file")
    file.seek(offset)


def extensions(file: BinaryIO, version: int, end: int = sys.maxsize) -> Iterator[tuple[int, int]]:
    """(kind, bytes) of each; the file stands at its body, and may be moved. `end`: where the header's room ends, with or without a mark.

    Raises OSError, and struct.error where the file ends within.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(_HEADER_LENGTH_AT)
    at = int.from_bytes(file.read(4), "big") if version >= 3 else _OLD_HEADER_BYTES
    while at + _EXTENSION.size <= end:
        file.seek(at)
        kind, length = _EXTENSION.unpack(file.read(_EXTENSION.size))
        if kind == 0:
            return
        yield kind, length
        at = min(at + _EXTENSION.size + padded(length), size)


def padded(length: int) -> int:
    """To eight bytes, as all that stands there is."""
    return (length + 7) // 8 * 8
