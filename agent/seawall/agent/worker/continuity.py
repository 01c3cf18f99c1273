"""Do a disk's bitmap and the parent point speak of the same disk? Where the bitmap says that nothing changed, a few chunks are compared.

A file keeps its path and inode when another disk of the VM is copied over it, and brings along a bitmap of the same name that tells of
that other disk. Nothing in such a file says so but its content. The sample finds disks that differ where it looks; two copies of one
template that differ in little may pass.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

import structlog

from seawall.agent.capture.port import CapturedDisk
from seawall.repository.chunking.incremental import joined
from seawall.repository.crypto.chunk import chunk_hash
from seawall.repository.disks import DiskSource, Extent
from seawall.repository.format.leaf import PAGE_BYTES
from seawall.repository.format.manifest import DiskManifest, entry_offsets
from seawall.repository.reading.point import UNREADABLE, PointReader, page_count, page_length

PAGES, CHUNKS_OF_A_PAGE = 3, 4
"""Looked at, of a disk: each page costs one small read of the repository."""
TRIES = 24
"""Pages that are asked for: most of a thin disk read as zeroes."""
WHY = (
    "Where its dirty bitmap says that nothing changed, the disk's file holds other data than the parent point, as when another disk was "
    "copied over it."
)

_log = structlog.get_logger("seawall.agent.worker")


def continued(disks: Sequence[CapturedDisk], parent: PointReader | None, run_id: str) -> list[CapturedDisk]:
    """The disks, those compared whose bitmap is of something else. Raises what the sources and the parent's pack reader raise.

    The attempts of one run look at the same places: one that goes on with another's instant must find what that one found.
    """
    return [_continued(disk, parent, Random(f"{run_id} {disk.target}")) for disk in disks]  # noqa: S311  # a sample, no secret


def _continued(disk: CapturedDisk, parent: PointReader | None, rng: Random) -> CapturedDisk:
    before = parent.disk(disk.target) if parent is not None and disk.how == "bitmap" else None
    if parent is None or before is None or agrees(parent, before, disk.source, rng):
        return disk
    _log.warning("bitmap_of_another_disk", disk=disk.target, parent=parent.root.point_id)
    return replace(disk, how="compare", why=WHY, source=AllDirty(disk.source))


def agrees(parent: PointReader, before: DiskManifest, source: DiskSource, rng: Random) -> bool:
    """False: at a place that the bitmap calls clean the disk holds something else. True where nothing can be compared."""
    looked_at = 0
    for index in _order(page_count(before.size_bytes), rng):
        chunks = _clean_chunks(parent, before, source, index)
        if not chunks:
            continue
        some = chunks[:1] + rng.sample(chunks[1:], min(CHUNKS_OF_A_PAGE - 1, len(chunks) - 1))
        if any(_hash_at(parent, source, offset, length) != h for offset, length, h in some):
            return False
        looked_at += 1
        if looked_at == PAGES:
            break
    return True


def _order(pages: int, rng: Random) -> list[int]:
    """The first and the last page, where partition tables lie, and others by chance."""
    others = rng.sample(range(1, pages - 1), min(TRIES, pages - 2)) if pages > 2 else []
    return list(dict.fromkeys([0, pages - 1, *others])) if pages else []


def _clean_chunks(
    parent: PointReader, before: DiskManifest, source: DiskSource, index: int
) -> list[tuple[int, int, bytes]]:
    """(offset on the disk, length, hash) of those of the page that do not read as zeroes and lie in clean extents whole."""
    try:
        child = parent.page(before, index)
        leaf = parent.leaf(child, before, index) if child.chunk is not None else None
    except UNREADABLE:
        return []
    if leaf is None:
        return []
    start = index * PAGE_BYTES
    extents = source.extents(start, page_length(before.size_bytes, index))
    clean = iter(joined([(one.offset, one.offset + one.length) for one in extents if not one.dirty]))
    offsets, lengths = entry_offsets(leaf), leaf.entries["length"].tolist()
    found, run = [], next(clean, None)
    for at, length, entry in zip(offsets, lengths, leaf.entries, strict=True):
        while run is not None and run[1] <= start + at:
            run = next(clean, None)
        if run is not None and not entry["zero"] and run[0] <= start + at and start + at + length <= run[1]:
            found.append((start + at, length, entry["h"].tobytes()))
    return found


def _hash_at(parent: PointReader, source: DiskSource, offset: int, length: int) -> bytes:
    buffer = bytearray(length)
    source.read_into(offset, memoryview(buffer))
    return chunk_hash(parent.k_dedup, memoryview(buffer))


@dataclass(frozen=True, slots=True)
class AllDirty:
    """A disk whose bitmap is worth nothing. Zeroes stay known."""

    inner: DiskSource

    @property
    def size_bytes(self) -> int:
        return self.inner.size_bytes

    def extents(self, offset: int, length: int) -> Sequence[Extent]:
        return [replace(one, dirty=True) for one in self.inner.extents(offset, length)]

    def read_into(self, offset: int, buffer: memoryview) -> None:
        self.inner.read_into(offset, buffer)
