"""Cutting again where a page changed equals cutting it afresh, and asks for little more than what changed."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from seawall.repository.chunking.grid import BLOCK_BYTES, Grid, folds_of
from seawall.repository.chunking.incremental import (
    NO_OLD_CUTS,
    OldCuts,
    Range,
    Span,
    SpanKind,
    joined,
    recut,
    scans,
    whole_blocks,
    without,
)

GRID = Grid(b"incremental".ljust(32, b"."), 16384)


@dataclass
class Asked:
    """Serves boundaries of a page's bytes, `short` blocks a time, and notes what was asked."""

    data: NDArray[np.uint8]
    short: int = 1 << 30
    ranges: list[Range] = field(default_factory=list)

    def __call__(self, start: int, end: int) -> NDArray[np.bool_]:
        end = min(end, start + self.short * BLOCK_BYTES)
        assert start % BLOCK_BYTES == 0
        assert start < end <= len(self.data)
        self.ranges.append((start, end))
        return GRID.boundaries(folds_of(self.data[start:end]))

    @property
    def bytes(self) -> int:
        return sum(end - start for start, end in self.ranges)


def fresh_cuts(data: NDArray[np.uint8]) -> list[int]:
    return list(GRID.cuts(GRID.boundaries(folds_of(data)), len(data)))


def cuts_of(spans: Sequence[Span], old: OldCuts, length: int) -> list[int]:
    """All cuts that the spans stand for; also checks that they tile the page."""
    cuts: list[int] = []
    position = 0
    for span in spans:
        assert span.start == position < span.end
        position = span.end
        if span.kind is SpanKind.KEPT:
            cuts += [cut for cut in old.cuts if span.start < cut <= span.end]
        elif span.kind is SpanKind.ZERO:
            cuts += range(span.start + GRID.max_bytes, span.end, GRID.max_bytes)
        if not cuts or cuts[-1] != span.end:
            cuts.append(span.end)
    assert position == length
    return cuts


def zero_runs(data: NDArray[np.uint8]) -> list[Range]:
    """Every whole zero block, as joined ranges."""
    return joined(
        [
            (start, min(start + BLOCK_BYTES, len(data)))
            for start in range(0, len(data), BLOCK_BYTES)
            if not data[start : start + BLOCK_BYTES].any()
        ]
    )


