"""One page of the new point while its chunks are on their way. Filled by `writing.disk`, turned into a leaf by `writing.tree`."""

import numpy as np
from numpy.typing import NDArray

from seawall.repository.format.manifest import LEAF_ENTRY, Leaf
from seawall.repository.writing.packing import Placement
from seawall.repository.writing.parent import OldPage

_CHUNK_WEIGHT = 400
"""About what a new chunk of a page takes in memory until its pack is closed, in bytes."""


class NewChunk:
    """A chunk cut anew. `h` and `placement` are set by the flow, in that order of pages and chunks."""

    __slots__ = ("h", "length", "placement")

    def __init__(self, length: int) -> None:
        self.length = length
        self.h = b""
        self.placement: Placement | None = None

    @property
    def ready(self) -> bool:
        return self.placement is not None and self.placement.ready


class PageDraft:
    """Pieces in disk order: entries of the old page, zeroes, new chunks."""

    def __init__(self, index: int, old: OldPage | None) -> None:
        self.index = index
        self.old = old
        self.weight_bytes = 0
        self._pieces: list[NDArray[np.void] | int | NewChunk] = []
        self._new: list[NewChunk] = []

    def keep(self, start: int, end: int) -> None:
        """Entries of the old page."""
        if self.old is None:
            raise RuntimeError("nothing can be kept of a page without an old one")
        entries = self.old.entries(start, end)
        self.weight_bytes += entries.nbytes
        self._pieces.append(entries)

    def zero(self, length: int) -> None:
        self._pieces.append(length)

    def chunk(self, length: int) -> NewChunk:
        piece = NewChunk(length)
        self.weight_bytes += _CHUNK_WEIGHT
        self._pieces.append(piece)
        self._new.append(piece)
        return piece

    @property
    def ready(self) -> bool:
        """Every chunk's locator is known. The last chunk is the last to be: looked at first."""
        return not self._new or (self._new[-1].ready and all(chunk.ready for chunk in self._new))

    def leaf(self) -> Leaf | None:
        """The page, not yet in canonical form; None when it reads as zeroes entirely."""
        entries = np.zeros(sum(_entry_count(piece) for piece in self._pieces), dtype=LEAF_ENTRY)
        packs = list(self.old.leaf.packs) if self.old is not None else []
        numbers = {pack: number for number, pack in enumerate(packs)}
        at = 0
        for piece in self._pieces:
            count = _entry_count(piece)
            if isinstance(piece, int):
                entries["length"][at] = piece
                entries["zero"][at] = 1
            elif isinstance(piece, NewChunk):
                entries[at] = _entry_of(piece, numbers)
            else:
                entries[at : at + count] = piece
            at += count
        if entries["zero"].all():
            return None
        return Leaf(entries, tuple(numbers))


def _entry_count(piece: NDArray[np.void] | int | NewChunk) -> int:
    return len(piece) if isinstance(piece, np.ndarray) else 1


def _entry_of(
    chunk: NewChunk, numbers: dict[tuple[bytes, int], int]
) -> tuple[int, int, int, int, int, int, int, bytes]:
    if chunk.placement is None:
        raise RuntimeError("a chunk without a place")
    found = chunk.placement.locator()
    pack = numbers.setdefault((found.pack_id, found.generation), len(numbers))
    return chunk.length, found.stored_bytes, found.offset, pack, found.slot, int(found.codec), 0, chunk.h
