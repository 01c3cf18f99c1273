"""A blocked Bloom filter over chunk ids: says for certain that an id is not in a segment, without touching its entries.

One block is one word of 64 bits: an id has four bits (from the second half of the id) in one word (chosen by the first half, in
ascending order, so that the filter of sorted entries is written front to back). 12 bits per entry: about 1.2 % of the ids that are
not there pass, and cost a search. Ids that a host forges can fill some words, with the same small effect.
"""

from collections.abc import Iterator

import numpy as np

from seawall.controller.index.layout import U64, Flags, Positions, Words

BITS_PER_ENTRY = 12
_BITS_PER_ID = 4
_HALF = np.uint64(32)
_SIX = np.uint64(63)
_ONE = np.uint64(1)


def words_for(entries: int) -> int:
    return max(1, (entries * BITS_PER_ENTRY + 63) // 64)


def bits_of(low: Words) -> Words:
    """The four bits of each id, as one word."""
    bits = _ONE << (low & _SIX)
    for turn in range(1, _BITS_PER_ID):
        bits |= _ONE << ((low >> np.uint64(6 * turn)) & _SIX)
    return bits


def places_of(high: Words, words: int) -> Positions:
    """Which word each id has its bits in. Ascends with `high`. `words` < 2**32."""
    return ((high >> _HALF) * np.uint64(words) >> _HALF).astype(np.int64)


def passes(filter_words: Words, high: Words, bits: Words) -> Flags:
    """False: the id is certainly not there."""
    passed: Flags = (filter_words[places_of(high, len(filter_words))] & bits) == bits
    return passed


class FilterWriter:
    """Takes the entries' ids in order, piece by piece, and gives the words that are complete."""

    def __init__(self, words: int) -> None:
        self._words = words
        self._written = 0
        self._open = np.zeros(1, U64)  # the word at `_written`, to which more bits may come

    def add(self, high: Words, low: Words) -> Iterator[tuple[int, Words]]:
        """(first word, words) to write, at most one pair."""
        if not len(high):
            return
        places = places_of(high, self._words)
        starts = np.flatnonzero(np.concatenate(([True], places[1:] != places[:-1])))
        last = int(places[-1])
        piece = np.zeros(last - self._written + 1, U64)
        piece[0] = self._open[0]
        piece[places[starts] - self._written] |= np.bitwise_or.reduceat(bits_of(low), starts)
        first, self._written, self._open = self._written, last, piece[-1:].copy()
        if len(piece) > 1:
            yield first, piece[:-1]

    def finish(self) -> tuple[int, Words]:
        """What is left."""
        rest = np.zeros(self._words - self._written, U64)
        rest[0] = self._open[0]
        return self._written, rest
