"""What a lookup finds, as plain tuples: a busy controller makes many thousand of them a second, and objects cost more than the search."""

from collections.abc import Iterable
from typing import TypeAlias

import numpy as np

from seawall.controller.index.layout import U32, Positions
from seawall.controller.index.segment import Segment
from seawall.controller.index.table import CODECS
from seawall.repository.format.record import Locator

Found: TypeAlias = tuple[int, bytes, int, int, int, int, int, int]
"""Position in what was asked, pack id, generation, slot, offset, stored bytes, raw bytes, codec."""


def found_of(segment: Segment, positions: Positions, rows: Positions) -> Iterable[Found]:
    """`rows`: numbers of rows in the segment, as many as positions."""
    packs = segment.packs[segment.owners.of(rows.astype(U32))]
    places = segment.rows[rows]
    joined = np.ascontiguousarray(packs["pack_id"]).tobytes()
    return zip(
        positions.tolist(),
        [joined[start : start + 16] for start in range(0, len(joined), 16)],
        packs["generation"].tolist(),
        (rows - packs["first_row"]).tolist(),
        places["offset"].tolist(),
        places["stored_bytes"].tolist(),
        places["raw_bytes"].tolist(),
        places["codec"].tolist(),
        strict=True,
    )


def locators_of(found: Iterable[Found]) -> dict[int, Locator]:
    """By position."""
    return {
        position: Locator(pack_id, generation, slot, offset, stored, raw, CODECS[codec])
        for position, pack_id, generation, slot, offset, stored, raw, codec in found
    }
