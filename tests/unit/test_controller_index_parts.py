"""The pieces of the chunk index that have a mathematics of their own: filter, search, which shards to merge."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from seawall.controller.index.filter import FilterWriter, bits_of, passes, words_for
from seawall.controller.index.layout import split_ids
from seawall.controller.index.policy import RATIO, Size, next_merge
from seawall.controller.index.search import DirectoryWriter, RowOwners, bucket_bounds, halve
from support.pack_tables import random_ids


def sorted_words(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    return split_ids(b"".join(sorted(random_ids(count, seed))))


@given(st.integers(0, 3000), st.lists(st.integers(0, 3000), max_size=6), st.integers(0, 99))
def test_a_filter_written_in_pieces_passes_every_id(count: int, cuts: list[int], seed: int) -> None:
    high, low = sorted_words(count, seed)
    writer, words = FilterWriter(words_for(count)), np.full(words_for(count), 0, np.uint64)
    bounds = [0, *sorted(min(cut, count) for cut in cuts), count]
    for start, end in pairwise(bounds):
        for first, piece in writer.add(high[start:end], low[start:end]):
            words[first : first + len(piece)] = piece
    first, piece = writer.finish()
    words[first : first + len(piece)] = piece
    assert first + len(piece) == len(words)
    assert passes(words, high, bits_of(low)).all()


def test_a_filter_stops_nearly_all_others() -> None:
    high, low = sorted_words(100_000, seed=1)
    writer = FilterWriter(words_for(len(high)))
    words = np.concatenate([*(piece for _, piece in writer.add(high, low)), writer.finish()[1]])
    assert len(words) * 64 <= 12 * len(high) + 64
    other_high, other_low = sorted_words(100_000, seed=2)
    assert passes(words, other_high, bits_of(other_low)).mean() < 0.015


@given(st.lists(st.integers(0, 2**64 - 1), max_size=300), st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=30))
def test_the_directory_leaves_each_id_the_bucket_it_is_in(words: list[int], asked: list[int]) -> None:
    high = np.array(sorted(words), np.uint64)
    writer = DirectoryWriter(len(high))
    writer.add(high[: len(high) // 2])
    writer.add(high[len(high) // 2 :])
    keys = np.array(sorted({*asked, *words[:5]}), np.uint64)
    left, right = bucket_bounds(writer.finish(), keys)
    last = max(0, len(high) - 1)
    found = halve(left, right, lambda at: high[np.minimum(at, last)] < keys) if len(high) else left
    assert found.tolist() == np.searchsorted(high, keys, "left").tolist()


@given(st.lists(st.integers(0, 700), min_size=1, max_size=200))
def test_each_row_has_its_pack(slots: list[int]) -> None:
    """Packs without slots stand among the others."""
    first_rows = np.cumsum([0, *slots[:-1]]).astype(np.uint32)
    owners = RowOwners(first_rows, sum(slots))
    expected = np.repeat(np.arange(len(slots)), slots)
    assert owners.of(np.arange(sum(slots), dtype=np.uint32)).tolist() == expected.tolist()


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), max_size=300), st.integers(1, 10_000))
def test_shards_stay_few_and_none_too_large(flushes: list[tuple[int, int]], most: int) -> None:
    shards: list[Size] = []
    for entries, dropped in flushes:
        shards.append(Size(entries, min(dropped, entries)))
        while (chosen := next_merge(shards, most)) is not None:
            assert list(chosen) == list(range(chosen.start, chosen.stop))
            inside = shards[chosen.start : chosen.stop]
            total = sum(each.entries for each in inside)
            assert len(inside) == 1 or total <= most
            shards[chosen.start : chosen.stop] = [Size(total - sum(each.dropped for each in inside), 0)]
    for number in range(len(shards) - 1):
        newer = sum(each.entries for each in shards[number + 1 :])
        grows = shards[number].entries > RATIO * newer
        assert grows or any(sum(each.entries for each in shards[at:]) > most for at in range(number + 1))
    assert all(4 * each.dropped <= each.entries for each in shards)
