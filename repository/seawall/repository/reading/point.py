"""Reads one point: its nodes, pages and members. Used by restore, by the writer of the next point, and by the verifier."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import chain
from threading import Lock
from typing import TypeVar

from seawall.repository.errors import IntegrityError, ObjectMissing, RepositoryError, StoreRefused
from seawall.repository.format.layout import pack_name
from seawall.repository.format.manifest import (
    PAGE_BYTES,
    PAGES_PER_NODE,
    Child,
    DiskManifest,
    InnerNode,
    Leaf,
    Root,
    decode_leaf,
    decode_node,
)
from seawall.repository.format.record import ChunkType, Codec, Locator, open_record
from seawall.repository.naming import naming
from seawall.repository.reading.damage import LOST, PassedOver
from seawall.repository.reading.moved import MovedPacks, Sought, sought_chunk
from seawall.repository.reading.port import PackReader
from seawall.repository.reading.requests import PackPlace, PackRequest, WantedChunk

UNREADABLE = (IntegrityError, ObjectMissing, StoreRefused)
"""This copy will not be read, now or later."""

_NODES_KEPT = 4

Decoded = TypeVar("Decoded")


class PointReader:
    """One committed point. Thread-safe; keeps a few decoded inner nodes."""

    def __init__(self, root: Root, lineage_id: bytes, k_dedup: bytes, packs: PackReader) -> None:
        self.root = root
        self.lineage_id = lineage_id
        self.k_dedup = k_dedup
        self.packs = packs
        self.moved = MovedPacks(packs)
        self.passed_over = PassedOver()
        self._nodes: OrderedDict[bytes, InnerNode] = OrderedDict()
        self._lock = Lock()

    def disk(self, name: str) -> DiskManifest | None:
        return next((disk for disk in self.root.disks if disk.disk == name), None)

    def page(self, disk: DiskManifest, index: int) -> Child:
        """The child of one page. Raises as `node` does."""
        return self.node(disk.nodes[index // PAGES_PER_NODE], disk, index // PAGES_PER_NODE).children[
            index % PAGES_PER_NODE
        ]

    def pages(self, disk: DiskManifest) -> Iterator[tuple[int, Child]]:
        """All pages of a disk in order, one node in memory at a time."""
        for number in range(len(disk.nodes)):
            for position, child in enumerate(self.node(disk.nodes[number], disk, number).children):
                yield number * PAGES_PER_NODE + position, child

    def node(self, child: Child, disk: DiskManifest, number: int) -> InnerNode:
        """Node `number` of a disk. Raises IntegrityError, ObjectMissing, StoreUnavailable."""
        pages = min(PAGES_PER_NODE, page_count(disk.size_bytes) - number * PAGES_PER_NODE)
        if child.chunk is None:
            return InnerNode((Child(b"", None, {}),) * pages)
        node = self._kept_node(child.h) or self._keep_node(child.h, self._meta(child.h, child.chunk, decode_node))
        if len(node.children) != pages:
            raise IntegrityError(
                f"point {self.root.point_id}, disk {disk.disk}: node {number} has {len(node.children)} pages"
            )
        return node

    def _kept_node(self, h: bytes) -> InnerNode | None:
        with self._lock:
            if h in self._nodes:
                self._nodes.move_to_end(h)
            return self._nodes.get(h)

    def _keep_node(self, h: bytes, node: InnerNode) -> InnerNode:
        with self._lock:
            self._nodes[h] = node
            if len(self._nodes) > _NODES_KEPT:
                self._nodes.popitem(last=False)
        return node

    def leaf(self, child: Child, disk: DiskManifest, index: int) -> Leaf:
        """Page `index`, which does not read as zeroes entirely. Raises IntegrityError, ObjectMissing, StoreUnavailable."""
        if child.chunk is None:
            raise ValueError("a page of zeroes has no leaf")
        leaf = self._meta(child.h, child.chunk, decode_leaf)
        length = int(leaf.entries["length"].sum(dtype="u8"))
        if length != page_length(disk.size_bytes, index):
            raise IntegrityError(f"point {self.root.point_id}, disk {disk.disk}: page {index} has {length} bytes")
        return leaf

    def member(self, name: str) -> bytes | None:
        """The content of a member, or None where the point has no such member."""
        for member in self.root.members:
            if member.name == name:
                return self._meta(member.h, member.chunk, bytes)
        return None

    def _meta(self, h: bytes, chunk: Locator, decode: Callable[[bytes], Decoded]) -> Decoded:
        """A META chunk; a second copy lies in the other generation of each pair (0 and 1, 2 and 3, ...), at the same place.

        A store may answer "refused" for what is missing, where listing is not permitted.
        """
        failed: dict[int, RepositoryError] = {}
        sought = Sought(chunk.pack_id, h, chunk.stored_bytes, chunk.raw_bytes, chunk.codec)
        named = PackPlace(chunk.generation, chunk.offset)
        places = _both_copies(chain([named], self.moved.anywhere(sought, failed)))
        found = _first_given(
            places, failed, UNREADABLE, lambda place: decode(self._record(sought, place, ChunkType.META))
        )
        if found is None:
            first, second = failed[chunk.generation], failed[chunk.generation ^ 1]
            raise type(first)(f"{first}; and its other copy: {second}") from first
        self._note_altered(chunk.pack_id, failed)
        return found

    def chunk_alone(self, request: PackRequest, chunk: WantedChunk, error: RepositoryError) -> bytes | None:
        """A data chunk of a read that failed as a whole: from where it was looked for, where its page names it, or any other generation of
        its pack, the newest first. Each may be altered in another place, and what one of them holds whole is had. None: none gives it.

        Raises StoreUnavailable, StoreRefused.
        """
        failed: dict[int, RepositoryError] = {}
        if len(request.chunks) == 1 or isinstance(error, ObjectMissing):
            failed[request.generation] = error
        sought = sought_chunk(request.pack_id, chunk)
        here = PackPlace(request.generation, chunk.offset)
        places = chain([here, chunk.named or here], self.moved.anywhere(sought, failed))
        found = _first_given(places, failed, LOST, lambda place: self._record(sought, place, ChunkType.DATA))
        if found is not None:
            self._note_altered(request.pack_id, failed)
        return found

    def _record(self, sought: Sought, place: PackPlace, type: ChunkType) -> bytes:
        """Proven. Raises IntegrityError, ObjectMissing, StoreUnavailable, StoreRefused."""
        with naming(self.pack_name(sought.pack_id, place.generation)):
            body = self.packs.read(sought.pack_id, place.generation, place.offset, sought.stored_bytes)
            return open_record(
                self.lineage_id, self.k_dedup, sought.h, type, Codec(sought.codec), sought.raw_bytes, body
            )

    def _note_altered(self, pack_id: bytes, failed: Mapping[int, RepositoryError]) -> None:
        for generation, error in failed.items():
            if isinstance(error, IntegrityError):
                self.passed_over.note(self.pack_name(pack_id, generation), error)

    def newer(self, request: PackRequest, error: RepositoryError) -> list[PackRequest]:
        """After `error` on data chunks: what takes the request's place in a newer generation. Empty: none lies there that holds them all.

        An altered generation that something newer stands in for is noted. Raises StoreUnavailable.
        """
        if isinstance(error, ObjectMissing):
            return self.moved.again(request)
        found = self.moved.instead(request) if isinstance(error, IntegrityError) else []
        if found:
            self.passed_over.note(self.pack_name(request.pack_id, request.generation), error)
        return found

    def pack_name(self, pack_id: bytes, generation: int) -> str:
        """Of the object, for messages."""
        return pack_name(self.root.tenant, pack_id, generation)


def _both_copies(places: Iterable[PackPlace]) -> Iterator[PackPlace]:
    for place in places:
        yield place
        yield replace(place, generation=place.generation ^ 1)


def _first_given(
    places: Iterable[PackPlace],
    failed: dict[int, RepositoryError],
    unreadable: tuple[type[RepositoryError], ...],
    read: Callable[[PackPlace], Decoded],
) -> Decoded | None:
    """What the first of the places gives; each generation is asked once, and why it failed is noted. None: none gives it."""
    for place in places:
        if place.generation in failed:
            continue
        try:
            return read(place)
        except unreadable as error:
            failed[place.generation] = error
    return None


def page_count(size_bytes: int) -> int:
    return -(-size_bytes // PAGE_BYTES)


def page_length(size_bytes: int, index: int) -> int:
    """Bytes of page `index`; the last page of a disk may be short."""
    return min(PAGE_BYTES, size_bytes - index * PAGE_BYTES)
