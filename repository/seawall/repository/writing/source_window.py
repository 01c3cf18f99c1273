"""The bytes of one page in a sliding window: read ahead where the plan says so, read on demand where cutting runs on past it.

Only whole stretches that may hold data are read; what the source calls zero is filled in.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from seawall.repository.chunking.grid import BLOCK_BYTES, Grid, folds_of
from seawall.repository.chunking.incremental import Range, without
from seawall.repository.disks import DiskSource
from seawall.repository.format.manifest import PAGE_BYTES
from seawall.repository.writing.counters import DiskCounters

PIECE_BYTES = 2 * 1024 * 1024
"""Pieces of 4 MiB, and more of them, cost a tenth more CPU: they leave the caches, and numpy asks for huge pages, before they are used."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of one page to be read as a whole. `start` is the start of a block."""

    page: int
    start: int
    end: int
    zeros: Sequence[Range]
    """Zero ranges of the whole page."""

    @property
    def length(self) -> int:
        return self.end - self.start


Plan = TypeVar("Plan")

Filled = tuple[Piece, "Future[NDArray[np.uint8]]"]

_Part = tuple[int, int, NDArray[np.uint8], memoryview]
"""Start and end in the page, the bytes, and a view of them: cutting a view costs a fifth of cutting an array."""


def pieces_of(page: int, scans: Sequence[Range], zeros: Sequence[Range], max_chunk_bytes: int) -> Iterator[Piece]:
    """What cutting these scans will surely ask for: long zero runs left out, the rest in pieces."""
    long_zeros = [(start, end) for start, end in zeros if end - start > 2 * max_chunk_bytes]
    for start, end in without(scans, long_zeros):
        for at in range(start, end, PIECE_BYTES):
            yield Piece(page, at, min(at + PIECE_BYTES, end), zeros)


def read_piece(source: DiskSource, piece: Piece, counters: DiskCounters) -> NDArray[np.uint8]:
    """Runs in a reading thread."""
    buffer = np.empty(piece.length, dtype=np.uint8)
    view = memoryview(buffer)  # type: ignore[arg-type]
    wanted = without([(piece.start, piece.end)], piece.zeros)
    at = piece.start
    for start, end in [*wanted, (piece.end, piece.end)]:
        buffer[at - piece.start : start - piece.start] = 0
        if start < end:
            source.read_into(piece.page * PAGE_BYTES + start, view[start - piece.start : end - piece.start])
            counters.add(read=end - start)
        at = end
    return buffer


class SourceWindow:
    """Serves the cutter of one page. `feed` gives the page's pieces in order; `now` begins to read one; `wait` waits for it."""

    def __init__(
        self,
        grid: Grid,
        page: int,
        length: int,
        zeros: Sequence[Range],
        feed: "PieceFeed[Any]",
        now: Callable[[Piece], "Future[NDArray[np.uint8]]"],
        wait: Callable[["Future[NDArray[np.uint8]]"], NDArray[np.uint8]],
    ) -> None:
        self._grid = grid
        self._page = page
        self._zeros = zeros
        self._feed = feed
        self._now = now
        self._wait = wait
        self._folds = np.zeros(-(-length // BLOCK_BYTES), dtype=np.uint64)
        self._parts: list[_Part] = []

    def boundaries(self, start: int, end: int) -> NDArray[np.bool_]:
        """As `chunking.incremental.Boundaries`: may answer a shorter range."""
        part_start, part_end, data, _ = self._part_at(start, end)
        folds = folds_of(data[start - part_start : min(end, part_end) - part_start])
        first = start // BLOCK_BYTES
        self._folds[first : first + len(folds)] = folds
        return self._grid.boundaries(folds)

    def is_zero(self, start: int, end: int) -> bool:
        """Whether a range, whose boundaries were asked for, is all zeroes. A chunk shorter than the minimum is read for it."""
        first = start // BLOCK_BYTES
        if self._folds[first] or self._folds[first : -(-end // BLOCK_BYTES)].any():
            return False
        return not any(part.any() for part in self._slices(start, end))

    def data(self, start: int, end: int) -> memoryview:
        """The bytes of one chunk; a view where it lies in one piece."""
        for part_start, part_end, _, view in self._parts:
            if part_start <= start and end <= part_end:
                return view[start - part_start : end - part_start]
        return memoryview(np.concatenate(list(self._slices(start, end))))  # type: ignore[arg-type]

    def forget(self, before: int) -> None:
        """Nothing before this offset is asked for again."""
        while self._parts and self._parts[0][1] <= before:
            self._parts.pop(0)

    def _slices(self, start: int, end: int) -> Iterator[NDArray[np.uint8]]:
        while start < end:
            part_start, part_end, data, _ = self._part_at(start, end)
            yield data[start - part_start : min(end, part_end) - part_start]
            start = part_end

    def _part_at(self, start: int, end: int) -> _Part:
        for part in self._parts:
            if part[0] <= start < part[1]:
                return part
        piece, reading = self._feed.take(self._page, start) or self._read_on(start, end)
        data = self._wait(reading)
        part = (piece.start, piece.end, data, memoryview(data))  # type: ignore[arg-type]
        self._parts.append(part)
        return part

    def _read_on(self, start: int, end: int) -> Filled:
        planned = self._feed.next_start(self._page)
        piece = Piece(self._page, start, end if planned is None else min(end, planned), self._zeros)
        return piece, self._now(piece)


class PieceFeed(Generic[Plan]):
    """What was read ahead: a stream of plans (of pages), each followed by its pieces with their reads under way."""

    def __init__(self, stream: Iterator[tuple[Plan | Piece, "Future[NDArray[np.uint8]] | None"]]) -> None:
        self._stream = stream
        self._head = next(stream, None)

    def next_plan(self) -> Plan | None:
        """The next plan. Pieces before it were not needed after all and are dropped."""
        while self._head is not None:
            item = self._head[0]
            self._head = next(self._stream, None)
            if not isinstance(item, Piece):
                return item
        return None

    def take(self, page: int, start: int) -> Filled | None:
        """The piece of this page that holds `start`, or None. Pieces before it are dropped."""
        while self._head is not None:
            item, reading = self._head
            if not isinstance(item, Piece) or item.page != page or reading is None or start < item.start:
                return None
            self._head = next(self._stream, None)
            if start < item.end:
                return item, reading
        return None

    def next_start(self, page: int) -> int | None:
        """Where the next piece of this page begins."""
        item = self._head[0] if self._head is not None else None
        return item.start if isinstance(item, Piece) and item.page == page else None
