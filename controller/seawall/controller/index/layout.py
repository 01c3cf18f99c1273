"""The tables of a segment: entries in columns sorted by chunk id, packs, and one row per slot of each pack."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

U64 = np.dtype("<u8")
U32 = np.dtype("<u4")

PACK = np.dtype(
    [
        ("pack_id", "V16"),
        ("first_row", "<u4"),
        ("slots", "<u4"),
        ("generation", "<u4"),
        ("host", "<u4"),
        ("flags", "<u4"),
    ]
)
VERIFIED = 1
"""Flag of a pack: it answers every host."""
FORGOTTEN = 2
"""Never in a file: the next merge leaves the pack out."""

ROW = np.dtype([("offset", "<u4"), ("stored_bytes", "<u4"), ("raw_bytes", "<u4"), ("codec", "u1"), ("kind", "u1")])
"""Of pack n: `first_row` and the next `slots`. `kind` is the chunk's type, perhaps with WITHDRAWN; or HOLE, all else 0."""
WITHDRAWN = 0x80
HOLE = 0xFF

Words = NDArray[np.uint64]
Rows = NDArray[np.uint32]
Positions = NDArray[np.int64]
Flags = NDArray[np.bool_]
Table = NDArray[np.void]
AnyArray = NDArray[Any]


def split_ids(joined: bytes) -> tuple[Words, Words]:
    """Ids of 16 bytes, concatenated, as two words each; words compare as the ids do."""
    words = np.frombuffer(joined, ">u8").reshape(-1, 2)
    return words[:, 0].astype(U64), words[:, 1].astype(U64)
