"""What a qcow2 file lies upon: its backing files, read from headers, with the formats that these record."""

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from seawall.agent.disk.qcow2_header import extensions, stand_at, version_in

_BACKING_AT, _BACKING = 8, struct.Struct(">QI")  # where the backing file's name lies, its length
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
            is_new = version_in(file) >= 3
            file.seek(_FEATURES_AT)
            return is_new and bool(int.from_bytes(file.read(8), "big") & _HAS_DATA_FILE)
    except OSError:
        return False


def _backing(path: str) -> Backing | None:
    try:
        with open(path, "rb") as file:
            return _read(file, path)
    except (OSError, struct.error):
        return None


def _read(file: BinaryIO, path: str) -> Backing | None:
    version = version_in(file)
    file.seek(_BACKING_AT)
    name_at, name_bytes = _BACKING.unpack(file.read(_BACKING.size))
    if version < 2 or not name_at or name_bytes > _LONGEST_NAME:
        return None
    stand_at(file, name_at)
    name = os.fsdecode(file.read(name_bytes))
    return Backing(name, _path_of(name, path), _format(file, version, name_at))


def _format(file: BinaryIO, version: int, end: int) -> str:
    """From the extensions, which lie before the name."""
    for kind, length in extensions(file, version, end):
        if kind == _BACKING_FORMAT:
            return file.read(min(length, _LONGEST_NAME)).decode("ascii", errors="replace")
    return ""


def _path_of(name: str, above: str) -> str:
    """QEMU takes what stands before a colon for a protocol, but not behind a slash."""
    plain = name.removeprefix(_FILE_PREFIX)
    if ":" in plain.split("/", 1)[0]:
        return ""
    return os.path.join(os.path.dirname(above), plain)
