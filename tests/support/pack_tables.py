"""Tables of contents of packs, made up."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from seawall.repository.format.pack import TABLE_ENTRY


def table_of(chunk_ids: Sequence[bytes], seed: int = 0) -> NDArray[np.void]:
    """One slot per id, in order; lengths and offsets follow from the seed and the slot."""
    table = np.zeros(len(chunk_ids), TABLE_ENTRY)
    slots = np.arange(len(chunk_ids))
    if len(chunk_ids):
        table["chunk_id"] = np.frombuffer(b"".join(chunk_ids), "V16")
    table["slot"] = slots
    table["raw_bytes"] = 4096 * (1 + (slots + seed) % 16)
    table["stored_bytes"] = 100 + (slots * 7 + seed) % 1000
    table["offset"] = 64 + slots * 1100
    table["codec"] = (slots + seed) % 2
    return table


def random_ids(count: int, seed: int) -> list[bytes]:
    """Ids of 16 bytes."""
    joined = np.random.default_rng(seed).bytes(16 * count)
    return [joined[16 * n : 16 * n + 16] for n in range(count)]
