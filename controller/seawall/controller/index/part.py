"""A part of the index: a segment, and what became of its packs and slots since it was built."""

import numpy as np
from numpy.typing import NDArray

from seawall.controller.index.filter import passes
from seawall.controller.index.layout import FORGOTTEN, HOLE, VERIFIED, WITHDRAWN, Flags, Positions, Rows, Words
from seawall.controller.index.question import Question
from seawall.controller.index.search import halve
from seawall.controller.index.segment import Segment

MOST_FOREIGN_COPIES = 64
"""Of one id in one segment are looked at until one answers: more of them would let a hostile host slow down everyone's lookups. A host's
own copies are all looked at."""


class Part:
    """Lookups read it without a lock. Marks are only ever added, one writer at a time (the index's lock)."""

    def __init__(self, segment: Segment, flags: Rows | None = None, withdrawn: NDArray[np.uint8] | None = None) -> None:
        self.segment = segment
        self.flags: Rows = segment.packs["flags"].copy() if flags is None else flags
        """Of each pack: VERIFIED, FORGOTTEN."""
        self.withdrawn = np.zeros((len(segment.rows) + 7) // 8, np.uint8) if withdrawn is None else withdrawn
        """One bit per row: withdrawn since the segment was built."""
        self.dropped = self._dropped() if withdrawn is not None else 0
        """About how many entries answer no more."""
        self.unsaved = False
        """Marks were added that no file has."""

    def live(self, pack_id: bytes) -> int | None:
        """Number of a pack that was not forgotten."""
        number = self.segment.pack_number(pack_id)
        return number if number is not None and self.is_live(number) else None

    def is_live(self, number: int) -> bool:
        return not self.flags[number] & FORGOTTEN

    def mark_verified(self, number: int) -> None:
        if not self.flags[number] & VERIFIED:
            self.flags[number] |= VERIFIED
            self.unsaved = True

    def forget(self, number: int) -> None:
        self.flags[number] |= FORGOTTEN
        self.dropped += int(self.segment.packs[number]["slots"])
        self.unsaved = True

    def withdraw(self, number: int, slots: NDArray[np.int64]) -> None:
        """Slots that the pack does not have are passed over."""
        pack = self.segment.packs[number]
        rows = np.unique(slots[(slots >= 0) & (slots < int(pack["slots"]))]) + int(pack["first_row"])
        fresh = rows[~self._is_withdrawn(rows)]
        if len(fresh):
            np.bitwise_or.at(self.withdrawn, fresh >> 3, (1 << (fresh & 7)).astype(np.uint8))
            self.dropped += len(fresh)
            self.unsaved = True

    def withdrawn_slots(self, number: int) -> NDArray[np.int64]:
        """Those of a pack that answer no more, ascending; holes are not among them."""
        inside = self.segment.rows_of(number)
        kind = self.segment.rows["kind"][inside]
        since = self._is_withdrawn(np.arange(inside.start, inside.stop))
        return np.flatnonzero((kind != HOLE) & (since | (kind & WITHDRAWN != 0)))

    def find(self, host_id: str, question: Question) -> Positions:
        """For each id the row of a copy that may answer this host, or -1."""
        found = np.full(len(question), -1, np.int64)
        maybe = np.flatnonzero(passes(self.segment.filter, question.high, question.bits))
        if not len(maybe) or not self.segment.entries:
            return found
        high, low = question.high[maybe], question.low[maybe]
        at = self.segment.lower_bound(high, low)
        there = np.flatnonzero(self.segment.is_id(at, high, low))
        maybe, at = maybe[there], at[there]
        host = self.segment.host_numbers.get(host_id, -1)
        rows = self.segment.row[at]
        answers = self._answers(host, rows)
        found[maybe[answers]] = rows[answers]
        rest = np.flatnonzero(~answers)
        if len(rest):
            found[maybe[rest]] = self._other_copies(host, at[rest], high[there[rest]], low[there[rest]])
        return found

    def _other_copies(self, host: int, first: Positions, high: Words, low: Words) -> Positions:
        """`first`: where each id's first copy stands, which may not answer."""
        segment = self.segment
        found = np.full(len(first), -1, np.int64)
        more = np.flatnonzero(segment.is_id(first + 1, high, low))
        if not len(more):
            return found
        first, high, low = first[more], high[more], low[more]
        end = segment.upper_bound(high, low)
        found[more] = self._first_answering(host, first, np.minimum(end, first + MOST_FOREIGN_COPIES))
        own, own_end = self._own(host, first, end)
        while (left := np.flatnonzero((found[more] < 0) & (own < own_end))).size:
            until = np.minimum(own_end[left], own[left] + MOST_FOREIGN_COPIES)
            found[more[left]] = self._first_answering(host, own[left], until)
            own[left] = until
        return found

    def _own(self, host: int, first: Positions, end: Positions) -> tuple[Positions, Positions]:
        """Where among an id's copies the host's own stand: they are in order of hosts."""
        last = self.segment.entries - 1

        def host_at(at: Positions) -> NDArray[np.uint32]:
            owners = self.segment.owners.of(self.segment.row[np.minimum(at, last)])
            return np.asarray(self.segment.packs["host"][owners])

        start = halve(first, end, lambda at: host_at(at) < host)
        return start, halve(start, end, lambda at: host_at(at) <= host)

    def _first_answering(self, host: int, start: Positions, end: Positions) -> Positions:
        """The row of the first copy in [start, end) that answers, or -1; at most MOST_FOREIGN_COPIES copies each."""
        width = int((end - start).max(initial=0))
        if not width:
            return np.full(len(start), -1, np.int64)
        at = start[:, None] + np.arange(width)
        rows = self.segment.row[np.minimum(at, self.segment.entries - 1)]
        answers = self._answers(host, rows.ravel()).reshape(rows.shape) & (at < end[:, None])
        chosen = answers.argmax(axis=1)
        lines = np.arange(len(start))
        return np.where(answers[lines, chosen], rows[lines, chosen].astype(np.int64), -1)

    def _answers(self, host: int, rows: Rows) -> Flags:
        owners = self.segment.owners.of(rows)
        flags = self.flags[owners]
        allowed = (self.segment.packs["host"][owners] == host) | (flags & VERIFIED != 0)
        return np.asarray(allowed & (flags & FORGOTTEN == 0) & ~self._is_withdrawn(rows.astype(np.int64)))

    def _is_withdrawn(self, rows: NDArray[np.int64]) -> Flags:
        return np.asarray((self.withdrawn[rows >> 3] >> (rows & 7).astype(np.uint8)) & 1 != 0)

    def _dropped(self) -> int:
        forgotten = self.segment.packs["slots"][self.flags & FORGOTTEN != 0].sum(dtype=np.int64)
        return int(np.bitwise_count(self.withdrawn).sum(dtype=np.int64)) + int(forgotten)
