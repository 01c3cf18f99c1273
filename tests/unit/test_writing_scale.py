"""Large and odd disks: sparse terabytes cost seconds, memory stays bounded, packs close, nodes span many pages."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from seawall.repository.disks import Extent
from seawall.repository.format.manifest import PAGE_BYTES, PAGES_PER_NODE
from seawall.repository.format.pack import SealedPack
from seawall.repository.store.memory import MemoryStore
from support.direct_coordinator import DirectCoordinator
from support.memory_disks import ModelDisk
from support.point_writing import (
    SETTINGS,
    check_refmap,
    disk,
    manifest_of,
    read_point,
    restored,
    write_point,
)

MIB = 1 << 20


class Discarding(DirectCoordinator):
    """Keeps nothing but meta packs: what is measured is the writer alone."""

    def store_pack(self, pack: SealedPack) -> None:
        if pack.meta:
            super().store_pack(pack)


class RandomSource:
    """A disk of random bytes, made as they are read: nothing of it is kept."""

    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self._block = np.random.default_rng(8).integers(0, 256, 8 * MIB, dtype=np.uint8)

    def extents(self, offset: int, length: int) -> list[Extent]:
        return [Extent(offset, length, dirty=True, zero=False)]

    def read_into(self, offset: int, buffer: memoryview) -> None:
        made = np.frombuffer(buffer, dtype=np.uint8)
        made[:] = self._block[: len(made)]
        made[::4096] ^= np.uint8(offset >> 20 & 255)
        made[1::4096] ^= np.uint8(offset >> 28)


def test_a_sparse_disk_of_two_terabytes_takes_seconds_and_little_memory() -> None:
    coordinator = DirectCoordinator(MemoryStore())
    model = ModelDisk(2 << 40)
    for place in (0, 700 << 30, (2 << 40) - 4096):
        model.write(place, np.random.default_rng(place).bytes(4096))
    tracemalloc.start()
    source = model.source()
    parent = read_point(write_point(coordinator, [disk(source, "full")]), coordinator)
    assert source.read_bytes == 3 * 4096
    model.forget_changes()
    model.write(1 << 40, b"x" * 4096)
    point = write_point(coordinator, [disk(model.source(), "bitmap")], number=2, parent=parent)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40 * MIB
    assert point.meta_stored_bytes < 64 * 1024
    reader = read_point(point, coordinator)
    check_refmap(point, reader)
    assert restored(reader) == model.blocks


def test_memory_is_bounded_whatever_the_disk_size() -> None:
    coordinator = Discarding(MemoryStore())
    settings = replace(SETTINGS, pack_target_bytes=32 * MIB)
    tracemalloc.start()
    point = write_point(coordinator, [disk(RandomSource(320 * MIB), "full")], settings=settings)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert point.disks[0].read_bytes == 320 * MIB
    assert peak < 220 * MIB


def test_pages_of_several_nodes_keep_their_places() -> None:
    coordinator = DirectCoordinator(MemoryStore())
    model = ModelDisk((2 * PAGES_PER_NODE + 3) * PAGE_BYTES)
    for page in (0, 1, PAGES_PER_NODE - 1, PAGES_PER_NODE, 2 * PAGES_PER_NODE + 2):
        model.write(page * PAGE_BYTES + 12345, np.random.default_rng(page).bytes(100_000))
    first = write_point(coordinator, [disk(model.source(), "full")])
    parent = read_point(first, coordinator)
    model.forget_changes()
    model.write(PAGES_PER_NODE * PAGE_BYTES, b"new")
    point = write_point(coordinator, [disk(model.source(), "bitmap")], number=2, parent=parent)
    reader = read_point(point, coordinator)
    old, new = manifest_of(parent).nodes, manifest_of(reader).nodes
    assert len(new) == 3
    assert [one == other for one, other in zip(old, new, strict=True)] == [True, False, True]
    assert restored(reader) == model.blocks
    check_refmap(point, reader)


def test_neighbours_on_the_disk_are_neighbours_in_a_pack() -> None:
    coordinator = DirectCoordinator(MemoryStore())
    model = ModelDisk(40 * MIB)
    model.write(0, np.random.default_rng(6).bytes(40 * MIB))
    reader = read_point(write_point(coordinator, [disk(model.source(), "full")]), coordinator)
    leaf = reader.leaf(reader.page(manifest_of(reader), 0), manifest_of(reader), 0)
    places = list(zip(leaf.entries["pack"].tolist(), leaf.entries["offset"].tolist(), strict=True))
    assert len(leaf.packs) > 30
    assert places == sorted(places)


def test_lookups_are_batched() -> None:
    coordinator = DirectCoordinator(MemoryStore())
    model = ModelDisk(64 * PAGE_BYTES)
    for page in range(64):
        model.write(page * PAGE_BYTES, np.random.default_rng(page).bytes(9000))
    write_point(coordinator, [disk(model.source(), "full")])
    assert sum(coordinator.lookups) >= 64
    assert len(coordinator.lookups) <= 5


def test_packs_close_early_when_too_many_pages_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seawall.repository.writing.point.DRAFTS_BYTES", 1000)
    coordinator = DirectCoordinator(MemoryStore())
    model = ModelDisk(20 * PAGE_BYTES)
    for page in range(20):
        model.write(page * PAGE_BYTES, np.random.default_rng(page).bytes(9000))
    reader = read_point(write_point(coordinator, [disk(model.source(), "full")]), coordinator)
    assert len([one for one in coordinator.packs if not one.meta]) >= 3
    assert restored(reader) == model.blocks
