"""A segment: the chunks of some packs, sorted, never changed once built. The index is a large one in a file and a few small in memory.

Entries are grouped by host and sorted by chunk id within a host, so that a host's question touches only its own packs and one hash that a
thousand hosts stored costs nothing. An entry is 24 bytes (id as two words, pack number and slot in a third); what stands once per slot is
14 bytes in `rows`: 38 bytes per chunk.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from seawall.repository.format.record import ChunkType

U64 = np.dtype("<u8")
PACK = np.dtype([("pack_id", "V16"), ("first_row", "<u8"), ("host", "<u4"), ("generation", "<u4"), ("slots", "<u4")])
ROW = np.dtype([("offset", "<u4"), ("stored_bytes", "<u4"), ("raw_bytes", "<u4"), ("codec", "u1"), ("type", "u1")])
SLOT_BITS = np.uint64(16)
SLOT_MASK = np.uint64(0xFFFF)

Words = NDArray[np.uint64]


@dataclass(frozen=True, eq=False)
class Segment:
    """`bounds[i]:bounds[i + 1]` are the entries of `hosts[i]`; `packs[n]["host"]` is a position in `hosts`."""

    hosts: tuple[str, ...]
    bounds: Words
    high: Words
    """First 8 bytes of the chunk id, big-endian."""
    low: Words
    """The last 8."""
    ref: Words
    """Pack number << 16 | slot."""
    packs: NDArray[np.void]
    rows: NDArray[np.void]
    """Of pack n: `first_row` and the next `slots`. A slot that the pack does not hold has raw_bytes 0."""
    owner: object = field(default=None, repr=False)
    """Keeps the file mapped."""

    @cached_property
    def pack_numbers(self) -> Mapping[bytes, int]:
        """Pack id -> number."""
        joined = np.ascontiguousarray(self.packs["pack_id"]).tobytes()
        return {joined[16 * number : 16 * number + 16]: number for number in range(len(self.packs))}

    @cached_property
    def _host_numbers(self) -> Mapping[str, int]:
        return {host: number for number, host in enumerate(self.hosts)}

    @property
    def entries(self) -> int:
        return len(self.high)

    def section(self, host_id: str) -> tuple[int, int]:
        """First entry and the one behind the last of a host."""
        number = self._host_numbers.get(host_id)
        return (0, 0) if number is None else (int(self.bounds[number]), int(self.bounds[number + 1]))

    def find(self, host_id: str, high: Words, low: Words) -> NDArray[np.int64]:
        """The entry of each id among this host's, or -1."""
        start, end = self.section(host_id)
        if start == end:
            return np.full(len(high), -1, np.int64)
        found = start + lower_bound(self.high[start:end], self.low[start:end], high, low)
        inside = np.minimum(found, end - 1)
        same = (found < end) & (self.high[inside] == high) & (self.low[inside] == low)
        return np.where(same, found, -1)

    def raw_lengths(self, number: int) -> NDArray[np.uint32]:
        """Plain lengths of a pack's chunks by slot."""
        pack = self.packs[number]
        first = int(pack["first_row"])
        return self.rows["raw_bytes"][first : first + int(pack["slots"])].astype(np.uint32)


