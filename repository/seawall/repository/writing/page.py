"""One page of the new point while its chunks are on their way. Filled by `writing.disk`, turned into a leaf by `writing.tree`."""

from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from seawall.repository.format.manifest import LEAF_ENTRY, Leaf
from seawall.repository.writing.packing import Placement
from seawall.repository.writing.parent import OldPage

_CHUNK_WEIGHT = 400
"""About what a new chunk of a page takes in memory until its pack is closed, in bytes."""


class NewChunk:
    """A chunk cut anew. `h`, and either `kept` or `placement`, are set by the flow, in that order of pages and chunks."""

    __slots__ = ("h", "kept", "length", "placement", "row")

    def __init__(self, length: int, row: int | None) -> None:
        self.length = length
        self.row = row
        """The entry of the old page that has a chunk at exactly this place."""
        self.h = b""
        self.kept = False
        """It is that very chunk."""
        self.placement: Placement | None = None

    @property
    def ready(self) -> bool:
        return self.kept or (self.placement is not None and self.placement.ready)


class PageDraft:
    """Pieces in disk order: entries of the old page, zeroes, new chunks."""

    def __init__(self, index: int, length: int, old: OldPage | None) -> None:
        self.index = index
        self.old = old
        self.weight_bytes = 0
        self._length = length
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

    def chunk(self, length: int, row: int | None) -> NewChunk:
        """`row`: of the old page's entry with a chunk of this length at this place."""
        piece = NewChunk(length, row)
        self.weight_bytes += _CHUNK_WEIGHT
        self._pieces.append(piece)
        self._new.append(piece)
        return piece

    @property
    def ready(self) -> bool:
        """Every chunk's locator is known. The last chunk is the last to be: looked at first."""
        return not self._new or (self._new[-1].ready and all(chunk.ready for chunk in self._new))

    def unchanged(self) -> bool:
        """Whether, once it is ready, it is the old page to the byte: all of its chunks are there again, each in its place."""
        if self.old is None or self.old.length != self._length or not all(chunk.kept for chunk in self._new):
            return False
        kept = sum(int((piece["zero"] == 0).sum()) for piece in self._pieces if isinstance(piece, np.ndarray))
        return kept + len(self._new) == self.old.chunks

    def leaf(self) -> Leaf | None:
        """The page, not yet in canonical form; None when it reads as zeroes entirely."""
        packs = list(self.old.leaf.packs) if self.old is not None else []
        numbers = {pack: number for number, pack in enumerate(packs)}
        parts: list[NDArray[np.void]] = []
        for kind, pieces in groupby(self._pieces, _kind):
            if kind is np.ndarray:
                parts += [piece for piece in pieces if isinstance(piece, np.ndarray)]
            elif kind is OldPage and self.old is not None:
                rows = [piece.row for piece in pieces if isinstance(piece, NewChunk) and piece.row is not None]
                parts.append(self.old.leaf.entries[rows])
            else:
                parts.append(np.array([_row_of(piece, numbers) for piece in pieces], dtype=LEAF_ENTRY))
        entries = np.concatenate(parts) if parts else np.zeros(0, dtype=LEAF_ENTRY)
        if entries["zero"].all():
            return None
        return Leaf(entries, tuple(numbers))


def _kind(piece: "NDArray[np.void] | int | NewChunk") -> type:
    """Where its entries come from: they are rows already, rows of the old page, or made one by one."""
    if isinstance(piece, np.ndarray):
        return np.ndarray
    return OldPage if isinstance(piece, NewChunk) and piece.kept else NewChunk


_Row = tuple[int, int, int, int, int, int, int, bytes]


def _row_of(piece: "NDArray[np.void] | int | NewChunk", numbers: dict[tuple[bytes, int], int]) -> _Row:
    """Zeroes, or a chunk, in the field order of LEAF_ENTRY. Arrays become one call for many rows: row by row it takes ten times as long."""
    if isinstance(piece, NewChunk):
        return _entry_of(piece, numbers)
    if isinstance(piece, int):
        return piece, 0, 0, 0, 0, 0, 1, b""
    raise RuntimeError("kept entries are rows already")


def _entry_of(chunk: NewChunk, numbers: dict[tuple[bytes, int], int]) -> _Row:
    if chunk.placement is None:
        raise RuntimeError("a chunk without a place")
    name, offset, stored_bytes, _, slot, codec = chunk.placement.row()
    return chunk.length, stored_bytes, offset, numbers.setdefault(name, len(numbers)), slot, codec, 0, chunk.h
