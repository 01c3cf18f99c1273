"""One point, from its root to its last entry: nodes and pages are read and proven, the chunks that they name stand in their packs' tables.

Pages that the VM's points share are decoded once. Data chunks themselves are not read: that is `contents`.
"""

from collections.abc import Callable, Mapping

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from seawall.repository.checking.finding import Findings, Reason
from seawall.repository.checking.tables import UNREADABLE, Tables, agrees
from seawall.repository.crypto.chunk import chunk_id
from seawall.repository.errors import RepositoryError
from seawall.repository.format.layout import pack_name
from seawall.repository.format.manifest import PAGES_PER_NODE, Child, DiskManifest, Leaf, leaf_slots
from seawall.repository.format.record import Locator
from seawall.repository.format.refmap import Refmap
from seawall.repository.format.slot_set import SlotSet
from seawall.repository.reading.point import PointReader

SEEN_PAGES = 1 << 20
"""Most pages remembered as sound: 64 TiB of one VM's disks, 100 MB. Beyond it pages are checked again."""

_DIGEST = 16


class SoundPages:
    """Pages of one VM that were found sound, with the slots that their node says they use: its points share most of them."""

    def __init__(self) -> None:
        self._seen: set[bytes] = set()

    def __contains__(self, page: Child) -> bool:
        return _digest_of(page) in self._seen

    def add(self, page: Child) -> None:
        if len(self._seen) >= SEEN_PAGES:
            self._seen.clear()
        self._seen.add(_digest_of(page))


def _digest_of(page: Child) -> bytes:
    """Another node may name the same page with other slots: a refmap made from those would leave out what the page needs."""
    said = blake3(page.h)
    for pack_id, slots in sorted(page.slots.items()):
        said.update(pack_id + len(slots).to_bytes(4, "little") + slots.tobytes())
    return said.digest(length=_DIGEST)


