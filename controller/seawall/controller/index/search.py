"""Searching sorted columns for many keys at once. A directory by the first bits of the id leaves each key a few entries to halve."""

from collections.abc import Callable

import numpy as np

from seawall.controller.index.layout import U32, Flags, Positions, Rows, Words

ENTRIES_PER_BUCKET = 32
_ROW_BLOCK_BITS = 8


def halve(left: Positions, right: Positions, before: Callable[[Positions], Flags]) -> Positions:
    """For each key the first position in [left, right) that is not before it, or `right`.

    `before(positions)`: whether what stands there comes before the key; asked with positions that may equal `right` where nothing is
    left to decide.
    """
    while (undecided := left < right).any():
        middle = (left + right) >> 1
        onward = undecided & before(middle)
        right = np.where(undecided & ~onward, middle, right)
        left = np.where(onward, middle + 1, left)
    return left


class DirectoryWriter:
    """Counts entries by the first bits of their ids, piece by piece."""

    def __init__(self, entries: int) -> None:
        self._bits = directory_bits(entries)
        self._counts = np.zeros((1 << self._bits) + 1, U32)

    def add(self, high: Words) -> None:
        """Sorted, behind what came before."""
        buckets = _buckets(high, self._bits)
        starts = np.flatnonzero(np.concatenate(([True], buckets[1:] != buckets[:-1]))) if len(buckets) else buckets
        self._counts[buckets[starts] + 1] += np.diff(np.append(starts, len(buckets))).astype(U32)

    def finish(self) -> Rows:
        """Position of each bucket's first entry, and behind the last."""
        return np.cumsum(self._counts, dtype=U32)


def directory_bits(entries: int) -> int:
    return max(1, (entries // ENTRIES_PER_BUCKET).bit_length())


def bucket_bounds(directory: Rows, high: Words) -> tuple[Positions, Positions]:
    """First position of each id's bucket, and the one behind its last."""
    buckets = _buckets(high, (len(directory) - 1).bit_length() - 1)
    return directory[buckets].astype(np.int64), directory[buckets + 1].astype(np.int64)


def _buckets(high: Words, bits: int) -> Positions:
    return (high >> np.uint64(64 - bits)).astype(np.int64)


class RowOwners:
    """Which pack a row belongs to. 4 bytes of memory per 256 rows and 4 per pack."""

    def __init__(self, first_rows: Rows, rows: int) -> None:
        """`first_rows`: ascending, of each pack; `rows`: of all."""
        self._first_rows = np.ascontiguousarray(first_rows)
        blocks = np.arange((rows >> _ROW_BLOCK_BITS) + 2, dtype=np.int64) << _ROW_BLOCK_BITS
        self._packs_before = np.searchsorted(self._first_rows, blocks, "right").astype(U32)

    def of(self, rows: Rows) -> Positions:
        """Numbers of packs."""
        block = rows >> np.uint32(_ROW_BLOCK_BITS)
        left, right = (self._packs_before[each].astype(np.int64) for each in (block, block + np.uint32(1)))
        last = len(self._first_rows) - 1
        return halve(left, right, lambda packs: self._first_rows[np.minimum(packs, last)] <= rows) - 1
