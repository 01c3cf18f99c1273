"""Whether the target holds a page already: its bytes are read back and hashed against the page's leaf. Called by `rescue.follower`.

An earlier attempt is never believed: hashing what is there costs no transfer, and what it proves is the very content that is kept.
"""

from collections.abc import Callable

import numpy as np

from seawall.repository.blocks import is_zero, pieces
from seawall.repository.crypto.chunk import chunk_hash
from seawall.repository.format.leaf import Leaf

ReadBack = Callable[[int, int], bytes]


def holds_page(read: ReadBack, k_dedup: bytes, start: int, leaf: Leaf) -> bool:
    """`read(offset, length)` gives bytes of the target, fewer at its end; `start`: of the page on the disk, in bytes."""
    at = start
    for entry in leaf.entries:
        length = int(entry["length"])
        if not (_holds_zeroes(read, at, length) if entry["zero"] else _holds_chunk(read, k_dedup, at, entry)):
            return False
        at += length
    return True


def _holds_zeroes(read: ReadBack, start: int, length: int) -> bool:
    for at, size in pieces(start, length):
        found = read(at, size)
        if len(found) != size or not is_zero(found):
            return False
    return True


def _holds_chunk(read: ReadBack, k_dedup: bytes, start: int, entry: np.void) -> bool:
    found = read(start, int(entry["length"]))
    return len(found) == int(entry["length"]) and chunk_hash(k_dedup, found) == entry["h"].tobytes()