class TreeCheck:
    """Of one point. `bad`: slots that its manifest names and that are not there, by pack: they must not be named again."""

    def __init__(
        self, reader: PointReader, tables: Tables, findings: Findings, sound: SoundPages, step: Callable[[], None]
    ) -> None:
        """`step`: called before each node, that is 16 GiB of a disk; what it raises ends the check."""
        self._reader = reader
        self._tables = tables
        self._findings = findings
        self._sound = sound
        self._step = step
        self.refmap = Refmap()
        self.complete = True
        """Whether `refmap` is all that the point needs: every node could be read."""
        self.covered = True
        """Whether every pack that the point needs was looked at: every page could be read, too."""
        self.bad: dict[bytes, set[int]] = {}

    def run(self) -> None:
        """Raises StoreUnavailable, BucketMissing, FormatUnsupported, and what the ledger raises."""
        for disk in self._reader.root.disks:
            for number, node in enumerate(disk.nodes):
                self._node(disk, number, node)
        for member in self._reader.root.members:
            what = f"the member {member.name!r}"
            self._chunk(member.chunk, member.h, what)
            try:
                self._reader.member(member.name)
            except UNREADABLE as error:
                self._unreadable(Reason.MEMBER_DAMAGED, member.chunk, what, error)

    def _node(self, disk: DiskManifest, number: int, node: Child) -> None:
        self._step()
        if node.chunk is None:
            return
        what = f"node {number} of disk {disk.disk}"
        self._chunk(node.chunk, node.h, what)
        try:
            children = self._reader.node(node, disk, number).children
        except UNREADABLE as error:
            self.complete = False
            self._unreadable(Reason.NODE_DAMAGED, node.chunk, what, error)
            return
        for position, child in enumerate(children):
            self._page(disk, number * PAGES_PER_NODE + position, child)

    def _page(self, disk: DiskManifest, index: int, child: Child) -> None:
        if child.chunk is None:
            return
        for pack_id, slots in child.slots.items():
            self.refmap.add(pack_id, slots)
        what = f"page {index} of disk {disk.disk}"
        self._chunk(child.chunk, child.h, what)
        if child in self._sound:
            return
        try:
            leaf = self._reader.leaf(child, disk, index)
        except UNREADABLE as error:
            self._unreadable(Reason.PAGE_DAMAGED, child.chunk, what, error)
            return
        if self._entries(leaf, child, what):
            self._sound.add(child)

    def _entries(self, leaf: Leaf, child: Child, what: str) -> bool:
        if not _same(leaf_slots(leaf), child.slots):
            name = self._name(child.chunk) if child.chunk else ""
            sentence = f"{what} uses other slots than its node says"
            self._findings.add(Reason.REFMAP_DIFFERS, name, sentence, (self._reader.root.point_id,))
        sound = True
        for position, (pack_id, generation) in enumerate(leaf.packs):
            entries = leaf.entries[(leaf.entries["zero"] == 0) & (leaf.entries["pack"] == position)]
            sound &= self._entries_of(pack_id, generation, entries, what)
        return sound

    def _entries_of(self, pack_id: bytes, generation: int, entries: NDArray[np.void], what: str) -> bool:
        pack = self._tables.of(pack_id)
        if pack.facts is None:
            self._unknown(pack_id, generation, what)
            return False
        if pack.table is None:  # told once, with the pack; the point is told from its refmap
            return False
        rows, there = pack.rows(entries["slot"])
        same = there.copy()
        current = pack.current(generation)
        pairs = [("raw_bytes", "length"), ("codec", "codec")]
        pairs += [("offset", "offset"), ("stored_bytes", "stored_bytes")] if current else []
        for mine, theirs in pairs:
            same &= rows[mine] == entries[theirs]
        for at in np.flatnonzero(same):
            same[at] = rows["chunk_id"][at].tobytes() == chunk_id(entries["h"][at].tobytes())
        if not same.all():
            self._differs(pack_id, pack.facts.generation, entries["slot"][~same], what)
        return bool(same.all())

    def _chunk(self, chunk: Locator, h: bytes, what: str) -> None:
        """A META chunk's place in its pack."""
        self.refmap.add(chunk.pack_id, [chunk.slot])
        pack = self._tables.of(chunk.pack_id)
        if pack.facts is None:
            self._unknown(chunk.pack_id, chunk.generation, what)
        elif pack.table is not None:
            rows, there = pack.rows(np.array([chunk.slot], dtype=np.uint16))
            current = pack.current(chunk.generation)
            if not there[0] or not agrees(rows[0], chunk, chunk_id(h), current=current):
                self._differs(chunk.pack_id, pack.facts.generation, np.array([chunk.slot], dtype=np.uint16), what)

    def _differs(self, pack_id: bytes, generation: int, slots: NDArray[np.uint16], what: str) -> None:
        self.bad.setdefault(pack_id, set()).update(slots.tolist())
        sentence = f"{what} names {len(slots)} chunks in it that are not there, or are others"
        name = pack_name(self._reader.root.tenant, pack_id, generation)
        self._findings.add(Reason.ENTRY_DIFFERS, name, sentence, (self._reader.root.point_id,))

    def _unknown(self, pack_id: bytes, generation: int, what: str) -> None:
        name = pack_name(self._reader.root.tenant, pack_id, generation)
        sentence = f"{what} names this pack, which the catalogue does not hold as stored"
        self._findings.add(Reason.PACK_UNKNOWN, name, sentence, (self._reader.root.point_id,))

    def _unreadable(self, reason: Reason, chunk: Locator, what: str, error: RepositoryError) -> None:
        self.covered = False
        self.bad.setdefault(chunk.pack_id, set()).add(chunk.slot)
        sentence = f"{what} cannot be read: {error}"
        self._findings.add(reason, self._name(chunk), sentence, (self._reader.root.point_id,))

    def _name(self, chunk: Locator) -> str:
        return pack_name(self._reader.root.tenant, chunk.pack_id, chunk.generation)


def differs(found: Refmap, stored: Refmap) -> bool:
    """Whether two refmaps name other slots."""
    return not _same(found.slots(), stored.slots())


def bad_slots(bad: Mapping[bytes, set[int]]) -> dict[bytes, SlotSet]:
    return {pack_id: SlotSet.of(sorted(slots)) for pack_id, slots in bad.items()}


def _same(one: Mapping[bytes, NDArray[np.uint16]], other: Mapping[bytes, NDArray[np.uint16]]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(slots, other[pack_id]) for pack_id, slots in one.items())
