"""Allocation and bitmap, merged."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from seawall.agent.disk.extents import StatusRun, clip, dirty_from, last_clean_end, merge
from seawall.repository.disks import Extent

RUNS = st.lists(st.tuples(st.integers(1, 9), st.integers(0, 3)), min_size=1, max_size=12)


def spread(runs: list[StatusRun]) -> list[int]:
    """Flags of every single unit."""
    return [run.flags for run in runs for _ in range(run.length)]


def as_runs(pairs: list[tuple[int, int]]) -> list[StatusRun]:
    return [StatusRun(length, flags) for length, flags in pairs]


@given(RUNS, RUNS, st.integers(0, 5))
def test_merged_extents_say_what_both_lists_say(
    left: list[tuple[int, int]], right: list[tuple[int, int]], offset: int
) -> None:
    allocation, dirty = as_runs(left), as_runs(right)
    extents = merge(offset, allocation, dirty)
    expected = [(bool(b & 1), bool(a & 2)) for a, b in zip(spread(allocation), spread(dirty), strict=False)]
    assert [(e.dirty, e.zero) for e in extents for _ in range(e.length)] == expected
    assert [e.offset for e in extents] == [offset + sum(x.length for x in extents[:i]) for i in range(len(extents))]
    assert all((a.dirty, a.zero) != (b.dirty, b.zero) for a, b in pairwise(extents))


def test_dirty_and_zero_are_kept_both() -> None:
    allocation = as_runs([(4, 0), (4, 3)])
    assert merge(0, allocation, as_runs([(2, 0), (4, 1), (2, 0)])) == [
        Extent(0, 2, False, False),
        Extent(2, 2, True, False),
        Extent(4, 2, True, True),
        Extent(6, 2, False, True),
    ]


def test_tail_is_dirty_whatever_the_bitmap_says() -> None:
    extents = [Extent(0, 8, False, False), Extent(8, 4, True, False), Extent(12, 4, False, True)]
    assert last_clean_end(extents) == 8 and last_clean_end(extents[1:]) is None
    assert dirty_from(6, extents) == [
        Extent(0, 6, False, False),
        Extent(6, 6, True, False),
        Extent(12, 4, True, True),
    ]
    assert dirty_from(99, extents) == extents


def test_hole_without_zero_is_unknown_and_read() -> None:
    assert merge(0, as_runs([(4, 1)]), None) == [Extent(0, 4, True, False)]


def test_without_a_bitmap_all_is_dirty() -> None:
    assert merge(8, as_runs([(4, 3), (4, 2), (1, 0)]), None) == [Extent(8, 8, True, True), Extent(16, 1, True, False)]


def test_clip_cuts_at_the_end() -> None:
    assert clip([Extent(0, 4, True, False), Extent(4, 4, False, False), Extent(8, 4, True, True)], 6) == [
        Extent(0, 4, True, False),
        Extent(4, 2, False, False),
    ]
