"""The cutter: published vectors, an independent slow implementation, limits on sizes."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from seawall.repository.chunking.grid import BLOCK_BYTES, Grid, folds_of

VECTORS = json.loads((Path(__file__).parent.parent / "golden" / "chunking" / "cuts-v1.json").read_text())
MASK = (1 << 64) - 1


def vector_data(seed: str, length: int) -> bytes:
    """The published data: BLAKE3 of the seed, extended; every eighth 64 KiB is zero."""
    data = bytearray(blake3(seed.encode()).digest(length))
    for start in range(0, length, 8 * 65536):
        data[start : start + 65536] = bytes(len(data[start : start + 65536]))
    return bytes(data)


def slow_cuts(cut_key: bytes, nominal: int, data: bytes) -> Iterator[int]:
    """The definition, word by word in plain Python, with nothing shared with the cutter."""
    digest = blake3(cut_key, derive_key_context="seawall v1 cut function").digest(16)
    first, second = (int.from_bytes(digest[i : i + 8], "little") | 1 for i in (0, 8))
    bits = (nominal // 4096).bit_length() - 1
    start = 0
    for block in range(0, len(data), 4096):
        fold = 0
        padded = data[block : block + 4096].ljust(4096, b"\0")
        for word in range(0, 4096, 8):
            fold ^= int.from_bytes(padded[word : word + 8], "little")
        mixed = fold * first & MASK
        mixed = (mixed ^ (mixed >> 32)) * second & MASK
        end = min(block + 4096, len(data))
        length = end - start
        wanted = mixed >> (64 - bits) == (1 << bits) - 1 and length >= max(4096, nominal // 8)
        if wanted or length == nominal * 4 or end == len(data):
            yield end
            start = end


def cuts(grid: Grid, data: bytes) -> list[int]:
    return list(grid.cuts(grid.boundaries(folds_of(np.frombuffer(data, dtype=np.uint8))), len(data)))


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_published_vectors(vector: dict[str, object]) -> None:
    data = vector_data(str(vector["seed"]), int(str(vector["length"])))
    grid = Grid(bytes.fromhex(str(vector["cut_key"])), int(str(vector["nominal_bytes"])))
    assert cuts(grid, data) == vector["cuts"]


@given(
    seed=st.binary(max_size=8),
    nominal=st.sampled_from([8192, 16384, 65536]),
    length=st.integers(1, 600_000),
    key=st.binary(min_size=32, max_size=32),
)
def test_equals_the_definition(seed: bytes, nominal: int, length: int, key: bytes) -> None:
    data = vector_data(seed.hex(), length)
    assert cuts(Grid(key, nominal), data) == list(slow_cuts(key, nominal, data))


@given(seed=st.binary(max_size=8), key=st.binary(min_size=32, max_size=32))
def test_any_cut_is_a_place_to_start_anew(seed: bytes, key: bytes) -> None:
    data = vector_data(seed.hex(), 3_000_000)
    grid = Grid(key, 16384)
    whole = cuts(grid, data)
    middle = whole[len(whole) // 2]
    assert [middle + cut for cut in cuts(grid, data[middle:])] == [cut for cut in whole if cut > middle]


def test_sizes_stay_within_bounds_and_average_near_the_nominal() -> None:
    data = np.random.default_rng(1).integers(0, 256, 64 << 20, dtype=np.uint8)
    grid = Grid(b"k" * 32, 65536)
    ends = np.array(list(grid.cuts(grid.boundaries(folds_of(data)), len(data))))
    sizes = np.diff(ends, prepend=0)
    assert sizes[:-1].min() >= grid.min_bytes == 8192
    assert sizes.max() <= grid.max_bytes == 262144
    assert 50_000 < sizes.mean() < 80_000


def test_blocks_of_fold_zero_never_end_a_chunk() -> None:
    twice = np.tile(np.frombuffer(blake3(b"x").digest(2048), dtype=np.uint8), 2)
    data = np.tile(twice, 200)
    assert not folds_of(data).any()
    for key in (bytes([n]) * 32 for n in range(20)):
        grid = Grid(key, 8192)
        assert set(np.diff(list(grid.cuts(grid.boundaries(folds_of(data)), len(data))), prepend=0)) == {32768}


def test_another_key_cuts_elsewhere() -> None:
    data = vector_data("keys", 4_000_000)
    assert cuts(Grid(b"a" * 32, 65536), data) != cuts(Grid(b"b" * 32, 65536), data)


@pytest.mark.parametrize("nominal", [0, 4096, 65535, 65536 * 3, 1 << 23])
def test_sizes_that_are_refused(nominal: int) -> None:
    with pytest.raises(ValueError, match="power of two"):
        Grid(bytes(32), nominal)


def test_the_key_does_not_show() -> None:
    assert b"secret".hex() not in repr(Grid(b"secret" * 6, 65536)) and "secret" not in repr(Grid(b"secret" * 6, 65536))


def test_last_block_counts_as_padded_with_zeroes() -> None:
    data = np.frombuffer(blake3(b"tail").digest(BLOCK_BYTES + 777), dtype=np.uint8)
    padded = np.zeros(2 * BLOCK_BYTES, dtype=np.uint8)
    padded[: len(data)] = data
    assert folds_of(data).tolist() == folds_of(padded).tolist()
