"""Random reads of a point's disk equal the disk, whatever is cached."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.repository.errors import ObjectMissing
from seawall.repository.format.manifest import PAGE_BYTES
from seawall.repository.reading.point import PointReader
from seawall.repository.reading.window import DiskWindow
from seawall.repository.store.memory import MemoryStore
from support.direct_coordinator import DirectCoordinator
from support.memory_disks import ModelDisk
from support.point_writing import disk, manifest_of, read_point, write_point

SIZE = 2 * PAGE_BYTES + 1536


@cache
def written() -> tuple[ModelDisk, DirectCoordinator, PointReader]:
    model, coordinator = ModelDisk(SIZE), DirectCoordinator(MemoryStore())
    for place in (5000, PAGE_BYTES - 300_000, 2 * PAGE_BYTES - 300_000):
        model.write(place, np.random.default_rng(place).bytes(301_000))
    return model, coordinator, read_point(write_point(coordinator, [disk(model.source(), "full")]), coordinator)


offsets = st.one_of(
    st.integers(0, 400_000), st.integers(PAGE_BYTES - 400_000, PAGE_BYTES + 400_000), st.integers(SIZE - 400_000, SIZE)
)


@given(reads=st.lists(st.tuples(offsets, st.integers(0, 500_000)), min_size=1, max_size=6), small=st.booleans())
def test_any_range_reads_as_written(reads: list[tuple[int, int]], small: bool) -> None:
    model, _, reader = written()
    window = DiskWindow(reader, manifest_of(reader), 100_000 if small else 32 << 20)
    source = model.source()
    for offset, length in reads:
        length = min(length, SIZE - offset)
        expected = bytearray(length)
        if length:
            source.read_into(offset, memoryview(expected))
        assert window.read(offset, length) == expected


def test_a_second_read_comes_from_memory() -> None:
    _, coordinator, reader = written()
    window = DiskWindow(reader, manifest_of(reader))
    once = window.read(10_000, 200_000)
    before = coordinator.reads
    assert window.read(10_000, 200_000) == once
    assert coordinator.reads == before


@pytest.mark.parametrize(("offset", "length"), [(-1, 1), (0, SIZE + 1), (SIZE, 1), (0, -1)])
def test_outside_the_disk(offset: int, length: int) -> None:
    reader = written()[2]
    with pytest.raises(ValueError, match="disk vda has"):
        DiskWindow(reader, manifest_of(reader)).read(offset, length)


def test_what_is_missing_is_named() -> None:
    model, coordinator = ModelDisk(1 << 20), DirectCoordinator(MemoryStore())
    model.write(0, b"x" * 100_000)
    reader = read_point(write_point(coordinator, [disk(model.source(), "full")]), coordinator)
    for one in coordinator.packs:
        if not one.meta:
            coordinator.store.delete(coordinator.name(one.pack_id, 0))
    with pytest.raises(ObjectMissing, match="disk vda, page 0"):
        DiskWindow(reader, manifest_of(reader)).read(0, 10)