def lower_bound(high: Words, low: Words, want_high: Words, want_low: Words) -> NDArray[np.int64]:
    """Where each wanted id stands, or would be inserted, in a section sorted by (high, low)."""
    first = np.searchsorted(high, want_high, "left").astype(np.int64)
    inside = np.minimum(first, len(high) - 1)
    # Two ids seldom share their first word: only then look at the second. Halving, so that a host that forges such ids gains nothing.
    unsettled = np.flatnonzero((first < len(high)) & (high[inside] == want_high) & (low[inside] < want_low))
    if not len(unsettled):
        return first
    left = first[unsettled]
    right = np.searchsorted(high, want_high[unsettled], "right").astype(np.int64)
    wanted = want_low[unsettled]
    while (left < right).any():
        middle = np.minimum((left + right) // 2, len(high) - 1)
        less = (left < right) & (low[middle] < wanted)
        right = np.where(less | (left >= right), right, middle)
        left = np.where(less, middle + 1, left)
    first[unsettled] = left
    return first


def split_ids(joined: bytes) -> tuple[Words, Words]:
    """Ids of 16 bytes, concatenated, as two words each."""
    words = np.frombuffer(joined, ">u8").reshape(-1, 2)
    return words[:, 0].astype(U64), words[:, 1].astype(U64)


def empty_segment() -> Segment:
    none = np.zeros(0, U64)
    return Segment((), np.zeros(1, U64), none, none, none, np.zeros(0, PACK), np.zeros(0, ROW))


def segment_of_pack(pack_id: bytes, generation: int, host_id: str, table: NDArray[np.void]) -> Segment:
    """One pack's table of contents (TABLE_ENTRY) as a segment. Raises ValueError when a slot occurs twice."""
    slots = table["slot"].astype(np.int64)
    count = int(slots.max()) + 1 if len(slots) else 0
    if len(np.unique(slots)) != len(slots):
        raise ValueError("a slot occurs twice")
    rows = np.zeros(count, ROW)
    for name in ROW.names or ():
        rows[name][slots] = table[name]
    # Only data can be deduplicated onto: the type is sealed with the content, so a META record under a data chunk's id never opens as data.
    data = table["type"] == ChunkType.DATA
    high, low = split_ids(np.ascontiguousarray(table["chunk_id"][data]).tobytes())
    slots = slots[data]
    order = np.lexsort((low, high))
    packs = np.zeros(1, PACK)
    packs[0] = (pack_id, 0, 0, generation, count)
    bounds = np.array([0, len(slots)], U64)
    return Segment((host_id,), bounds, high[order], low[order], slots[order].astype(U64), packs, rows)


@dataclass(frozen=True, eq=False)
class Merge:
    """Two segments about to be one: `old` keeps its pack numbers, those of `new` follow. Columns come in pieces, to write or to join."""

    old: Segment
    new: Segment

    @cached_property
    def hosts(self) -> tuple[str, ...]:
        known = set(self.old.hosts)
        return self.old.hosts + tuple(host for host in self.new.hosts if host not in known)

    @cached_property
    def bounds(self) -> Words:
        sizes = [sum(end - start for start, end in self._sections(host)) for host in self.hosts]
        return np.cumsum([0, *sizes]).astype(U64)

    def columns(self) -> Iterator[Iterator[Words]]:
        """high, low, ref: each in pieces, host by host."""
        shift = U64.type(len(self.old.packs)) << SLOT_BITS
        yield self._column(self.old.high, self.new.high)
        yield self._column(self.old.low, self.new.low)
        yield self._column(self.old.ref, self.new.ref + shift)

    def packs(self) -> NDArray[np.void]:
        added = self.new.packs.copy()
        added["first_row"] += len(self.old.rows)
        numbers = {host: number for number, host in enumerate(self.hosts)}
        renumbered = np.array([numbers[host] for host in self.new.hosts], np.uint32)
        if len(added):
            added["host"] = renumbered[added["host"]]
        return np.concatenate([self.old.packs, added])

    @cached_property
    def _places(self) -> dict[str, NDArray[np.int64]]:
        """Where the new entries of each host go among its old ones."""
        places = {}
        for host in self.hosts:
            (a, b), (c, d) = self._sections(host)
            if a < b and c < d:
                places[host] = lower_bound(self.old.high[a:b], self.old.low[a:b], self.new.high[c:d], self.new.low[c:d])
            else:
                places[host] = np.zeros(d - c, np.int64)
        return places

    def _sections(self, host: str) -> tuple[tuple[int, int], tuple[int, int]]:
        return self.old.section(host), self.new.section(host)

    def _column(self, old: Words, new: Words) -> Iterator[Words]:
        for host in self.hosts:
            (a, b), (c, d) = self._sections(host)
            yield np.insert(old[a:b], self._places[host], new[c:d])


def merged(old: Segment, new: Segment) -> Segment:
    """Both in memory."""
    merge = Merge(old, new)
    high, low, ref = (np.concatenate([np.zeros(0, U64), *column]) for column in merge.columns())
    return Segment(merge.hosts, merge.bounds, high, low, ref, merge.packs(), np.concatenate([old.rows, new.rows]))


def is_sorted(segment: Segment) -> bool:
    """Whether the order that `find` relies on holds. For tests and repairs: it reads everything."""
    for start, end in pairwise(int(bound) for bound in segment.bounds):
        high, low = segment.high[start:end], segment.low[start:end]
        if not ((high[1:] > high[:-1]) | ((high[1:] == high[:-1]) & (low[1:] >= low[:-1]))).all():
            return False
    return True
