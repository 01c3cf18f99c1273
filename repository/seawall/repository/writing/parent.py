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
from seawall.repository.format.record import Codec, Locator
from seawall.repository.reading.point import UNREADABLE, PointReader, page_count, page_length
from seawall.repository.writing.facts import HOW_FULL, DiskToWrite, WriteSettings

_CODECS = (Codec.RAW, Codec.ZSTD)

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
        found = []
        for position, (pack_id, _) in enumerate(page.leaf.packs):
            if pack_id not in self._by_pack:
                continue
            entries = page.leaf.entries
            here = (entries["zero"] == 0) & (entries["pack"] == position)
            here &= np.isin(entries["slot"], list(self._by_pack[pack_id]))
            found += [page.range_of(int(index)) for index in np.flatnonzero(here)]
        return joined(found)


@dataclass(frozen=True, slots=True)
class OldPage:
    """A page of the parent point, decoded. Columns are lists of plain numbers: chunk by chunk they answer ten times faster than arrays."""

    child: Child
    leaf: Leaf
    starts: list[int]
    lengths: list[int]
    cuts: OldCuts
    columns: "_Columns"

    def range_of(self, index: int) -> Range:
        start = self.starts[index]
        return start, start + self.lengths[index]

    def chunk_at(self, start: int, end: int) -> tuple[bytes, Locator] | None:
        """(h, locator) of the chunk that covers exactly this range; None where there is none, or zeroes."""
        index = bisect_left(self.starts, start)
        if index == len(self.starts) or self.starts[index] != start or self.lengths[index] != end - start:
            return None
        columns = self.columns
        if columns.zero[index]:
            return None
        pack_id, generation = self.leaf.packs[columns.pack[index]]
        return columns.h[index * HASH_BYTES : (index + 1) * HASH_BYTES], Locator(
            pack_id,
            generation,
            columns.slot[index],
            columns.offset[index],
            columns.stored_bytes[index],
            end - start,
            _CODECS[columns.codec[index]],
        )

    def entries(self, start: int, end: int) -> NDArray[np.void]:
        """A copy of the entries of this range, which begins and ends at cuts; an entry of zeroes may be cut short."""
        first = bisect_right(self.starts, start) - 1
        behind = bisect_left(self.starts, end)
        entries = self.leaf.entries[first:behind].copy()
        entries["length"][-1] -= self.range_of(behind - 1)[1] - end
        entries["length"][0] -= start - self.starts[first]
        return entries


class _Columns:
    """Of a leaf, one list for each."""

    __slots__ = ("codec", "h", "offset", "pack", "slot", "stored_bytes", "zero")

    def __init__(self, entries: NDArray[np.void]) -> None:
        self.h = entries["h"].tobytes()
        self.codec: list[int] = entries["codec"].tolist()
        self.offset: list[int] = entries["offset"].tolist()
        self.pack: list[int] = entries["pack"].tolist()
        self.slot: list[int] = entries["slot"].tolist()
        self.stored_bytes: list[int] = entries["stored_bytes"].tolist()
        self.zero: list[int] = entries["zero"].tolist()


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
            return _old_page(child, _zero_leaf(length), length, self._grid)
        if child.chunk in self.bad:
            return None
        try:
            return _old_page(child, self._reader.leaf(child, self._disk, index), length, self._grid)
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


def _old_page(child: Child, leaf: Leaf, length: int, grid: Grid) -> OldPage:
    starts, lengths = list(entry_offsets(leaf)), leaf.entries["length"].tolist()
    columns = _Columns(leaf.entries)
    cuts: list[int] = []
    for start, entry_length, is_zero in zip(starts, lengths, columns.zero, strict=True):
        if is_zero:
            cuts.extend(range(start + grid.max_bytes, start + entry_length, grid.max_bytes))
        cuts.append(start + entry_length)
    return OldPage(child, leaf, starts, lengths, OldCuts(cuts, length), columns)


def recorded_how(wanted: DiskToWrite, parent: ParentDisk | None, why: str) -> tuple[str, str]:
    """(how, why) as the root records them."""
    return (wanted.how, wanted.why) if parent is not None else (HOW_FULL, why)
