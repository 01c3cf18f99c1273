"""The parent point as the writer sees it: may its entries be used at all, which pages does it have, which of its slots are bad."""

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seawall.repository.chunking.grid import Grid
from seawall.repository.chunking.incremental import OldCuts, Range, joined
from seawall.repository.crypto.chunk import HASH_BYTES
from seawall.repository.format.manifest import LEAF_ENTRY, Child, DiskManifest, Leaf, entry_offsets
from seawall.repository.format.record import Locator
from seawall.repository.reading.point import UNREADABLE, PointReader, page_count, page_length
from seawall.repository.writing.facts import HOW_FULL, DiskToWrite, WriteSettings

Slot = tuple[bytes, int]
"""(pack id, slot)."""


class BadSlots:
    """Slots that must not be named again: missing, damaged or condemned. Immutable."""

    def __init__(self, slots: Collection[Slot]) -> None:
        by_pack: dict[bytes, set[int]] = {}
        for pack_id, slot in slots:
            by_pack.setdefault(pack_id, set()).add(slot)
        self._by_pack = by_pack

    def __contains__(self, locator: Locator) -> bool:
        return locator.slot in self._by_pack.get(locator.pack_id, ())

    def touch(self, child: Child) -> bool:
        """Whether the page's chunk or any chunk of its data is bad."""
        if not self._by_pack:
            return False
        if child.chunk is not None and child.chunk in self:
            return True
        return any(
            not self._by_pack[pack_id].isdisjoint(child.slots[pack_id].tolist())
            for pack_id in self._by_pack.keys() & child.slots.keys()
        )

    def ranges(self, page: "OldPage") -> list[Range]:
        """The stretches of a page whose entries are bad."""
        return joined([page.range_of(row) for row in self.rows(page.leaf)])

    def rows(self, leaf: Leaf) -> list[int]:
        """The entries of a page that are bad."""
        found: list[int] = []
        for position, (pack_id, _) in enumerate(leaf.packs):
            if pack_id not in self._by_pack:
                continue
            entries = leaf.entries
            here = (entries["zero"] == 0) & (entries["pack"] == position)
            here &= np.isin(entries["slot"], list(self._by_pack[pack_id]))
            found += np.flatnonzero(here).tolist()
        return found


@dataclass(frozen=True, slots=True)
class OldPage:
    """A page of the parent point, decoded. Lists and dictionaries: chunk by chunk they answer ten times faster than arrays."""

    child: Child
    leaf: Leaf
    starts: list[int]
    lengths: list[int]
    cuts: OldCuts
    hashes: bytes
    """The column `h`."""
    usable: dict[int, int]
    """Start -> entry, of the chunks that may be named again."""
    chunks: int
    """How many entries are no zeroes."""

    @property
    def length(self) -> int:
        return self.cuts.length

    def range_of(self, index: int) -> Range:
        start = self.starts[index]
        return start, start + self.lengths[index]

    def row_at(self, start: int, end: int) -> int | None:
        """The entry of the chunk that covers exactly this range and may be named again; None where there is none, or zeroes."""
        row = self.usable.get(start)
        return row if row is not None and self.lengths[row] == end - start else None

    def hash_of(self, row: int) -> bytes:
        return self.hashes[row * HASH_BYTES : (row + 1) * HASH_BYTES]

    def entries(self, start: int, end: int) -> NDArray[np.void]:
        """A copy of the entries of this range, which begins and ends at cuts; an entry of zeroes may be cut short."""
        first = bisect_right(self.starts, start) - 1
        behind = bisect_left(self.starts, end)
        entries = self.leaf.entries[first:behind].copy()
        entries["length"][-1] -= self.range_of(behind - 1)[1] - end
        entries["length"][0] -= start - self.starts[first]
        return entries


