"""What a qcow2 file lies upon: its backing files, read from headers, with the formats that these record."""

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

_MAGIC = b"QFI\xfb"
_HEADER = struct.Struct(">4sIQI")  # magic, version, where the backing file's name lies, its length
_OLD_HEADER_BYTES, _HEADER_LENGTH_AT = 72, 100
_EXTENSION = struct.Struct(">II")
_BACKING_FORMAT = 0xE2792ACA
_LONGEST_NAME, _LONGEST_CHAIN = 1023, 200
_FILE_PREFIX = "file:"
_FEATURES_AT, _HAS_DATA_FILE = 72, 1 << 2


@dataclass(frozen=True, slots=True)
class Backing:
    """A backing file. `path`: "" where the name is no file's; `format`: "" where the header above it does not say."""

    name: str
    path: str
    format: str


def backing_chain(path: str) -> Iterator[Backing]:
    """Nearest first, to the last that is a qcow2 file by its record. Ends where a file cannot be read; QEMU says why."""
    for _ in range(_LONGEST_CHAIN):
        found = _backing(path)
        if found is None:
            return
        yield found
        if found.format != "qcow2" or not found.path:
            return
        path = found.path


def has_data_file(path: str) -> bool:
    """Whether what the guest wrote lies in another file, which the header names. False where it cannot be read; QEMU says why."""
    try:
        with open(path, "rb") as file:
            header = file.read(_FEATURES_AT + 8)
    except OSError:
        return False
    is_new = header[:4] == _MAGIC and int.from_bytes(header[4:8], "big") >= 3
    return is_new and bool(int.from_bytes(header[_FEATURES_AT:], "big") & _HAS_DATA_FILE)


def _backing(path: str) -> Backing | None:
    try:
        with open(path, "rb") as file:
            return _read(file, path)
    except (OSError, struct.error):
        return None


def _read(file: BinaryIO, path: str) -> Backing | None:
    magic, version, name_at, name_bytes = _HEADER.unpack(file.read(_HEADER.size))
    if magic != _MAGIC or version < 2 or not name_at or name_bytes > _LONGEST_NAME:
        return None
    file.seek(name_at)
    name = os.fsdecode(file.read(name_bytes))
    file.seek(_HEADER_LENGTH_AT)
    extensions_at = int.from_bytes(file.read(4), "big") if version >= 3 else _OLD_HEADER_BYTES
    file.seek(extensions_at)
    return Backing(name, _path_of(name, path), _format(file, name_at))


def _format(file: BinaryIO, end: int) -> str:
    """From the extensions, which lie before the name."""
    while file.tell() + _EXTENSION.size <= end:
        kind, length = _EXTENSION.unpack(file.read(_EXTENSION.size))
        if kind == 0:
            break
        body = file.read((length + 7) // 8 * 8)
        if kind == _BACKING_FORMAT:
            return body[:length].decode("ascii", errors="replace")
    return ""


def _path_of(name: str, above: str) -> str:
    """QEMU takes what stands before a colon for a protocol, but not behind a slash."""
    plain = name.removeprefix(_FILE_PREFIX)
    if ":" in plain.split("/", 1)[0]:
        return ""
    return os.path.join(os.path.dirname(above), plain)