@st.composite
def pages(draw: st.DrawFn) -> tuple[NDArray[np.uint8], NDArray[np.uint8], list[Range]]:
    """(old page, new page, changed ranges): random, repeating and zero stretches, edits, another length now and then."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    length = draw(st.integers(1, 220)) * BLOCK_BYTES - draw(st.sampled_from([0, 0, 512, 4095]))
    old = rng.integers(0, 256, length, dtype=np.uint8)
    edit = st.tuples(
        st.sampled_from(["zero", "repeat", "random"]), st.integers(0, 219), st.integers(1, 120), st.integers(0, 4095)
    )

    def apply(data: NDArray[np.uint8], kind: str, start: int, end: int) -> None:
        if kind == "zero":
            data[start:end] = 0
        elif kind == "repeat":
            data[start:end] = 7
        else:
            data[start:end] = rng.integers(0, 256, len(data[start:end]), dtype=np.uint8)

    for kind, block, blocks, _ in draw(st.lists(edit, max_size=4)):
        apply(old, kind, block * BLOCK_BYTES, (block + blocks) * BLOCK_BYTES)
    length = draw(st.one_of(st.just(length), st.integers(1, 220 * BLOCK_BYTES)))
    new = np.zeros(length, dtype=np.uint8)
    new[: len(old)] = old[:length]
    dirty = []
    if length > len(old):
        apply(new, draw(st.sampled_from(["zero", "random"])), len(old), length)
    for kind, block, blocks, odd in draw(st.lists(edit, max_size=5)):
        start, end = block * BLOCK_BYTES + odd, min(block * BLOCK_BYTES + odd + blocks * 1024, length)
        if start < end:
            apply(new, kind, start, end)
            dirty.append((start, end))
    return old, new, dirty


@given(page=pages(), zeros_known=st.booleans(), short=st.sampled_from([1, 3, 1000]))
def test_equals_cutting_afresh(
    page: tuple[NDArray[np.uint8], NDArray[np.uint8], list[Range]], zeros_known: bool, short: int
) -> None:
    old_data, data, dirty = page
    old = OldCuts(fresh_cuts(old_data), len(old_data))
    zeros = zero_runs(data) if zeros_known else []
    spans = list(recut(GRID, len(data), old, dirty, zeros, Asked(data, short)))
    assert cuts_of(spans, old, len(data)) == fresh_cuts(data)
    for span in spans:
        if span.kind is SpanKind.KEPT:
            assert (old_data[span.start : span.end] == data[span.start : span.end]).all()
        elif span.kind is SpanKind.ZERO:
            assert not data[span.start : span.end].any()


@given(page=pages())
def test_without_an_old_page_all_is_cut(page: tuple[NDArray[np.uint8], NDArray[np.uint8], list[Range]]) -> None:
    data = page[1]
    spans = list(recut(GRID, len(data), NO_OLD_CUTS, [(0, len(data))], zero_runs(data), Asked(data)))
    assert cuts_of(spans, NO_OLD_CUTS, len(data)) == fresh_cuts(data)
    assert not [span for span in spans if span.kind is SpanKind.KEPT]


def test_small_edits_ask_for_little_more_than_themselves() -> None:
    rng = np.random.default_rng(3)
    data = rng.integers(0, 256, 64 << 20, dtype=np.uint8)
    grid = Grid(b"k" * 32, 65536)
    old = OldCuts(list(grid.cuts(grid.boundaries(folds_of(data)), len(data))), len(data))
    dirty = [(int(at), int(at) + 65536) for at in np.arange(40) * (1 << 20) + rng.integers(0, 1 << 19, 40)]
    for start, end in dirty:
        data[start:end] = rng.integers(0, 256, end - start, dtype=np.uint8)
    asked = []

    def boundaries(start: int, end: int) -> NDArray[np.bool_]:
        asked.append(end - start)
        return grid.boundaries(folds_of(data[start:end]))

    spans = list(recut(grid, len(data), old, dirty, [], boundaries))
    assert sum(asked) <= sum(end - start for start, end in dirty) + len(dirty) * 256 * 1024
    assert sum(span.end - span.start for span in spans if span.kind is SpanKind.KEPT) > 48 << 20


def test_long_zero_runs_are_not_asked_for() -> None:
    data = np.zeros(64 << 20, dtype=np.uint8)
    data[1 << 20 : (1 << 20) + 9000] = 5
    data[40 << 20 : (40 << 20) + 9000] = 6
    asked = Asked(data)
    spans = list(recut(GRID, len(data), NO_OLD_CUTS, [(0, len(data))], zero_runs(data), asked))
    assert asked.bytes <= 4 * GRID.max_bytes
    assert len(spans) < 10
    assert cuts_of(spans, NO_OLD_CUTS, len(data)) == fresh_cuts(data)


def test_an_untouched_page_is_kept_whole_and_not_asked_for() -> None:
    data = np.random.default_rng(5).integers(0, 256, 1 << 20, dtype=np.uint8)
    asked = Asked(data)
    old = OldCuts(fresh_cuts(data), len(data))
    assert list(recut(GRID, len(data), old, [], [], asked)) == [Span(SpanKind.KEPT, 0, len(data))]
    assert not asked.ranges


def test_scans_begin_and_end_at_old_cuts() -> None:
    old = OldCuts((10, 20, 30, 40), 40)
    assert scans(old, [(12, 13)], 40) == [(10, 20)]
    assert scans(old, [(10, 20)], 40) == [(10, 20)]
    assert scans(old, [(9, 11), (20, 21)], 40) == [(0, 30)]
    assert scans(old, [], 55) == [(30, 55)]
    assert scans(old, [], 30) == [(20, 30)]
    assert scans(old, [], 35) == [(30, 35)]


ranges = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), max_size=8)


@given(first=ranges, second=ranges)
def test_range_algebra(first: list[Range], second: list[Range]) -> None:
    def members(some: Sequence[Range]) -> set[int]:
        return {number for start, end in some for number in range(start, end)}

    a, b = joined(first), joined(second)
    assert members(a) == members(first)
    assert all(one[1] < two[0] for one, two in pairwise(a))
    assert members(without(a, b)) == members(a) - members(b)
    assert all(start < end for start, end in without(a, b))


def test_whole_blocks_rounds_inward_but_not_at_the_end_of_the_page() -> None:
    assert whole_blocks([(1, 8192), (8192, 12287)], 50000) == [(4096, 8192)]
    assert whole_blocks([(40960, 50000)], 50000) == [(40960, 50000)]
    assert whole_blocks([(100, 200)], 50000) == []
