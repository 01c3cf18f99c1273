"""The file of a segment: written beside the old one, synced, then renamed over it; read through a memory map.

header | hosts (JSON, padded) | bounds | high | low | ref | packs (padded) | rows | BLAKE3 of all before it
"""

import json
import mmap
import os
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from seawall.controller.index.segment import PACK, ROW, U64, Merge, Segment

MAGIC = b"SWCHUNKS"
VERSION = 2
_HEADER = struct.Struct("<8sIIQQQQQ")  # magic, version, 0, bytes of hosts, hosts, entries, packs, rows
_DIGEST_BYTES = 32


class IndexDamaged(Exception):
    """The file cannot be used; the message says why."""


def write_merged(path: Path, merge: Merge) -> None:
    """Both segments of a merge as one file, in place of the one at `path`. Durable when it returns; a crash leaves the old file or the new.

    Raises OSError.
    """
    fresh = path.with_name(path.name + ".new")
    with open(fresh, "wb") as file:
        _write(_Hashing(file), merge)
        file.flush()
        os.fsync(file.fileno())
    os.replace(fresh, path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def read_segment(path: Path) -> Segment:
    """Map and check a file. Raises IndexDamaged (missing, truncated, flipped, another version), OSError."""
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size < _HEADER.size + _DIGEST_BYTES:
                raise IndexDamaged(f"{path} is too short")
            mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
    except FileNotFoundError as error:
        raise IndexDamaged(f"{path} does not exist") from error
    view = memoryview(mapped)
    if blake3(view[:-_DIGEST_BYTES]).digest() != bytes(view[-_DIGEST_BYTES:]):
        raise IndexDamaged(f"{path} is not what was written")
    return _segment(path, mapped)


def _segment(path: Path, mapped: mmap.mmap) -> Segment:
    magic, version, _, hosts_bytes, host_count, entries, packs, rows = _HEADER.unpack_from(mapped)
    if magic != MAGIC or version != VERSION:
        raise IndexDamaged(f"{path} is not a chunk index of version {VERSION}")
    hosts = tuple(json.loads(mapped[_HEADER.size : _HEADER.size + hosts_bytes]))
    at = _HEADER.size + _padded(hosts_bytes)
    arrays: list[Any] = []
    for dtype, count in (
        (U64, host_count + 1),
        (U64, entries),
        (U64, entries),
        (U64, entries),
        (PACK, packs),
        (ROW, rows),
    ):
        arrays.append(np.frombuffer(mapped, dtype, count, at))
        at += _padded(dtype.itemsize * count)
    bounds, high, low, ref, pack_table, row_table = arrays
    return Segment(hosts, bounds, high, low, ref, pack_table, row_table, owner=mapped)


class _Hashing:
    """A file that knows the BLAKE3 of what went through."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hash = blake3()

    def write(self, pieces: Iterable[memoryview | bytes]) -> None:
        """The pieces, then zeroes up to the next multiple of 8."""
        written = 0
        for piece in pieces:
            self._hash.update(piece)
            written += self._file.write(piece)
        padding = bytes(_padded(written) - written)
        self._hash.update(padding)
        self._file.write(padding)

    def finish(self) -> None:
        self._file.write(self._hash.digest())


def _write(out: _Hashing, merge: Merge) -> None:
    hosts = json.dumps(merge.hosts).encode()
    packs = merge.packs()
    entries = merge.old.entries + merge.new.entries
    rows = len(merge.old.rows) + len(merge.new.rows)
    out.write([_HEADER.pack(MAGIC, VERSION, 0, len(hosts), len(merge.hosts), entries, len(packs), rows)])
    out.write([hosts])
    out.write([_bytes_of(merge.bounds)])
    for column in merge.columns():
        out.write(_bytes_of(piece) for piece in column)
    out.write([_bytes_of(packs)])
    out.write([_bytes_of(merge.old.rows), _bytes_of(merge.new.rows)])
    out.finish()


def _bytes_of(array: NDArray[Any]) -> memoryview:
    return np.ascontiguousarray(array).view(np.uint8).reshape(-1).data


def _padded(length: int) -> int:
    return (length + 7) & ~7
