"""Several segments become one, in slices of bounded size: in memory, or into a file. What was forgotten or withdrawn is left out."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from seawall.controller.index.filter import FilterWriter, words_for
from seawall.controller.index.layout import (
    FORGOTTEN,
    PACK,
    ROW,
    U32,
    U64,
    WITHDRAWN,
    AnyArray,
    Flags,
    Rows,
    Table,
    Words,
)
from seawall.controller.index.part import Part
from seawall.controller.index.search import DirectoryWriter, RowOwners, directory_bits
from seawall.controller.index.segment import Segment
from seawall.repository.format.record import ChunkType

SLICE = 1 << 18
"""Entries of each segment that are merged at once, and rows that are copied at once."""


class Output(Protocol):
    """Where the merged columns go. Pieces of one column come in any order and never overlap; what no piece covers is zero."""

    def put(self, column: str, start: int, piece: AnyArray) -> None: ...


@dataclass(frozen=True, eq=False)
class Source:
    """One segment as it goes into a merge: a moment's marks, and how far each pack's rows move."""

    segment: Segment
    flags: Rows
    withdrawn: NDArray[np.uint8]
    whole: bool
    """Nothing is left out."""
    shift: NDArray[np.int64]
    """Of each pack: where its rows are in the merged segment, less where they are here."""

    def kept_packs(self) -> Flags:
        return np.asarray(self.flags & FORGOTTEN == 0)

    def moved(self, rows: Rows) -> tuple[Flags | None, Rows]:
        """(which to keep, None for all; all rows as they are numbered in the merged segment). Of entries."""
        if self.whole:
            return None, rows + U32.type(self.shift[0] if len(self.shift) else 0)
        owners = self.segment.owners.of(rows)
        keep = self.kept_packs()[owners] & ~self.is_withdrawn(rows.astype(np.int64))
        return keep, (rows + self.shift[owners]).astype(U32)

    def is_withdrawn(self, rows: NDArray[np.int64]) -> Flags:
        return np.asarray((self.withdrawn[rows >> 3] >> (rows & 7).astype(np.uint8)) & 1 != 0)

    def row_pieces(self) -> Iterator[Table]:
        """Rows of the packs that are kept, in order, marked where they are withdrawn."""
        for start, end in self._row_runs():
            for first in range(start, end, SLICE):
                piece = self.segment.rows[first : min(end, first + SLICE)]
                if not self.whole:
                    piece = piece.copy()
                    piece["kind"][self.is_withdrawn(np.arange(first, first + len(piece)))] |= WITHDRAWN
                yield piece

    def _row_runs(self) -> Iterator[tuple[int, int]]:
        kept = np.concatenate(([False], self.kept_packs(), [False])).astype(np.int8)
        turns = np.flatnonzero(np.diff(kept))
        bounds = np.append(self.segment.packs["first_row"], len(self.segment.rows))
        for first, behind in zip(turns[::2].tolist(), turns[1::2].tolist(), strict=True):
            yield int(bounds[first]), int(bounds[behind])


@dataclass(frozen=True, eq=False)
class Merge:
    """What the merged segment will be. Made at one moment, under the index's lock; carried out later."""

    sources: tuple[Source, ...]
    hosts: tuple[str, ...]
    packs: Table
    rows: int

    def entries(self) -> int:
        """Counted, where something is left out: that reads all rows."""
        return sum(
            source.segment.entries
            if source.whole
            else sum(int((piece["kind"] == ChunkType.DATA).sum()) for piece in source.row_pieces())
            for source in self.sources
        )


def plan_merge(parts: Sequence[Part]) -> Merge:
    """Of the marks that the parts have now."""
    hosts = tuple(sorted({host for part in parts for host in part.segment.hosts}))
    numbers = {host: number for number, host in enumerate(hosts)}
    sources, tables, at = [], [np.zeros(0, PACK)], 0
    for part in parts:
        flags = part.flags.copy()
        kept = flags & FORGOTTEN == 0
        slots = np.where(kept, part.segment.packs["slots"], 0).astype(np.int64)
        first = at + np.cumsum(slots) - slots
        packs = part.segment.packs.copy()
        shift = first - packs["first_row"]
        packs["first_row"] = first
        packs["flags"] = flags
        packs["host"] = np.array([numbers[host] for host in part.segment.hosts], U32)[packs["host"]]
        tables.append(packs[kept])
        at += int(slots.sum())
        sources.append(Source(part.segment, flags, part.withdrawn.copy(), part.dropped == 0, shift))
    return Merge(tuple(sources), hosts, np.concatenate(tables), at)


