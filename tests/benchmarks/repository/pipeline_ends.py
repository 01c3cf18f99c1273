"""The two ends of the writing pipeline: disks to read from, and coordinators that keep nothing or everything."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from seawall.repository.blocks import data_ranges
from seawall.repository.disks import DiskSource, Extent
from seawall.repository.format.pack import SealedPack
from seawall.repository.format.record import Locator
from seawall.repository.reading.point import PointReader
from seawall.repository.writing.facts import WriteSettings, WrittenPoint
from seawall.repository.writing.point import PointWriter
from seawall.repository.writing.port import WriteCoordinator
from support.point_writing import SETTINGS as TEST_SETTINGS
from support.point_writing import disk, facts

from .image_data import MIB, Bytes

SETTINGS = replace(TEST_SETTINGS, pack_target_bytes=32 * MIB, compression_level=3)
"""As a repository has them unless somebody says otherwise."""


class ArraySource:
    """A disk in memory; all of it is data."""

    def __init__(self, data: Bytes) -> None:
        self._data = data
        self.size_bytes = len(data)

    def extents(self, offset: int, length: int) -> list[Extent]:
        return [Extent(offset, length, dirty=True, zero=False)]

    def read_into(self, offset: int, buffer: memoryview) -> None:
        np.frombuffer(buffer, dtype=np.uint8)[:] = self._data[offset : offset + len(buffer)]


class FileSource:
    """A file as a disk; its holes read as zeroes. A context manager."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDONLY)
        self.size_bytes = os.fstat(self._descriptor).st_size

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)

    def extents(self, offset: int, length: int) -> list[Extent]:
        found, at, end = [], offset, offset + length
        for start, size in data_ranges(self._descriptor, offset, length):
            if at < start:
                found.append(Extent(at, start - at, dirty=True, zero=True))
            found.append(Extent(start, size, dirty=True, zero=False))
            at = start + size
        return [*found, Extent(at, end - at, dirty=True, zero=True)] if at < end else found

    def read_into(self, offset: int, buffer: memoryview) -> None:
        done = 0
        while done < len(buffer):
            done += os.preadv(self._descriptor, [buffer[done:]], offset + done)


class Nowhere:
    """A coordinator that knows nothing and lets every pack go: what is left is the pipeline itself."""

    def __init__(self) -> None:
        self.stored_bytes = 0

    def lookup(self, chunk_ids: Sequence[bytes]) -> Mapping[bytes, Locator]:
        return {}

    def store_pack(self, pack: SealedPack) -> None:
        self.stored_bytes += len(pack.body)


def write(
    source: DiskSource,
    how: str,
    settings: WriteSettings,
    coordinator: WriteCoordinator,
    number: int,
    parent: PointReader | None = None,
) -> WrittenPoint:
    """One point of one disk."""
    with PointWriter(settings, coordinator, parent=parent) as writer:
        writer.write_disk(disk(source, how))
        return writer.finish(facts(number))
