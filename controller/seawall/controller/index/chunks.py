"""The chunk index of one repository: answers Lookup, and knows the plain lengths that commit validation sums up.

A cache: everything in it can be read again from the packs' tables of contents. What was inserted since the last `flush` is lost with the
process; the caller compares `known_packs` with its packs at the start and inserts the missing ones again.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import structlog
from numpy.typing import NDArray

from seawall.controller.errors import AlreadyExists, DataLoss, Unavailable
from seawall.controller.index.file import IndexDamaged, read_segment, write_merged
from seawall.controller.index.segment import (
    SLOT_BITS,
    SLOT_MASK,
    Merge,
    Segment,
    empty_segment,
    merged,
    segment_of_pack,
    split_ids,
)
from seawall.repository.format.record import Codec, Locator

FILE_NAME = "chunks.index"
MERGE_ENTRIES = 131_072  # of the part in memory, 5 MB; or an eighth of the file, so that merging costs at most nine writes per entry
CODECS = {codec.value: codec for codec in Codec}

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _State:
    """One moment's index. Replaced as a whole, so that lookups need no lock."""

    base: Segment
    merging: tuple[Segment, ...] = ()
    """In memory, on the way into the next file."""
    recent: tuple[Segment, ...] = ()

    @property
    def segments(self) -> tuple[Segment, ...]:
        return (self.base, *self.merging, *self.recent)


