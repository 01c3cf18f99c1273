"""Which ranges of which packs to read for a page. Pure; called by `reading.restore` and `reading.window`."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from seawall.repository.crypto.chunk import HASH_BYTES
from seawall.repository.format.manifest import Leaf
from seawall.repository.format.record import Codec

GAP_BYTES = 64 * 1024
REQUEST_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class PackPlace:
    """Where in one generation of its pack a record lies."""

    generation: int
    offset: int


@dataclass(frozen=True, slots=True)
class WantedChunk:
    """One record, and where in the page its bytes go (more than one place when the page repeats itself).

    `named`: where its page says that it lies, once it is looked for in another generation.
    """

    h: bytes
    offset: int
    stored_bytes: int
    raw_bytes: int
    codec: Codec
    places: tuple[int, ...]
    named: PackPlace | None = None


@dataclass(frozen=True, slots=True)
class PackRequest:
    """One ranged read. `chunks` ascend by offset and lie within the range."""

    pack_id: bytes
    generation: int
    offset: int
    length: int
    chunks: tuple[WantedChunk, ...]


def zero_ranges(leaf: Leaf) -> Iterator[tuple[int, int]]:
    """(start, length) of each run of zeroes in the page."""
    starts = entry_starts(leaf)
    for index in np.flatnonzero(leaf.entries["zero"]):
        yield int(starts[index]), int(leaf.entries["length"][index])


def pack_requests(leaf: Leaf, *, first: int = 0, end: int | None = None) -> list[PackRequest]:
    """Coalesced reads for the entries first..end of a page, in the order of their first place on the disk."""
    requests: list[PackRequest] = []
    for pack, wanted in _by_pack(leaf, first, len(leaf.entries) if end is None else end).items():
        pack_id, generation = leaf.packs[pack]
        requests += joined(pack_id, generation, wanted)
    return sorted(requests, key=lambda request: min(chunk.places[0] for chunk in request.chunks))


def joined(pack_id: bytes, generation: int, wanted: Iterable[WantedChunk]) -> list[PackRequest]:
    """Reads of one generation of one pack, by offset: neighbours share one."""
    requests: list[PackRequest] = []
    group: list[WantedChunk] = []
    for chunk in sorted(wanted, key=lambda chunk: chunk.offset):
        if group and not _joins(group, chunk):
            requests.append(_request(pack_id, generation, group))
            group = []
        group.append(chunk)
    return [*requests, _request(pack_id, generation, group)]


def only(request: PackRequest, chunk: WantedChunk) -> PackRequest:
    """One chunk of a request by itself."""
    return PackRequest(request.pack_id, request.generation, chunk.offset, chunk.stored_bytes, (chunk,))


def entry_starts(leaf: Leaf) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Start of each entry within its page."""
    lengths = leaf.entries["length"].astype(np.int64)
    starts: np.ndarray[tuple[int], np.dtype[np.int64]] = np.cumsum(lengths) - lengths
    return starts


def _by_pack(leaf: Leaf, first: int, end: int) -> dict[int, list[WantedChunk]]:
    """Position in `leaf.packs` -> its records, each once. By column: a field of one row costs ten times an item of a list."""
    entries = leaf.entries[first:end]
    places: dict[tuple[int, int], tuple[int, ...]] = {}
    rows: dict[tuple[int, int], int] = {}
    keys = zip(entries["pack"].tolist(), entries["offset"].tolist(), strict=True)
    starts = entry_starts(leaf)[first:end].tolist()
    for row, (key, place, zero) in enumerate(zip(keys, starts, entries["zero"].tolist(), strict=True)):
        if not zero:
            places[key] = (*places.get(key, ()), place)
            rows.setdefault(key, row)
    hashes, lengths = entries["h"].tobytes(), entries["length"].tolist()
    stored, codecs = entries["stored_bytes"].tolist(), entries["codec"].tolist()
    packs: dict[int, list[WantedChunk]] = {}
    for (pack, offset), row in rows.items():
        h = hashes[row * HASH_BYTES : (row + 1) * HASH_BYTES]
        chunk = WantedChunk(h, offset, stored[row], lengths[row], Codec(codecs[row]), places[pack, offset])
        packs.setdefault(pack, []).append(chunk)
    return packs


def _joins(group: list[WantedChunk], chunk: WantedChunk) -> bool:
    behind = group[-1].offset + group[-1].stored_bytes
    return chunk.offset - behind <= GAP_BYTES and chunk.offset + chunk.stored_bytes - group[0].offset <= REQUEST_BYTES


def _request(pack_id: bytes, generation: int, group: list[WantedChunk]) -> PackRequest:
    length = group[-1].offset + group[-1].stored_bytes - group[0].offset
    return PackRequest(pack_id, generation, group[0].offset, length, tuple(group))
