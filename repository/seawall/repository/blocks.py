"""Reading and writing at places of an open file or device: restored disks, image files and block devices of a rescue."""

import errno
import os
from collections.abc import Iterator

PIECE_BYTES = 1024 * 1024
_ZEROES = bytes(PIECE_BYTES)


def write_at(descriptor: int, offset: int, data: bytes | memoryview) -> None:
    """All of it. Raises OSError."""
    rest = memoryview(data).cast("B")
    while rest:
        written = os.pwrite(descriptor, rest, offset)
        offset, rest = offset + written, rest[written:]


def read_at(descriptor: int, offset: int, length: int) -> bytes:
    """Fewer bytes only where it ends. Raises OSError."""
    parts: list[bytes] = []
    while length:
        part = os.pread(descriptor, length, offset)
        if not part:
            break
        parts.append(part)
        offset, length = offset + len(part), length - len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def pieces(offset: int, length: int, piece_bytes: int = PIECE_BYTES) -> Iterator[tuple[int, int]]:
    """(offset, length) of parts of at most `piece_bytes`."""
    end = offset + length
    while offset < end:
        part = min(piece_bytes, end - offset)
        yield offset, part
        offset += part


def is_zero(data: bytes) -> bool:
    """Of at most PIECE_BYTES."""
    return data == (_ZEROES if len(data) == PIECE_BYTES else _ZEROES[: len(data)])


def write_zeroes(descriptor: int, offset: int, length: int) -> None:
    """Where there is something else only, so that no hole is filled. Raises OSError."""
    for at, size in pieces(offset, length):
        if not is_zero(read_at(descriptor, at, size)):
            write_at(descriptor, at, _ZEROES[:size])


def data_ranges(descriptor: int, offset: int, length: int) -> Iterator[tuple[int, int]]:
    """(offset, length) of what is no hole. A file system that knows no holes calls all of it data. Raises OSError."""
    end = offset + length
    while offset < end:
        try:
            start = os.lseek(descriptor, offset, os.SEEK_DATA)
            hole = os.lseek(descriptor, start, os.SEEK_HOLE)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            return  # only holes follow
        if start >= end:
            return
        yield start, min(hole, end) - start
        offset = hole