class ChunkIndex:
    """Thread-safe. Lookups never wait for inserts or merges."""

    def __init__(self, path: Path, base: Segment, rebuild_reason: str | None, merge_entries: int) -> None:
        self._path = path
        self._state = _State(base)
        self._merge_entries = merge_entries
        self._change = threading.Lock()  # around each replacement of the state
        self._merge = threading.Lock()  # one merge at a time
        self._background: threading.Thread | None = None
        self.rebuild_reason = rebuild_reason
        """Why the index began empty: no file, or a damaged one. None: the file was read."""

    @classmethod
    def open(cls, directory: Path, *, merge_entries: int = MERGE_ENTRIES) -> "ChunkIndex":
        """Makes the directory. A missing or damaged file gives an empty index and a `rebuild_reason`. Raises OSError (no access)."""
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = directory / FILE_NAME
        try:
            return cls(path, read_segment(path), None, merge_entries)
        except IndexDamaged as error:
            return cls(path, empty_segment(), str(error), merge_entries)

    @property
    def entries(self) -> int:
        return sum(segment.entries for segment in self._state.segments)

    def known_packs(self) -> frozenset[bytes]:
        """Ids of all packs in the index."""
        return frozenset().union(*(segment.pack_numbers.keys() for segment in self._state.segments))

    def insert_pack(self, pack_id: bytes, generation: int, host_id: str, table: NDArray[np.void]) -> None:
        """Enter a pack's table of contents (TABLE_ENTRY). A pack that is known already changes nothing.

        Raises AlreadyExists/PACK_FOREIGN (known as another host's), DataLoss/BAD_TABLE.
        """
        fresh = _checked_segment(pack_id, generation, host_id, table)
        with self._change:
            if self._host_of(pack_id) not in (None, host_id):
                raise AlreadyExists("PACK_FOREIGN", f"Pack {pack_id.hex()} belongs to another host.")
            if self._host_of(pack_id) is not None:
                return
            state = self._state
            self._state = _State(state.base, state.merging, _compacted((*state.recent, fresh)))
            self._merge_if_large()

    def lookup(self, host_id: str, ids: Sequence[bytes]) -> dict[int, Locator]:
        """Positions in `ids` of the chunks that this host's own packs hold, with where they lie. Ids have 16 bytes."""
        high, low = split_ids(b"".join(ids))
        order = np.lexsort((low, high))  # neighbours in the question are neighbours in the file
        high, low = high[order], low[order]
        found: dict[int, Locator] = {}
        for segment in self._state.segments:
            if not len(order):
                break
            entries = segment.find(host_id, high, low)
            hit = entries >= 0
            if hit.any():
                found.update(_locators(segment, order[hit], entries[hit]))
                order, high, low = order[~hit], high[~hit], low[~hit]
        return found

    def raw_lengths(self, pack_id: bytes) -> NDArray[np.uint32] | None:
        """Plain length of each chunk of a pack, by slot; 0 for a slot that it does not hold; None for an unknown pack."""
        for segment in self._state.segments:
            number = segment.pack_numbers.get(pack_id)
            if number is not None:
                return segment.raw_lengths(number)
        return None

    def flush(self) -> None:
        """Merge what is in memory into the file. Durable when it returns. Raises Unavailable/INDEX_NOT_WRITTEN; nothing is lost then."""
        with self._merge:
            with self._change:
                taken = self._state.recent
                if not taken:
                    return
                self._state = _State(self._state.base, taken, ())
            try:
                base = self._written(self._state.base, taken)
            except OSError as error:
                with self._change:
                    self._state = _State(self._state.base, (), (*taken, *self._state.recent))
                raise Unavailable(
                    "INDEX_NOT_WRITTEN", f"The chunk index {self._path} cannot be written: {error}"
                ) from error
            with self._change:
                self._state = _State(base, (), self._state.recent)

    def close(self) -> None:
        """Wait for a merge under way, then flush."""
        if self._background is not None:
            self._background.join()
        self.flush()

    def _written(self, base: Segment, taken: tuple[Segment, ...]) -> Segment:
        small = taken[-1]
        for segment in reversed(taken[:-1]):
            small = merged(segment, small)
        write_merged(self._path, Merge(base, small))
        return read_segment(self._path)

    def _host_of(self, pack_id: bytes) -> str | None:
        for segment in self._state.segments:
            number = segment.pack_numbers.get(pack_id)
            if number is not None:
                return segment.hosts[int(segment.packs[number]["host"])]
        return None

    def _merge_if_large(self) -> None:
        waiting = sum(segment.entries for segment in self._state.recent)
        running = self._background is not None and self._background.is_alive()
        if not running and waiting >= max(self._merge_entries, self._state.base.entries // 8):
            self._background = threading.Thread(target=self._flush_in_background, name="chunk-index-merge", daemon=True)
            self._background.start()

    def _flush_in_background(self) -> None:
        try:
            self.flush()
        except Exception:
            _log.exception("index.merge_failed", path=str(self._path))


def _checked_segment(pack_id: bytes, generation: int, host_id: str, table: NDArray[np.void]) -> Segment:
    if not set(np.unique(table["codec"]).tolist()) <= CODECS.keys():
        raise DataLoss(
            "BAD_TABLE", f"The table of pack {pack_id.hex()} names a codec that this controller does not know."
        )
    try:
        return segment_of_pack(pack_id, generation, host_id, table)
    except ValueError as error:
        raise DataLoss("BAD_TABLE", f"The table of pack {pack_id.hex()} is wrong: {error}.") from error


def _compacted(segments: tuple[Segment, ...]) -> tuple[Segment, ...]:
    """Neighbours of like size become one, so that there are never more than a few (as many as the total has binary digits)."""
    stack = list(segments)
    while len(stack) > 1 and stack[-2].entries <= 2 * stack[-1].entries:
        stack[-2:] = [merged(stack[-2], stack[-1])]
    return tuple(stack)


def _locators(segment: Segment, positions: NDArray[np.int64], entries: NDArray[np.int64]) -> dict[int, Locator]:
    ref = segment.ref[entries]
    slots = (ref & SLOT_MASK).astype(np.int64)
    packs = segment.packs[(ref >> SLOT_BITS).astype(np.int64)]
    rows = segment.rows[packs["first_row"].astype(np.int64) + slots]
    joined = np.ascontiguousarray(packs["pack_id"]).tobytes()
    columns = zip(
        positions.tolist(),
        packs["generation"].tolist(),
        slots.tolist(),
        rows["offset"].tolist(),
        rows["stored_bytes"].tolist(),
        rows["raw_bytes"].tolist(),
        rows["codec"].tolist(),
        strict=True,
    )
    return {
        position: Locator(joined[16 * n : 16 * n + 16], generation, slot, offset, stored, raw, CODECS[codec])
        for n, (position, generation, slot, offset, stored, raw, codec) in enumerate(columns)
    }