class ParentDisk:
    """One disk of the parent point, its grid and key proven to fit. Thread-safe."""

    def __init__(self, reader: PointReader, disk: DiskManifest, grid: Grid, bad: BadSlots) -> None:
        self._reader = reader
        self._disk = disk
        self._grid = grid
        self.bad = bad
        self.size_bytes = disk.size_bytes

    def unchanged_node(self, number: int, children: Sequence[Child]) -> Child | None:
        """The parent's inner node, if it has exactly these children and its own chunk is not bad."""
        if number >= len(self._disk.nodes):
            return None
        node = self._disk.nodes[number]
        if node.chunk is None or node.chunk in self.bad:
            return None
        try:
            old = self._reader.node(node, self._disk, number).children
        except UNREADABLE:
            return None
        same = len(old) == len(children) and all(
            one.h == other.h and one.chunk == other.chunk for one, other in zip(old, children, strict=True)
        )
        return node if same else None

    def covers(self, index: int) -> bool:
        return index < page_count(self.size_bytes)

    def length_of(self, index: int) -> int:
        return page_length(self.size_bytes, index)

    def page(self, index: int) -> Child | None:
        """The page as the parent's node has it. None: beyond the parent's end, or it cannot be read any more."""
        if not self.covers(index):
            return None
        try:
            return self._reader.page(self._disk, index)
        except UNREADABLE:
            return None

    def load(self, index: int, child: Child) -> OldPage | None:
        """The decoded page, or None where it is bad or cannot be read any more. Raises StoreUnavailable."""
        length = page_length(self.size_bytes, index)
        if child.chunk is None:
            return _old_page(child, _zero_leaf(length), length, self._grid, self.bad)
        if child.chunk in self.bad:
            return None
        try:
            return _old_page(child, self._reader.leaf(child, self._disk, index), length, self._grid, self.bad)
        except UNREADABLE:
            return None


def usable_parent(
    reader: PointReader | None, wanted: DiskToWrite, settings: WriteSettings, grid: Grid, bad: BadSlots
) -> tuple[ParentDisk | None, str]:
    """(the parent's disk, "") or (None, why it is not used). Never raises."""
    if wanted.how == HOW_FULL:
        return None, wanted.why
    if reader is None:
        return None, wanted.why or "there is no parent point"
    root, disk = reader.root, reader.disk(wanted.disk)
    if disk is None:
        return None, f"the parent point has no disk {wanted.disk}"
    if (root.lineage_id, root.tenant) != (settings.lineage_id, settings.tenant):
        return None, "the parent point lies in another repository"
    if root.key_epoch != settings.key_epoch:
        return None, f"the parent point was written under key epoch {root.key_epoch}, now it is {settings.key_epoch}"
    if disk.chunk_nominal_bytes != settings.chunk_nominal_bytes:
        return (
            None,
            f"the parent point has chunks of {disk.chunk_nominal_bytes} bytes, now {settings.chunk_nominal_bytes}",
        )
    if disk.grid_phase:
        return None, f"the parent point's chunk grid is shifted by {disk.grid_phase} bytes"
    return ParentDisk(reader, disk, grid, bad), ""


def _zero_leaf(length: int) -> Leaf:
    entries = np.zeros(1, dtype=LEAF_ENTRY)
    entries["length"] = length
    entries["zero"] = 1
    return Leaf(entries, ())


def _old_page(child: Child, leaf: Leaf, length: int, grid: Grid, bad: BadSlots) -> OldPage:
    starts, lengths = list(entry_offsets(leaf)), leaf.entries["length"].tolist()
    data = np.flatnonzero(leaf.entries["zero"] == 0).tolist()
    cuts: list[int] = []
    for start, entry_length, is_zero in zip(starts, lengths, leaf.entries["zero"].tolist(), strict=True):
        if is_zero:
            cuts.extend(range(start + grid.max_bytes, start + entry_length, grid.max_bytes))
        cuts.append(start + entry_length)
    unusable = set(bad.rows(leaf))
    usable = {starts[row]: row for row in data if row not in unusable}
    return OldPage(
        child, leaf, starts, lengths, OldCuts(cuts, length), leaf.entries["h"].tobytes(), usable, chunks=len(data)
    )


def recorded_how(wanted: DiskToWrite, parent: ParentDisk | None, why: str) -> tuple[str, str]:
    """(how, why) as the root records them."""
    return (wanted.how, wanted.why) if parent is not None else (HOW_FULL, why)
