"""What a disk source says of its extents, page by page, in the terms of the cutter: whole blocks, offsets within the page."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from seawall.repository.chunking.incremental import Range, joined, whole_blocks
from seawall.repository.disks import DiskSource, Extent
from seawall.repository.format.manifest import PAGE_BYTES
from seawall.repository.reading.point import page_count, page_length

_SPAN_PAGES = 16
"""Extents of 1 GiB are asked for at a time: enough to make sparse disks cheap, too little for a fragmented one to fill memory."""


@dataclass(frozen=True, slots=True)
class PageExtents:
    """`dirty` and `zeros`: joined ranges within the page. Where both overlap, the new content is zeroes."""

    index: int
    length: int
    dirty: list[Range]
    zeros: list[Range]

    @property
    def all_zero(self) -> bool:
        return self.zeros == [(0, self.length)]


def pages_of(source: DiskSource) -> Iterator[PageExtents]:
    """All pages in order. Raises what the source raises; ValueError when its extents do not cover the range asked for."""
    size = source.size_bytes
    for first in range(0, page_count(size), _SPAN_PAGES):
        start = first * PAGE_BYTES
        length = min(_SPAN_PAGES * PAGE_BYTES, size - start)
        yield from _split(checked(source.extents(start, length), start, length), first, size)


def planned_bytes(source: DiskSource, dirty_until: int | None) -> int:
    """What must be read: all that is not zero, or of that, below `dirty_until`, only what is dirty."""
    total = 0
    size = source.size_bytes
    for start in range(0, size, _SPAN_PAGES * PAGE_BYTES):
        length = min(_SPAN_PAGES * PAGE_BYTES, size - start)
        for extent in source.extents(start, length):
            if extent.zero:
                continue
            clean_until = 0 if dirty_until is None or extent.dirty else dirty_until
            total += max(0, extent.length - max(0, clean_until - extent.offset))
    return total


def checked(extents: Sequence[Extent], start: int, length: int) -> Sequence[Extent]:
    """The extents themselves. A gap here would become a hole in the backup, so it is looked for. Raises ValueError."""
    at = start
    for extent in extents:
        if extent.offset != at or extent.length <= 0:
            raise ValueError(f"the disk's extents do not follow one another at byte {at}")
        at += extent.length
    if at != start + length:
        raise ValueError(f"the disk's extents end at byte {at} instead of {start + length}")
    return extents


def _split(extents: Sequence[Extent], first: int, size: int) -> Iterator[PageExtents]:
    """Cut a span's extents at the page borders."""
    at = 0
    index = first
    while at < len(extents):
        page_start = index * PAGE_BYTES
        page_end = page_start + page_length(size, index)
        dirty: list[Range] = []
        zeros: list[Range] = []
        while at < len(extents):
            extent = extents[at]
            end = extent.offset + extent.length
            piece = (max(extent.offset, page_start) - page_start, min(end, page_end) - page_start)
            if extent.dirty:
                dirty.append(piece)
            if extent.zero:
                zeros.append(piece)
            if end > page_end:
                break
            at += 1
            if end == page_end:
                break
        length = page_end - page_start
        yield PageExtents(index, length, joined(dirty), whole_blocks(zeros, length))
        index += 1
