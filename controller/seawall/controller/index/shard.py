"""The file of a segment: written once under a name never used before, synced, then named in the listing; read through a memory map.

header | hosts (JSON) | directory | filter | packs | high | low | row | rows, each padded to 8 bytes. Its BLAKE3 stands in the listing.
"""

import json
import mmap
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from blake3 import blake3

from seawall.controller.index.layout import AnyArray
from seawall.controller.index.merge import Merge, column_shapes, write_merge
from seawall.controller.index.segment import Segment

MAGIC = b"SWSHARD\x00"
VERSION = 1
_HEADER = struct.Struct("<8sIIQQQ")  # magic, version, bytes of hosts, entries, packs, rows


class IndexDamaged(Exception):
    """A file cannot be used; the message says why."""


def write_shard(path: Path, merge: Merge, go_on: Callable[[], None] = lambda: None) -> str:
    """Durable when it returns its BLAKE3, all but its name in the folder. What breaks off half-way leaves no file.

    Raises OSError; what `go_on` raises.
    """
    entries = merge.entries()
    try:
        with open(path, "xb") as file:
            output = _File(file.fileno(), merge, entries)
            write_merge(merge, entries, output, go_on)
            digest = digest_of(path)
            os.fsync(file.fileno())
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return digest


def read_shard(path: Path, digest: str) -> Segment:
    """Check a file against its BLAKE3 and map it. Raises IndexDamaged (missing, truncated, flipped, another version), OSError."""
    try:
        if digest_of(path) != digest:
            raise IndexDamaged(f"{path} is not what was written")
    except FileNotFoundError as error:
        raise IndexDamaged(f"{path} does not exist") from error
    return map_shard(path, lookups=True)


def map_shard(path: Path, *, lookups: bool) -> Segment:
    """Without a check. For lookups the system reads single pages; else, for merges, it reads ahead. Raises IndexDamaged, OSError."""
    with open(path, "rb") as file:
        if os.fstat(file.fileno()).st_size < _HEADER.size:
            raise IndexDamaged(f"{path} is too short")
        mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
    mapped.madvise(mmap.MADV_RANDOM if lookups else mmap.MADV_SEQUENTIAL)
    magic, version, hosts_bytes, entries, packs, rows = _HEADER.unpack_from(mapped)
    if magic != MAGIC or version != VERSION:
        raise IndexDamaged(f"{path} is not a shard of version {VERSION}")
    hosts = tuple(json.loads(mapped[_HEADER.size : _HEADER.size + hosts_bytes]))
    columns = {
        name: np.frombuffer(mapped, dtype, count, offset)
        for name, dtype, count, offset in _columns(hosts_bytes, entries, packs, rows)
    }
    return Segment(hosts, **columns, owner=mapped)


def digest_of(path: Path) -> str:
    """BLAKE3 of a file, in hex, by all processors. Raises OSError."""
    return blake3(max_threads=blake3.AUTO).update_mmap(path).hexdigest()


class _File:
    def __init__(self, descriptor: int, merge: Merge, entries: int) -> None:
        hosts = json.dumps(merge.hosts).encode()
        self._descriptor = descriptor
        self._offsets: dict[str, tuple[int, int]] = {}
        end = 0
        for name, dtype, count, offset in _columns(len(hosts), entries, len(merge.packs), merge.rows):
            self._offsets[name] = (offset, dtype.itemsize)
            end = offset + _padded(dtype.itemsize * count)
        header = _HEADER.pack(MAGIC, VERSION, len(hosts), entries, len(merge.packs), merge.rows)
        _write_all(descriptor, memoryview(header + hosts), 0)
        os.ftruncate(descriptor, end)

    def put(self, column: str, start: int, piece: AnyArray) -> None:
        offset, size = self._offsets[column]
        if len(piece):
            body = np.ascontiguousarray(piece).view(np.uint8).reshape(-1)
            _write_all(self._descriptor, body.data, offset + start * size)


def _write_all(descriptor: int, body: memoryview, offset: int) -> None:
    while len(body):
        written = os.pwrite(descriptor, body, offset)
        body, offset = body[written:], offset + written


def _columns(hosts_bytes: int, entries: int, packs: int, rows: int) -> Iterator[tuple[str, np.dtype[Any], int, int]]:
    """Name, dtype, length and offset in the file of each column."""
    offset = _padded(_HEADER.size + hosts_bytes)
    for name, (dtype, count) in column_shapes(entries, packs, rows).items():
        yield name, dtype, count, offset
        offset += _padded(dtype.itemsize * count)


def _padded(length: int) -> int:
    return (length + 7) & ~7
