"""Ports of the data path: where a disk's bytes come from and go to. Owned here, implemented by agents (NBD, files) and by rescue."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Extent:
    """A run of bytes of one disk. `dirty`: may differ from the parent point. `zero`: reads as zeroes, surely.

    Clean and dirty, zero and not: all four combinations occur. Dirty + zero is a change: the new point must hold zeroes there.
    """

    offset: int
    length: int
    dirty: bool
    zero: bool


class DiskSource(Protocol):
    """One disk at one instant. Thread-safe; several reads may run at once."""

    @property
    def size_bytes(self) -> int:
        """Virtual size; a multiple of 512, not always of 4,096."""

    def extents(self, offset: int, length: int) -> Sequence[Extent]:
        """Sorted, without gap or overlap, exactly covering the range. A source without tracking says dirty everywhere."""

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill the buffer, all of it. Raises the implementer's own error when the bytes cannot be had."""


class DiskSink(Protocol):
    """One disk being restored. Thread-safe; ranges never overlap. What was neither written nor zeroed is undefined."""

    def write(self, offset: int, data: bytes | memoryview) -> None: ...

    def zero(self, offset: int, length: int) -> None:
        """The range reads as zeroes afterwards and, where the target can, takes no space."""

    def flush(self) -> None:
        """Durable when it returns."""
