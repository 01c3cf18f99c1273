"""Many files of 8 KiB, as restic gets them, and the same bytes as a disk, as Seawall gets them. 40 % of a file does not compress.

They lie in directories of 100, and whole directories go: what is garbage afterwards lies in stretches of 100 files for both tools.
"""

from collections.abc import Collection
from functools import lru_cache
from pathlib import Path

import numpy as np

from seawall.repository.disks import Extent

from .image_data import Bytes

FILE_BYTES = 8192
FILES_PER_DIRECTORY = 100
DIRECTORY_BYTES = FILE_BYTES * FILES_PER_DIRECTORY
_HALVES = 2
"""Blocks of 4 KiB in a file: each has random bytes of its own, so that each may end a chunk."""
_RANDOM_BYTES = 1600
_PATTERN_BYTES = 64


@lru_cache(maxsize=16)
def directory(number: int) -> Bytes:
    """The bytes of a directory's files, one behind the other. The same number, the same bytes."""
    random = np.random.default_rng(number)
    blocks, block_bytes = FILES_PER_DIRECTORY * _HALVES, FILE_BYTES // _HALVES
    files = np.empty((blocks, block_bytes), dtype=np.uint8)
    files[:, :_RANDOM_BYTES] = random.integers(0, 256, (blocks, _RANDOM_BYTES), dtype=np.uint8)
    pattern = random.integers(0, 256, (blocks, _PATTERN_BYTES), dtype=np.uint8)
    files[:, _RANDOM_BYTES:] = np.tile(pattern, (block_bytes - _RANDOM_BYTES) // _PATTERN_BYTES)
    return files.reshape(-1)


def write_directory(tree: Path, number: int) -> None:
    place = directory_of(tree, number)
    place.mkdir(parents=True)
    content = directory(number)
    for file in range(FILES_PER_DIRECTORY):
        (place / f"{file:02}").write_bytes(content[file * FILE_BYTES : (file + 1) * FILE_BYTES].tobytes())


def directory_of(tree: Path, number: int) -> Path:
    return tree / f"{number:06}"


class FilesAsDisk:
    """All directories, one behind the other; those that are gone read as zeroes."""

    def __init__(self, directories: int, gone: Collection[int] = ()) -> None:
        self._gone = frozenset(gone)
        self.size_bytes = directories * DIRECTORY_BYTES

    def extents(self, offset: int, length: int) -> list[Extent]:
        found, at, end = [], offset, offset + length
        while at < end:
            number = at // DIRECTORY_BYTES
            until = min(end, (number + 1) * DIRECTORY_BYTES)
            found.append(Extent(at, until - at, dirty=True, zero=number in self._gone))
            at = until
        return found

    def read_into(self, offset: int, buffer: memoryview) -> None:
        target = np.frombuffer(buffer, dtype=np.uint8)
        done = 0
        while done < len(target):
            number, inside = divmod(offset + done, DIRECTORY_BYTES)
            part = directory(number)[inside : inside + len(target) - done]
            target[done : done + len(part)] = part
            done += len(part)
