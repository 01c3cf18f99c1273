"""Cutting a page again where it changed. Pure: the caller supplies boundaries on demand. Called by `writing.disk`.

Invariant (property-tested): the cuts equal those of cutting the whole new page afresh. They do because a cut depends only on the blocks
since the previous cut: from an old cut before a change on, the cuts are found anew, and the first new cut that is also an old one behind
the change is followed by the old cuts again.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from seawall.repository.chunking.grid import BLOCK_BYTES, CutFinder, Grid

Range = tuple[int, int]
"""Start and end, in bytes within a page."""

Boundaries = Callable[[int, int], NDArray[np.bool_]]
"""Flags of the blocks of a range. May answer a shorter range from the same start, of at least one block."""

STEP_BYTES = 2 * 1024 * 1024


class SpanKind(IntEnum):
    KEPT = 0
    """Whole old chunks, unchanged."""
    CHUNK = 1
    """One new chunk; it may turn out to be all zeroes, or equal to an old one."""
    ZERO = 2
    """Whole chunks inside a run that reads as zeroes."""


class Span(NamedTuple):
    kind: SpanKind
    start: int
    end: int


class OldCuts(NamedTuple):
    """Ends of the chunks of the page as it was, ascending, and its length then."""

    cuts: Sequence[int]
    length: int


NO_OLD_CUTS = OldCuts((), 0)


def joined(ranges: Sequence[Range]) -> list[Range]:
    """The same bytes as sorted, disjoint ranges; empty ones vanish, touching ones become one."""
    result: list[Range] = []
    for start, end in sorted(ranges):
        if start >= end:
            continue
        if result and start <= result[-1][1]:
            result[-1] = (result[-1][0], max(result[-1][1], end))
        else:
            result.append((start, end))
    return result


def without(ranges: Sequence[Range], holes: Sequence[Range]) -> list[Range]:
    """`ranges` less `holes`; both joined."""
    result: list[Range] = []
    first = 0
    for start, end in ranges:
        while first < len(holes) and holes[first][1] <= start:
            first += 1
        at = first
        while at < len(holes) and holes[at][0] < end:
            if start < holes[at][0]:
                result.append((start, holes[at][0]))
            start = max(start, holes[at][1])
            at += 1
        if start < end:
            result.append((start, end))
    return result


def scans(old: OldCuts, dirty: Sequence[Range], length: int) -> list[Range]:
    """What must be cut again at least, from an old cut to an old cut (or the page's end). Chunks before the old end of a page that
    shrank or grew count as changed; the grown range does too."""
    changed = list(dirty)
    if old.length != length:
        changed.append((max(0, min(old.length, length) - 1), length))
    cuts = _inner_cuts(old, length)
    found = []
    for start, end in joined(changed):
        before = bisect_right(cuts, start)
        behind = bisect_left(cuts, min(end, length))
        found.append((cuts[before - 1] if before else 0, cuts[behind] if behind < len(cuts) else length))
    return joined(found)


def recut(
    grid: Grid,
    length: int,
    old: OldCuts,
    dirty: Sequence[Range],
    zeros: Sequence[Range],
    boundaries: Boundaries,
) -> Iterator[Span]:
    """Spans of the page of `length` bytes, in order, without gap. `dirty`: may differ from the old page; outside of it both are equal.

    `zeros`: joined ranges that read as zeroes, whole blocks or up to the page's end. `boundaries` is asked in ascending order, never for a
    stretch inside a zero run that is longer than two maximum chunks but for its first and last chunk.
    """
    todo = scans(old, dirty, length)
    cuts = _inner_cuts(old, length)
    done = 0
    while todo:
        start, end = todo.pop(0)
        if done < start:
            yield Span(SpanKind.KEPT, done, start)
        finder = CutFinder(grid, start, length)
        while True:
            yield _next_span(grid, finder, length, end, cuts, zeros, boundaries)
            done = finder.position
            while todo and todo[0][0] < done:
                end = max(end, todo.pop(0)[1])
            if done == length or (done >= end and _is_cut(cuts, done)):
                break
    if done < length:
        yield Span(SpanKind.KEPT, done, length)


def _next_span(
    grid: Grid,
    finder: CutFinder,
    length: int,
    end: int,
    cuts: Sequence[int],
    zeros: Sequence[Range],
    boundaries: Boundaries,
) -> Span:
    """The chunk, or run of zero chunks, at the finder's position."""
    start = finder.position
    zero_end = _zero_until(zeros, start)
    if zero_end == length or zero_end - start >= grid.max_bytes:
        jump = length if zero_end == length else start + (zero_end - start) // grid.max_bytes * grid.max_bytes
        finder.jump(jump)
        return Span(SpanKind.ZERO, start, jump)
    while (cut := finder.next_cut()) is None:
        finder.feed(boundaries(finder.known, _ask_until(grid, finder, length, end, cuts, zeros)))
    return Span(SpanKind.CHUNK, start, cut)


def _ask_until(
    grid: Grid, finder: CutFinder, length: int, end: int, cuts: Sequence[int], zeros: Sequence[Range]
) -> int:
    """How far to ask for boundaries: what the scan needs anyway, else only to the next place where it may end."""
    known = finder.known
    if known < end:
        until = min(end, known + STEP_BYTES)
    else:
        behind = bisect_right(cuts, known)
        until = min(cuts[behind] if behind < len(cuts) else length, finder.position + grid.max_bytes, length)
    at = bisect_right(zeros, (finder.position, 1 << 62))
    while at < len(zeros) and zeros[at][0] < until:
        if zeros[at][1] - zeros[at][0] > 2 * grid.max_bytes:
            return min(until, zeros[at][0] + grid.max_bytes)
        at += 1
    return until


def _zero_until(zeros: Sequence[Range], position: int) -> int:
    """The end of the zero run that `position` lies in, else `position`."""
    at = bisect_right(zeros, (position, 1 << 62)) - 1
    return max(position, zeros[at][1]) if at >= 0 else position


def _inner_cuts(old: OldCuts, length: int) -> list[int]:
    """Old cuts that content made: not the page's end, old or new."""
    return [cut for cut in old.cuts if cut < min(old.length, length)]


def _is_cut(cuts: Sequence[int], position: int) -> bool:
    at = bisect_left(cuts, position)
    return at < len(cuts) and cuts[at] == position


def whole_blocks(ranges: Sequence[Range], length: int) -> list[Range]:
    """The part of each range that consists of whole blocks (the last, partial block of the page is whole too)."""
    inside = []
    for start, end in joined(ranges):
        first = -(-start // BLOCK_BYTES) * BLOCK_BYTES
        last = end if end == length else end // BLOCK_BYTES * BLOCK_BYTES
        inside.append((first, last))
    return joined(inside)
