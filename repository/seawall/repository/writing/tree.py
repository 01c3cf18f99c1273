"""The manifest of one disk as it grows: pages -> leaves -> inner nodes.

Leaves wait for their data packs, nodes for the meta packs of their leaves: a pack's id is known only when it closes.
"""

from collections import deque
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from seawall.repository.crypto.chunk import chunk_hash
from seawall.repository.format.manifest import (
    PAGES_PER_NODE,
    ZERO_CHILD,
    Child,
    InnerNode,
    canonical_leaf,
    encode_leaf,
    encode_node,
    leaf_slots,
)
from seawall.repository.format.record import ChunkType, seal_record
from seawall.repository.format.refmap import Refmap
from seawall.repository.writing.facts import WriteSettings
from seawall.repository.writing.packing import PackLine, Placement
from seawall.repository.writing.page import PageDraft
from seawall.repository.writing.parent import ParentDisk

MAX_WAITING_NODES = 4
"""More are not kept in memory: the meta pack is closed early."""


class MetaChunks:
    """Seals the chunks that describe the point. One for a point."""

    def __init__(self, settings: WriteSettings, line: PackLine) -> None:
        self._settings = settings
        self._line = line

    def hash(self, body: bytes) -> bytes:
        return chunk_hash(self._settings.k_dedup, body)

    def store(self, h: bytes, body: bytes) -> Placement:
        placement = Placement()
        level = self._settings.compression_level
        self._line.place(seal_record(self._settings.lineage_id, h, body, ChunkType.META, level), placement)
        return placement

    def push(self, placement: Placement) -> None:
        """Close the open pack if this chunk waits in it."""
        if self._line.holds(placement):
            self._line.close()


class _StoredChild:
    """A leaf or node on its way into a meta pack."""

    __slots__ = ("h", "placement", "slots")

    def __init__(self, h: bytes, placement: Placement, slots: Mapping[bytes, NDArray[np.uint16]]) -> None:
        self.h, self.placement, self.slots = h, placement, slots


class _Node:
    """An inner node being collected."""

    __slots__ = ("number", "pages")

    def __init__(self, number: int) -> None:
        self.number = number
        self.pages: list[Child | PageDraft | _StoredChild] = []


class DiskTree:
    """Pages are added in disk order. `advance` may be called at any time; `nodes` once every pack is closed."""

    def __init__(self, meta: MetaChunks, refmap: Refmap, parent: ParentDisk | None) -> None:
        self._meta = meta
        self._refmap = refmap
        self._parent = parent
        self._waiting: deque[_Node] = deque()
        self._drafts: deque[tuple[_Node, int, PageDraft]] = deque()
        self._nodes: list[Child | _StoredChild] = []
        self._ended = False
        self.weight_bytes = 0
        """Memory of the drafts that wait for their data packs."""

    def add(self, page: Child | PageDraft) -> None:
        """The next page: as it stands in the parent, zeroes, or a draft."""
        if not self._waiting or len(self._waiting[-1].pages) == PAGES_PER_NODE:
            self._waiting.append(_Node(len(self._nodes) + len(self._waiting)))
        node = self._waiting[-1]
        if isinstance(page, PageDraft):
            self._drafts.append((node, len(node.pages), page))
            self.weight_bytes += page.weight_bytes
        node.pages.append(page)

    def end(self) -> None:
        """No more pages come."""
        self._ended = True

    @property
    def resolved(self) -> bool:
        """Every page and every node is stored or on its way into a meta pack."""
        return self._ended and not self._waiting

    def advance(self) -> None:
        """Store the leaves whose data packs are closed, and the nodes whose leaves' meta packs are."""
        while self._drafts and self._drafts[0][2].ready:
            node, position, draft = self._drafts.popleft()
            node.pages[position] = self._leaf(draft)
            self.weight_bytes -= draft.weight_bytes
        while self._waiting and self._complete(self._waiting[0]):
            children = _children(self._waiting[0])
            if children is None:
                break
            self._nodes.append(self._node(self._waiting.popleft().number, children))
        if len(self._waiting) > MAX_WAITING_NODES and not self._drafts_in(self._waiting[0]):
            for page in self._waiting[0].pages:
                if isinstance(page, _StoredChild):
                    self._meta.push(page.placement)

    def nodes(self) -> tuple[Child, ...]:
        """The children of the root. Their chunks enter the refmap."""
        children = []
        for node in self._nodes:
            child = _resolved(node)
            if child is None:
                raise RuntimeError("the nodes of a disk were asked for before their packs were closed")
            if child.chunk is not None:
                self._refmap.add(child.chunk.pack_id, [child.chunk.slot])
            children.append(Child(child.h, child.chunk, {}))
        return tuple(children)

    def _complete(self, node: _Node) -> bool:
        full = len(node.pages) == PAGES_PER_NODE or self._ended or node is not self._waiting[-1]
        return full and not self._drafts_in(node)

    def _drafts_in(self, node: _Node) -> bool:
        return bool(self._drafts) and self._drafts[0][0] is node

    def _leaf(self, draft: PageDraft) -> Child | _StoredChild:
        old = draft.old.child if draft.old is not None else None
        usable = old is not None and self._parent is not None and not self._parent.bad.touch(old)
        if old is not None and old.chunk is not None and usable and draft.unchanged():
            return old
        leaf = draft.leaf()
        if leaf is None:
            return ZERO_CHILD
        leaf = canonical_leaf(leaf)
        body = encode_leaf(leaf)
        h = self._meta.hash(body)
        if old is not None and old.h == h and usable:
            return old
        return _StoredChild(h, self._meta.store(h, body), leaf_slots(leaf))

    def _node(self, number: int, children: tuple[Child, ...]) -> Child | _StoredChild:
        for child in children:
            for pack_id, slots in child.slots.items():
                self._refmap.add(pack_id, slots)
            if child.chunk is not None:
                self._refmap.add(child.chunk.pack_id, [child.chunk.slot])
        self._refmap.slots()  # folds what was added into one array per pack: a refmap of a large disk stays small
        if all(child.chunk is None for child in children):
            return ZERO_CHILD
        old = self._parent.unchanged_node(number, children) if self._parent is not None else None
        if old is not None:
            return old
        body = encode_node(InnerNode(children))
        h = self._meta.hash(body)
        return _StoredChild(h, self._meta.store(h, body), {})


def _children(node: _Node) -> tuple[Child, ...] | None:
    """The finished children, or None while a pack of theirs is open."""
    children = []
    for page in node.pages:
        child = _resolved(page)
        if child is None:
            return None
        children.append(child)
    return tuple(children)


def _resolved(page: Child | PageDraft | _StoredChild) -> Child | None:
    """The finished child, or None while its pack is open."""
    if isinstance(page, Child):
        return page
    if isinstance(page, PageDraft) or not page.placement.ready:
        return None
    return Child(page.h, page.placement.locator(), page.slots)
