"""Which ranges are read for a page: everything once, little besides, in about disk order."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.repository.format.manifest import LEAF_ENTRY, Leaf
from seawall.repository.reading.requests import GAP_BYTES, REQUEST_BYTES, pack_requests, zero_ranges

PACKS = ((b"a" * 16, 0), (b"b" * 16, 1))


@st.composite
def leaves(draw: st.DrawFn) -> Leaf:
    """Entries that name records of two packs, some of them twice, and zeroes."""
    records = []
    for pack in range(2):
        offset = 100
        for slot in range(draw(st.integers(1, 30))):
            offset += draw(st.sampled_from([0, 0, 60, GAP_BYTES, GAP_BYTES + 1, 3_000_000]))
            stored = draw(st.sampled_from([100, 70_000, 262_172]))
            records.append((pack, slot, offset, stored))
            offset += stored
    picked = draw(st.lists(st.sampled_from([*records, None]), min_size=1, max_size=50))
    entries = np.zeros(len(picked), dtype=LEAF_ENTRY)
    for at, record in enumerate(picked):
        entries["length"][at] = draw(st.sampled_from([8192, 65536]))
        if record is None:
            entries["zero"][at] = 1
            continue
        pack, slot, offset, stored = record
        entries[at] = (8192, stored, offset, pack, slot, 1, 0, bytes([pack, slot]) * 16)
    return Leaf(entries, PACKS)


@given(leaf=leaves())
def test_every_entry_is_served_once(leaf: Leaf) -> None:
    starts = np.cumsum(leaf.entries["length"]) - leaf.entries["length"]
    expected = {
        int(start): (leaf.packs[int(entry["pack"])], int(entry["offset"]), entry["h"].tobytes())
        for start, entry in zip(starts, leaf.entries, strict=True)
        if not entry["zero"]
    }
    served = {}
    for request in pack_requests(leaf):
        for chunk in request.chunks:
            assert request.offset <= chunk.offset
            assert chunk.offset + chunk.stored_bytes <= request.offset + request.length
            for place in chunk.places:
                assert place not in served
                served[place] = ((request.pack_id, request.generation), chunk.offset, chunk.h)
    assert served == expected
    zeroes = dict(zero_ranges(leaf))
    assert set(zeroes) | set(served) == set(starts.tolist())


@given(leaf=leaves())
def test_requests_are_bounded_and_gaps_small(leaf: Leaf) -> None:
    requests = pack_requests(leaf)
    for request in requests:
        assert request.length <= REQUEST_BYTES
        for one, other in zip(request.chunks, request.chunks[1:], strict=False):
            assert other.offset - one.offset - one.stored_bytes <= GAP_BYTES
    firsts = [min(chunk.places[0] for chunk in request.chunks) for request in requests]
    assert firsts == sorted(firsts)


def test_neighbours_become_one_request() -> None:
    entries = np.zeros(3, dtype=LEAF_ENTRY)
    for at in range(3):
        entries[at] = (65536, 1000, 200 + at * 1048, 0, at, 1, 0, bytes([at + 1]) * 32)
    (request,) = pack_requests(Leaf(entries, PACKS[:1]))
    assert (request.offset, request.length, len(request.chunks)) == (200, 1000 + 2 * 1048, 3)


@pytest.mark.parametrize(("first", "end", "places"), [(1, 2, [65536]), (0, 0, []), (2, 3, [131072])])
def test_part_of_a_page(first: int, end: int, places: list[int]) -> None:
    entries = np.zeros(3, dtype=LEAF_ENTRY)
    for at in range(3):
        entries[at] = (65536, 1000, 200 + at * 1048, 0, at, 1, 0, bytes([at + 1]) * 32)
    requests = pack_requests(Leaf(entries, PACKS[:1]), first=first, end=end)
    assert [place for request in requests for chunk in request.chunks for place in chunk.places] == places
