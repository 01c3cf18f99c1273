"""Which files make up the index, and the marks made on their packs since they were written.

`shards.list`: BLAKE3 in hex of the rest, newline, JSON. It names each shard and its marks file with their BLAKE3, so that a file that is
missing, damaged or of another moment is noticed. All are written beside their place, synced and renamed.
"""

import json
import os
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from seawall.controller.index.layout import U32, Rows
from seawall.controller.index.part import Part
from seawall.controller.index.segment import Segment
from seawall.controller.index.shard import IndexDamaged, read_shard

LISTING_NAME = "shards.list"
VERSION = 3
_SUFFIXES = (".shard", ".marks", ".new", ".index")  # .index: the one file of versions before 3
_DIGEST_CHARACTERS = 64


@dataclass(frozen=True, slots=True)
class Listed:
    """Names are never used again. `marks`: "" if none were made."""

    shard: str
    shard_blake3: str
    marks: str = ""
    marks_blake3: str = ""


def new_name(suffix: str) -> str:
    return f"{uuid.uuid4().hex}.{suffix}"


def read_listing(directory: Path) -> tuple[Listed, ...]:
    """Oldest first. Raises IndexDamaged (missing, damaged, another version), OSError."""
    path = directory / LISTING_NAME
    try:
        body = path.read_bytes()
    except FileNotFoundError as error:
        raise IndexDamaged(f"{path} does not exist") from error
    digest, rest = body[:_DIGEST_CHARACTERS], body[_DIGEST_CHARACTERS:]
    if rest[:1] != b"\n" or blake3(rest).hexdigest().encode() != digest:
        raise IndexDamaged(f"{path} is not what was written")
    listing = json.loads(rest)
    if listing["version"] != VERSION:
        raise IndexDamaged(f"{path} is not of version {VERSION}")
    return tuple(Listed(**each) for each in listing["shards"])


def write_listing(directory: Path, listed: Sequence[Listed]) -> None:
    """Durable when it returns, with the names of the files that it lists. Raises OSError."""
    rest = b"\n" + json.dumps({"version": VERSION, "shards": [asdict(each) for each in listed]}, indent=1).encode()
    _write(directory / LISTING_NAME, blake3(rest).hexdigest().encode() + rest)


def write_marks(path: Path, flags: Rows, withdrawn: NDArray[np.uint8]) -> str:
    """Durable, all but its name in the folder; returns its BLAKE3. Raises OSError."""
    body = flags.astype(U32).tobytes() + withdrawn.tobytes()
    _write(path, body)
    return blake3(body).hexdigest()


def read_part(directory: Path, listed: Listed) -> Part:
    """Raises IndexDamaged, OSError."""
    segment = read_shard(directory / listed.shard, listed.shard_blake3)
    if not listed.marks:
        return Part(segment)
    return Part(segment, *_read_marks(directory / listed.marks, listed.marks_blake3, segment))


def remove_unlisted(directory: Path, listed: Sequence[Listed]) -> None:
    """What merges left behind, finished or killed. Raises OSError."""
    named = {name for each in listed for name in (each.shard, each.marks)}
    for path in directory.iterdir():
        if path.suffix in _SUFFIXES and path.name not in named:
            path.unlink(missing_ok=True)


def _read_marks(path: Path, digest: str, segment: Segment) -> tuple[Rows, NDArray[np.uint8]]:
    try:
        body = path.read_bytes()
    except FileNotFoundError as error:
        raise IndexDamaged(f"{path} does not exist") from error
    if blake3(body).hexdigest() != digest:
        raise IndexDamaged(f"{path} is not what was written")
    packs = len(segment.packs)
    flags = np.frombuffer(body, U32, packs).copy()
    return flags, np.frombuffer(body, np.uint8, offset=packs * U32.itemsize).copy()


def _write(path: Path, body: bytes) -> None:
    fresh = path.with_name(path.name + ".new")
    with open(fresh, "wb") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())
    os.replace(fresh, path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