def write_merge(merge: Merge, entries: int, output: Output, go_on: Callable[[], None] = lambda: None) -> None:
    """`entries`: as `merge.entries()` counted. `go_on` is called before each slice and may raise to end it."""
    output.put("packs", 0, merge.packs)
    at = 0
    for source in merge.sources:
        for piece in source.row_pieces():
            go_on()
            output.put("rows", at, piece)
            at += len(piece)
    words, directory = FilterWriter(words_for(entries)), DirectoryWriter(entries)
    at = 0
    for high, low, row in _slices(merge, go_on):
        for column, values in (("high", high), ("low", low), ("row", row)):
            output.put(column, at, values)
        at += len(high)
        directory.add(high)
        for start, done in words.add(high, low):
            output.put("filter", start, done)
    output.put("filter", *words.finish())
    output.put("directory", 0, directory.finish())


def merged(parts: Sequence[Part]) -> Segment:
    """In memory."""
    merge = plan_merge(parts)
    entries = merge.entries()
    output = _Memory(merge, entries)
    write_merge(merge, entries, output)
    return output.segment(merge.hosts)


def column_shapes(entries: int, packs: int, rows: int) -> dict[str, tuple[np.dtype[Any], int]]:
    """dtype and length of each column, in the order of a file."""
    return {
        "directory": (U32, (1 << directory_bits(entries)) + 1),
        "filter": (U64, words_for(entries)),
        "packs": (PACK, packs),
        "high": (U64, entries),
        "low": (U64, entries),
        "row": (U32, entries),
        "rows": (ROW, rows),
    }


class _Memory:
    def __init__(self, merge: Merge, entries: int) -> None:
        shapes = column_shapes(entries, len(merge.packs), merge.rows)
        self._columns: dict[str, AnyArray] = {name: np.zeros(count, dtype) for name, (dtype, count) in shapes.items()}

    def put(self, column: str, start: int, piece: AnyArray) -> None:
        self._columns[column][start : start + len(piece)] = piece

    def segment(self, hosts: tuple[str, ...]) -> Segment:
        return Segment(hosts, **self._columns)


def _slices(merge: Merge, go_on: Callable[[], None]) -> Iterator[tuple[Words, Words, Rows]]:
    """(high, low, row) of the merged entries, in order."""
    owners = RowOwners(merge.packs["first_row"], merge.rows)
    hosts = merge.packs["host"]
    for bounds in _bounds([source.segment for source in merge.sources]):
        go_on()
        pieces = [_kept(source, start, end) for source, (start, end) in zip(merge.sources, bounds, strict=True)]
        high, low, row = (np.concatenate([piece[column] for piece in pieces]) for column in range(3))
        order = np.argsort(high, kind="stable")  # which merges runs that are in order
        high, low, row = high[order], low[order], row[order]
        tied = np.flatnonzero(high[1:] == high[:-1])
        if len(tied):
            tied = np.unique(np.concatenate((tied, tied + 1)))
            within = tied[np.lexsort((hosts[owners.of(row[tied])], low[tied], high[tied]))]
            low[tied], row[tied] = low[within], row[within]
        yield high, low, row


def _kept(source: Source, start: int, end: int) -> tuple[Words, Words, Rows]:
    segment = source.segment
    high, low = segment.high[start:end], segment.low[start:end]
    keep, row = source.moved(segment.row[start:end])
    return (high, low, row) if keep is None else (high[keep], low[keep], row[keep])


def _bounds(segments: Sequence[Segment]) -> Iterator[list[tuple[int, int]]]:
    """Of each segment the entries of one slice of ids: about SLICE of each at most, unless more have one id."""
    at = [0] * len(segments)
    while any(start < segment.entries for start, segment in zip(at, segments, strict=True)):
        ends = _ends(segments, at)
        yield list(zip(at, ends, strict=True))
        at = ends


def _ends(segments: Sequence[Segment], at: Sequence[int]) -> list[int]:
    fences = [
        (segment.high[start + SLICE], segment.low[start + SLICE])
        for segment, start in zip(segments, at, strict=True)
        if start + SLICE < segment.entries
    ]
    if not fences:
        return [segment.entries for segment in segments]
    high, low = (np.array([word]) for word in min(fences))
    return [int(segment.upper_bound(high, low)[0]) for segment in segments]


def in_order(segment: Segment) -> bool:
    """Whether the order that lookups rely on holds. For tests: it reads everything."""
    high, low, host = segment.high, segment.low, segment.packs["host"][segment.owners.of(segment.row)]
    same_high, same_low = high[1:] == high[:-1], low[1:] == low[:-1]
    later = (low[1:] > low[:-1]) | (same_low & (host[1:] >= host[:-1]))
    return bool(((high[1:] > high[:-1]) | (same_high & later)).all())
