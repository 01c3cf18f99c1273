"""A segment: the chunks of some packs, sorted by id, never changed once built. The index is some in files and a few small in memory.

Entries of one id stand in the order of their hosts' names, so that a host finds its own copy among a thousand.
"""

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from seawall.controller.index.layout import U32, Flags, Positions, Rows, Table, Words, split_ids
from seawall.controller.index.search import RowOwners, bucket_bounds, halve


@dataclass(frozen=True, eq=False)
class Segment:
    """`packs[n]["host"]` is a position in `hosts`, which are in order."""

    hosts: tuple[str, ...]
    directory: Rows
    filter: Words
    packs: Table
    high: Words
    """First 8 bytes of the chunk id, big-endian."""
    low: Words
    """The last 8."""
    row: Rows
    """Position in `rows`."""
    rows: Table
    owner: object = field(default=None, repr=False)
    """Keeps the file mapped."""

    @property
    def entries(self) -> int:
        return len(self.high)

    @cached_property
    def owners(self) -> RowOwners:
        return RowOwners(self.packs["first_row"], len(self.rows))

    @cached_property
    def host_numbers(self) -> dict[str, int]:
        return {host: number for number, host in enumerate(self.hosts)}

    @cached_property
    def _packs_by_id(self) -> tuple[memoryview, memoryview, Rows]:
        """First and second words of the pack ids in order, and the number of the pack of each: 20 bytes a pack."""
        high, low = split_ids(np.ascontiguousarray(self.packs["pack_id"]).tobytes())
        order = np.lexsort((low, high))
        return high[order].data, low[order].data, order.astype(U32)

    def pack_number(self, pack_id: bytes) -> int | None:
        """No pack stands twice in a segment."""
        highs, lows, order = self._packs_by_id
        high, low = int.from_bytes(pack_id[:8], "big"), int.from_bytes(pack_id[8:], "big")
        at = bisect_left(highs, high)
        if at == len(highs) or highs[at] != high:
            return None
        at = bisect_left(lows, low, at, bisect_right(highs, high, at))
        return int(order[at]) if at < len(lows) and highs[at] == high and lows[at] == low else None

    def pack_ids(self) -> list[bytes]:
        joined = np.ascontiguousarray(self.packs["pack_id"]).tobytes()
        return [joined[start : start + 16] for start in range(0, len(joined), 16)]

    def rows_of(self, number: int) -> slice:
        """The rows of a pack, by slot."""
        pack = self.packs[number]
        return slice(int(pack["first_row"]), int(pack["first_row"]) + int(pack["slots"]))

    def lower_bound(self, high: Words, low: Words) -> Positions:
        """Where each id's first entry stands, or would be inserted."""
        left, right = bucket_bounds(self.directory, high)
        if not self.entries:
            return left
        last = self.entries - 1
        first = halve(left, right, lambda at: np.less(self.high[np.minimum(at, last)], high))
        # Two ids seldom share their first word: only then look at the second. Halving, so that a host that forges such ids gains nothing.
        inside = np.minimum(first, last)
        unsettled = np.flatnonzero((first < right) & (self.high[inside] == high) & (self.low[inside] < low))
        if len(unsettled):
            first[unsettled] = self._bound(first, right, high, low, unsettled, orequal=False)
        return first

    def upper_bound(self, high: Words, low: Words) -> Positions:
        """The position behind each id's last entry."""
        left, right = bucket_bounds(self.directory, high)
        return self._bound(left, right, high, low, np.arange(len(high)), orequal=True)

    def is_id(self, at: Positions, high: Words, low: Words) -> Flags:
        """Whether this id stands at this position; positions may be behind the end."""
        if not self.entries:
            return np.zeros(len(at), np.bool_)
        inside = np.minimum(at, self.entries - 1)
        # Most are told apart by the first word: the second is not touched.
        same: Flags = (at < self.entries) & (self.high[inside] == high)
        chosen = np.flatnonzero(same)
        same[chosen] = self.low[inside[chosen]] == low[chosen]
        return same

    def _bound(
        self, left: Positions, right: Positions, high: Words, low: Words, chosen: Positions, *, orequal: bool
    ) -> Positions:
        high, low, last = high[chosen], low[chosen], self.entries - 1

        def before(at: Positions) -> Flags:
            inside = np.minimum(at, last)
            here_high, here_low = self.high[inside], self.low[inside]
            within = np.less_equal(here_low, low) if orequal else np.less(here_low, low)
            return np.less(here_high, high) | (np.equal(here_high, high) & within)

        return halve(left[chosen], right[chosen], before)
