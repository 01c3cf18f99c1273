"""The cutter: content-defined chunks whose ends lie on the 4 KiB grid of a page. Pure; see DESIGN.md, "Chunks".

Per 4 KiB block one 64-bit fold (the xor of its 512 little-endian words) goes through two keyed rounds; a chunk may end behind a block whose
top bits come out all ones. Folding is vectorised; nothing looks ahead, so cutting may start anew at any earlier cut and find the same cuts.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

BLOCK_BYTES = 4096
NOMINAL_MIN_BYTES = 8 * 1024
NOMINAL_MAX_BYTES = 4 * 1024 * 1024

_WORDS = BLOCK_BYTES // 8
_CONTEXT = "seawall v1 cut function"


@dataclass(frozen=True, slots=True)
class Grid:
    """Where chunks may end, for one cut key and one nominal size.

    `nominal_bytes`: a power of two, 8 KiB to 4 MiB. Chunks have nominal/8 (at least one block) to 4 x nominal bytes; only the last chunk
    of a page may be shorter. Raises ValueError on other sizes.
    """

    cut_key: bytes = field(repr=False)
    nominal_bytes: int
    min_bytes: int = field(init=False)
    max_bytes: int = field(init=False)
    first_multiplier: np.uint64 = field(init=False, repr=False)
    second_multiplier: np.uint64 = field(init=False, repr=False)

    def __post_init__(self) -> None:
        nominal = self.nominal_bytes
        if not NOMINAL_MIN_BYTES <= nominal <= NOMINAL_MAX_BYTES or nominal & (nominal - 1):
            raise ValueError(
                f"chunk size {nominal} is not a power of two from {NOMINAL_MIN_BYTES} to {NOMINAL_MAX_BYTES}"
            )
        first, second = np.frombuffer(blake3(self.cut_key, derive_key_context=_CONTEXT).digest(16), dtype="<u8") | 1
        for name, value in (
            ("min_bytes", max(BLOCK_BYTES, nominal // 8)),
            ("max_bytes", nominal * 4),
            ("first_multiplier", first),
            ("second_multiplier", second),
        ):
            object.__setattr__(self, name, value)

    def boundaries(self, folds: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Per block: may a chunk end behind it? A block of fold 0 (all zeroes among them) never ends one."""
        mixed = folds * self.first_multiplier
        mixed ^= mixed >> np.uint64(32)
        mixed *= self.second_multiplier
        ones = self.nominal_bytes // BLOCK_BYTES - 1
        ends: NDArray[np.bool_] = (mixed >> np.uint64(64 - ones.bit_length())) == ones
        return ends

    def cuts(self, boundaries: NDArray[np.bool_], length: int) -> Iterator[int]:
        """Ends of all chunks of a stretch that begins at a cut and ends with its page. `boundaries` covers its `length` bytes."""
        finder = CutFinder(self, 0, length)
        finder.feed(boundaries)
        while (cut := finder.next_cut()) is not None:
            yield cut


def folds_of(data: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """One fold per block. The last, partial block counts as padded with zeroes."""
    whole = len(data) // BLOCK_BYTES
    folds: NDArray[np.uint64] = np.bitwise_xor.reduce(
        data[: whole * BLOCK_BYTES].view("<u8").reshape(whole, _WORDS), axis=1
    )
    if len(data) == whole * BLOCK_BYTES:
        return folds
    last = np.zeros(BLOCK_BYTES, dtype=np.uint8)
    last[: len(data) - whole * BLOCK_BYTES] = data[whole * BLOCK_BYTES :]
    return np.append(folds, np.bitwise_xor.reduce(last.view("<u8")))


class CutFinder:
    """Cuts one stretch, fed piece by piece: from `position`, a cut, towards `length`, the end of its page."""

    def __init__(self, grid: Grid, position: int, length: int) -> None:
        self._grid = grid
        self._length = length
        self.position = position
        """The last cut: where the next chunk begins."""
        self.known = position
        """Boundaries were fed for all bytes before this one."""
        self._ends: list[int] = []
        self._first = 0

    def feed(self, boundaries: NDArray[np.bool_]) -> None:
        """The flags of the blocks from `known` on."""
        ends = (np.flatnonzero(boundaries) + 1) * BLOCK_BYTES + self.known
        if self._first == len(self._ends):
            self._ends, self._first = [], 0
        self._ends.extend(ends.tolist())
        self.known = min(self._length, self.known + len(boundaries) * BLOCK_BYTES)

    def jump(self, position: int) -> None:
        """Go on from a later cut, found without boundaries."""
        self.position = position
        if position > self.known:
            self._ends, self._first, self.known = [], 0, position

    def next_cut(self) -> int | None:
        """The end of the chunk at `position`, which moves there. None: the page is done, or more boundaries must be fed."""
        if self.position >= self._length:
            return None
        last = min(self.position + self._grid.max_bytes, self._length)
        earliest = self.position + self._grid.min_bytes
        while self._first < len(self._ends) and self._ends[self._first] < earliest:
            self._first += 1
        if self._first < len(self._ends) and self._ends[self._first] <= last:
            cut = self._ends[self._first]
        elif self.known >= last or earliest >= self._length:
            cut = last
        else:
            return None
        self.position = cut
        return cut
