"""What NBD says about a disk, merged: allocation and dirty bitmap become the extents of the data path. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from seawall.repository.disks import Extent

FLAG_ZERO = 2  # base:allocation; flag 1, "hole", without it says nothing about the content
FLAG_DIRTY = 1  # qemu:dirty-bitmap:...


@dataclass(frozen=True, slots=True)
class StatusRun:
    """A run of bytes with one set of flags, as block status returns it."""

    length: int
    flags: int


def merge(offset: int, allocation: Sequence[StatusRun], dirty: Sequence[StatusRun] | None) -> list[Extent]:
    """Extents from `offset` on, as far as both lists reach. `dirty is None`: no bitmap, all of it dirty. Equal neighbours are joined."""
    merged: list[Extent] = []
    for length, zero_flags, dirty_flags in _overlap(allocation, dirty):
        extent = Extent(offset, length, bool(dirty_flags & FLAG_DIRTY), bool(zero_flags & FLAG_ZERO))
        offset += length
        append_joined(merged, extent)
    return merged


def append_joined(extents: list[Extent], extent: Extent) -> None:
    """Append it, or lengthen the last one when it is of the same kind and touches."""
    last = extents[-1] if extents else None
    if (
        last is not None
        and (last.dirty, last.zero) == (extent.dirty, extent.zero)
        and last.offset + last.length == extent.offset
    ):
        extents[-1] = Extent(last.offset, last.length + extent.length, last.dirty, last.zero)
    else:
        extents.append(extent)


def clip(extents: Sequence[Extent], end: int) -> list[Extent]:
    """What lies before `end`: a server may describe more than it was asked for."""
    return [
        Extent(one.offset, min(one.length, end - one.offset), one.dirty, one.zero)
        for one in extents
        if one.offset < end
    ]


def last_clean_end(extents: Sequence[Extent]) -> int | None:
    """Where the last extent ends that is neither dirty nor zero; None when there is none."""
    return next((one.offset + one.length for one in reversed(extents) if not one.dirty and not one.zero), None)


def dirty_from(start: int, extents: Sequence[Extent]) -> list[Extent]:
    """The same with all bytes from `start` on dirty."""
    found: list[Extent] = []
    for one in extents:
        before = min(max(start - one.offset, 0), one.length)
        if before:
            append_joined(found, Extent(one.offset, before, one.dirty, one.zero))
        if before < one.length:
            append_joined(found, Extent(one.offset + before, one.length - before, True, one.zero))
    return found


def _overlap(left: Sequence[StatusRun], right: Sequence[StatusRun] | None) -> Iterator[tuple[int, int, int]]:
    """(length, left's flags, right's flags) up to the end of the shorter list."""
    if right is None:
        yield from ((run.length, run.flags, FLAG_DIRTY) for run in left if run.length)
        return
    i = j = used_left = used_right = 0
    while i < len(left) and j < len(right):
        length = min(left[i].length - used_left, right[j].length - used_right)
        if length:
            yield length, left[i].flags, right[j].flags
        used_left, used_right = used_left + length, used_right + length
        if used_left == left[i].length:
            i, used_left = i + 1, 0
        if used_right == right[j].length:
            j, used_right = j + 1, 0
