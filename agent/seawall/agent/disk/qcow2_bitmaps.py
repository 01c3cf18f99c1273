"""The dirty bitmaps that a qcow2 file stores, by name, read from its header.

QEMU writes them when it closes the file: one that was made since then is not among them.
"""

import struct
from collections.abc import Iterator
from typing import BinaryIO

from seawall.agent.disk.qcow2_header import extensions, padded, stand_at, version_in

_BITMAPS = 0x23852875
_BITMAPS_BODY = struct.Struct(">IIQQ")  # count, reserved, directory's size and offset
_ENTRY = struct.Struct(">QIIBBHI")  # table's offset and size, flags, type, granularity, name's and extra data's size
_LARGEST_DIRECTORY = 1024 * 1024
_IN_USE, _AUTO = 1, 2


def stored_bitmaps(path: str) -> frozenset[str]:
    """Empty for a file that stores none, is no qcow2 of version 3, cannot be read, or is being changed."""
    return frozenset(name for name, _ in _read(path))


def usable_bitmaps(path: str) -> frozenset[str]:
    """Of a file that nobody has open: those that tell of every change. Not one that QEMU had no time to write, nor one that it ignored."""
    return frozenset(name for name, flags in _read(path) if flags & _AUTO and not flags & _IN_USE)


def _read(path: str) -> list[tuple[str, int]]:
    try:
        with open(path, "rb") as file:
            return list(_entries(file))
    except (OSError, struct.error, UnicodeDecodeError):
        return []


def _entries(file: BinaryIO) -> Iterator[tuple[str, int]]:
    """(name, flags)."""
    version = version_in(file)
    if version < 3:
        return
    for kind, _ in extensions(file, version):
        if kind == _BITMAPS:
            count, _, size, offset = _BITMAPS_BODY.unpack(file.read(_BITMAPS_BODY.size))
            stand_at(file, offset)
            yield from _directory(file.read(min(size, _LARGEST_DIRECTORY)), count)
            return


def _directory(data: bytes, count: int) -> Iterator[tuple[str, int]]:
    at = 0
    for _ in range(count):
        _, _, flags, _, _, name_length, extra_length = _ENTRY.unpack_from(data, at)
        begin = at + _ENTRY.size + extra_length
        yield data[begin : begin + name_length].decode(), flags
        at += padded(_ENTRY.size + extra_length + name_length)
