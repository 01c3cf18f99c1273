"""One disk on its way into a point: which pages to keep, which to read, where to cut them. Drives the flow from the driving thread."""

from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seawall.repository.chunking.grid import Grid
from seawall.repository.chunking.incremental import NO_OLD_CUTS, OldCuts, Range, SpanKind, joined, recut, scans
from seawall.repository.format.manifest import ZERO_CHILD, Child
from seawall.repository.writing.counters import DiskCounters
from seawall.repository.writing.crew import Crew, Lane, ahead
from seawall.repository.writing.extents import PageExtents, pages_of, planned_bytes
from seawall.repository.writing.facts import HOW_BITMAP, DiskToWrite
from seawall.repository.writing.flow import ChunkFlow
from seawall.repository.writing.page import PageDraft
from seawall.repository.writing.parent import OldPage, ParentDisk
from seawall.repository.writing.source_window import Piece, PieceFeed, SourceWindow, pieces_of, read_piece
from seawall.repository.writing.tree import DiskTree

READ_AHEAD_BYTES = 8 * 1024 * 1024
PAGES_AHEAD = 8
_PLAN_WEIGHT = 256 * 1024
"""What a planned page counts in the read-ahead: it holds a decoded leaf and its cuts."""
DRAFTS_BYTES = 24 * 1024 * 1024
"""Pages waiting for their data packs: beyond this the open pack is closed early."""

_Bytes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class PagePlan:
    """What happens to one page: `child` as it is, or cutting `dirty` again on top of `cuts`."""

    page: PageExtents
    child: Child | None
    old: OldPage | None
    cuts: OldCuts
    dirty: list[Range]


class DiskWriter:
    """Writes one disk. `parent` is None when all must be read and nothing compared."""

    def __init__(
        self,
        crew: Crew,
        grid: Grid,
        flow: ChunkFlow,
        tree: DiskTree,
        disk: DiskToWrite,
        parent: ParentDisk | None,
        counters: DiskCounters,
    ) -> None:
        self._crew = crew
        self._grid = grid
        self._flow = flow
        self._tree = tree
        self._source = disk.source
        self._bitmap = disk.how == HOW_BITMAP and parent is not None
        self._parent = parent
        self._counters = counters
        self.lost_pages = 0
        """Pages of the parent that could not be used: bad, damaged or missing. They were read in full."""

    def write(self) -> Iterator[None]:
        """Yields after each page, for the caller to move the manifest on."""
        trusted_until = self._parent.size_bytes if self._bitmap and self._parent is not None else None
        self._counters.add(planned=planned_bytes(self._source, trusted_until))
        feed: PieceFeed[PagePlan] = PieceFeed(ahead(self._items(), self._start_reading, _weight, READ_AHEAD_BYTES))
        while (plan := feed.next_plan()) is not None:
            self._tree.add(self._page(plan, feed))
            yield
        self._flow.flush()
        self._tree.end()

    def _items(self) -> Iterator[PagePlan | Piece]:
        """Each page's plan, then the pieces of it that are worth reading ahead."""
        for page, loading in ahead(self._pages(), self._start_loading, lambda _: 1, PAGES_AHEAD):
            plan = self._plan(page, loading)
            yield plan
            if plan.child is None:
                wanted = scans(plan.cuts, plan.dirty, page.length)
                yield from pieces_of(page.index, wanted, page.zeros, self._grid.max_bytes)

    def _pages(self) -> Iterator[PageExtents]:
        for page in pages_of(self._source):
            self._crew.check()
            yield page

    def _start_loading(self, page: PageExtents) -> "Child | Future[OldPage | None] | None":
        """The page as it is, or the old page to compare with on its way, or nothing to build upon."""
        parent = self._parent
        old = parent.page(page.index) if parent is not None else None
        if parent is not None and old is not None and self._bitmap and self._unchanged(parent, page, old):
            return old
        if page.all_zero:
            return ZERO_CHILD
        if parent is None or old is None:
            return None
        return self._crew.submit(Lane.FETCH, parent.load, page.index, old)

    def _unchanged(self, parent: ParentDisk, page: PageExtents, old: Child) -> bool:
        return not page.dirty and parent.length_of(page.index) == page.length and not parent.bad.touch(old)

    def _plan(self, page: PageExtents, loading: "Child | Future[OldPage | None] | None") -> PagePlan:
        if isinstance(loading, Child):
            return PagePlan(page, loading, None, NO_OLD_CUTS, [])
        old = self._crew.result(loading) if loading is not None else None
        whole = [(0, page.length)]
        if old is None or self._parent is None:
            self.lost_pages += self._parent is not None and self._parent.covers(page.index)
            return PagePlan(page, None, None, NO_OLD_CUTS, whole)
        if not self._bitmap:
            return PagePlan(page, None, old, NO_OLD_CUTS, whole)
        return PagePlan(page, None, old, old.cuts, joined([*page.dirty, *self._parent.bad.ranges(old)]))

    def _start_reading(self, item: PagePlan | Piece) -> "Future[_Bytes] | None":
        if isinstance(item, PagePlan):
            return None
        return self._crew.submit(Lane.READ, read_piece, self._source, item, self._counters)

    def _page(self, plan: PagePlan, feed: PieceFeed[PagePlan]) -> Child | PageDraft:
        """Cut one page and send its new chunks into the flow."""
        if plan.child is not None:
            return plan.child
        page = plan.page
        window = SourceWindow(
            self._grid, page.index, page.length, page.zeros, feed, self._start_reading_now, self._crew.result
        )
        draft = PageDraft(page.index, page.length, plan.old)
        for kind, start, end in recut(self._grid, page.length, plan.cuts, plan.dirty, page.zeros, window.boundaries):
            if kind is SpanKind.KEPT:
                draft.keep(start, end)
            elif kind is SpanKind.ZERO or window.is_zero(start, end):
                draft.zero(end - start)
            else:
                row = plan.old.row_at(start, end) if plan.old is not None else None
                old_hash = plan.old.hash_of(row) if plan.old is not None and row is not None else None
                self._flow.add(draft.chunk(end - start, row), window.data(start, end), old_hash, self._counters)
            window.forget(end)
        return draft

    def _start_reading_now(self, piece: Piece) -> "Future[_Bytes]":
        return self._crew.submit(Lane.READ, read_piece, self._source, piece, self._counters)


def _weight(item: PagePlan | Piece) -> int:
    return _PLAN_WEIGHT if isinstance(item, PagePlan) else item.length
