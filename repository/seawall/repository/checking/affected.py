"""Which points the bad slots of a repository cost, and what of them. Called at the end of every check and healing.

The answer is made anew from all bad slots and the refmaps of all points: repeating it changes nothing, and points that were healed
become whole again.
"""

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from seawall.repository.checking.opened_point import opened_point
from seawall.repository.checking.port import CommittedPoint, Ledger, PointDamage
from seawall.repository.errors import (
    FormatUnsupported,
    IntegrityError,
    ObjectMissing,
    RefmapInvalid,
    StoreRefused,
    WrongKey,
)
from seawall.repository.format.layout import PointName
from seawall.repository.format.manifest import PAGE_BYTES, PAGES_PER_NODE, Child, DiskManifest, entry_offsets
from seawall.repository.format.record import Locator
from seawall.repository.reading.damage import merged
from seawall.repository.reading.point import UNREADABLE, PointReader, page_count, page_length
from seawall.repository.repository import OpenRepository

PACKS_KEPT = 20
RANGES_KEPT = 16

_UNKNOWN = (*UNREADABLE, RefmapInvalid, WrongKey, KeyError)

Bad = Mapping[bytes, NDArray[np.uint16]]
"""Pack id -> its bad slots."""


def mark_points(repository: OpenRepository, ledger: Ledger) -> Iterator[tuple[PointName, PointDamage | None]]:
    """Each point whose damage was recorded or taken back. Raises StoreUnavailable, BucketMissing, and what the ledger raises."""
    bad = {pack.id: pack.bad.array() for pack in ledger.damaged_packs() if len(pack.bad)}
    for point in ledger.points():
        if not bad and not point.damaged:
            continue
        ledger.may_continue()
        damage = _damage(repository, point, bad)
        if damage is not None or point.damaged:
            ledger.damage(point.name, damage)
            yield point.name, damage


def _damage(repository: OpenRepository, point: CommittedPoint, bad: Bad) -> PointDamage | None:
    name = point.name
    try:
        slots = repository.read_refmap(name.tenant, name.vm_id, name.point_id).slots()
    except (ObjectMissing, IntegrityError, RefmapInvalid, StoreRefused, FormatUnsupported):
        slots = {}  # nobody can tell what it needs: the structure check says so
    lost = {pack_id: np.intersect1d(slots[pack_id], bad[pack_id]) for pack_id in slots.keys() & bad.keys()}
    lost = {pack_id: found for pack_id, found in sorted(lost.items()) if len(found)}
    if not lost:
        return None
    disks = _ranges(repository, name, lost)
    return PointDamage(
        chunks=sum(len(found) for found in lost.values()),
        packs=tuple(lost)[:PACKS_KEPT],
        packs_total=len(lost),
        bytes=sum(length for ranges in disks.values() for _, length in ranges),
        disks={disk: ranges[:RANGES_KEPT] for disk, ranges in disks.items()},
    )


def _ranges(repository: OpenRepository, name: PointName, lost: Bad) -> dict[str, tuple[tuple[int, int], ...]]:
    """Disk -> what of it cannot be read. Empty where even that cannot be told."""
    try:
        reader = opened_point(repository, name)
        found = {disk.disk: merged(_disk_ranges(reader, disk, lost)) for disk in reader.root.disks}
    except (*_UNKNOWN, FormatUnsupported):
        return {}
    return {disk: ranges for disk, ranges in found.items() if ranges}


def _disk_ranges(reader: PointReader, disk: DiskManifest, lost: Bad) -> Iterator[tuple[int, int]]:
    for number, node in enumerate(disk.nodes):
        first = number * PAGES_PER_NODE
        pages = min(PAGES_PER_NODE, page_count(disk.size_bytes) - first)
        try:
            children = reader.node(node, disk, number).children
        except UNREADABLE:
            yield from [_whole_page(disk, first + position) for position in range(pages)]
            continue
        for position, child in enumerate(children):
            yield from _page_ranges(reader, disk, first + position, child, lost)


def _page_ranges(
    reader: PointReader, disk: DiskManifest, index: int, child: Child, lost: Bad
) -> Iterator[tuple[int, int]]:
    own = child.chunk is not None and _names(child.chunk, lost)
    if not own and not any(
        len(np.intersect1d(child.slots[one], lost[one])) for one in child.slots.keys() & lost.keys()
    ):
        return
    try:
        leaf = reader.leaf(child, disk, index)
    except UNREADABLE:
        yield _whole_page(disk, index)
        return
    starts = entry_offsets(leaf)
    for position, (pack_id, _) in enumerate(leaf.packs):
        if pack_id in lost:
            here = (leaf.entries["zero"] == 0) & (leaf.entries["pack"] == position)
            here &= np.isin(leaf.entries["slot"], lost[pack_id])
            for at in np.flatnonzero(here).tolist():
                yield index * PAGE_BYTES + starts[at], int(leaf.entries["length"][at])


def _names(chunk: Locator, lost: Bad) -> bool:
    return chunk.pack_id in lost and bool(np.any(lost[chunk.pack_id] == chunk.slot))


def _whole_page(disk: DiskManifest, index: int) -> tuple[int, int]:
    return index * PAGE_BYTES, page_length(disk.size_bytes, index)
