"""One pack's table of contents as a segment."""

import numpy as np
from numpy.typing import NDArray

from seawall.controller.errors import DataLoss
from seawall.controller.index.filter import FilterWriter, words_for
from seawall.controller.index.layout import HOLE, PACK, ROW, U32, VERIFIED, split_ids
from seawall.controller.index.search import DirectoryWriter
from seawall.controller.index.segment import Segment
from seawall.repository.format.record import ChunkType, Codec

CODECS = {codec.value: codec for codec in Codec}


def segment_of_pack(
    pack_id: bytes, generation: int, host_id: str, table: NDArray[np.void], *, verified: bool
) -> Segment:
    """`table`: TABLE_ENTRY. Raises DataLoss/BAD_TABLE (unknown codec or type, a slot twice)."""
    slots = table["slot"].astype(np.int64)
    _check(pack_id, table, slots)
    count = int(slots.max()) + 1 if len(slots) else 0
    rows = np.zeros(count, ROW)
    rows["kind"] = HOLE
    for name in ("offset", "stored_bytes", "raw_bytes", "codec"):
        rows[name][slots] = table[name]
    rows["kind"][slots] = table["type"]
    packs = np.zeros(1, PACK)
    packs[0] = (pack_id, 0, count, generation, 0, VERIFIED if verified else 0)
    # Only data can be deduplicated onto: the type is sealed with the content, so a META record under a data chunk's id never opens as data.
    data = table["type"] == ChunkType.DATA
    high, low = split_ids(np.ascontiguousarray(table["chunk_id"][data]).tobytes())
    order = np.lexsort((low, high))
    high, low, row = high[order], low[order], slots[data][order].astype(U32)
    directory, words = DirectoryWriter(len(high)), FilterWriter(words_for(len(high)))
    directory.add(high)
    pieces = [*words.add(high, low), words.finish()]
    filter_words = np.concatenate([piece for _, piece in pieces])
    return Segment((host_id,), directory.finish(), filter_words, packs, high, low, row, rows)


def _check(pack_id: bytes, table: NDArray[np.void], slots: NDArray[np.int64]) -> None:
    wrong = ""
    if int(table["codec"].max(initial=0)) > max(CODECS):
        wrong = "it names a codec that this controller does not know"
    elif int(table["type"].max(initial=0)) > max(ChunkType):
        wrong = "it names a type of chunk that there is not"
    elif len(slots) and int(np.bincount(slots).max()) > 1:
        wrong = "a slot occurs twice"
    if wrong:
        raise DataLoss("BAD_TABLE", f"The table of pack {pack_id.hex()} cannot be used: {wrong}.")
