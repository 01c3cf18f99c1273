"""Restoring: whole disks, damage of every kind, faults of the sink and the store, aborts."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from seawall.repository.errors import IntegrityError, ObjectMissing
from seawall.repository.format.manifest import PAGE_BYTES
from seawall.repository.reading.point import PointReader
from seawall.repository.reading.restore import RestoreCounters, restore_disk
from seawall.repository.store.memory import MemoryStore
from support.direct_coordinator import DirectCoordinator
from support.memory_disks import MemorySink, ModelDisk
from support.point_writing import disk, manifest_of, pipeline_threads, read_point, restored, write_point

MIB = 1 << 20


@pytest.fixture(scope="module")
def model() -> ModelDisk:
    made = ModelDisk(PAGE_BYTES * 3 + 20 * MIB + 1536)
    rng = np.random.default_rng(21)
    made.write(4096, rng.bytes(5 * MIB))
    made.write(PAGE_BYTES * 3 + 19 * MIB, rng.bytes(MIB + 1536))
    return made


@pytest.fixture
def coordinator() -> DirectCoordinator:
    return DirectCoordinator(MemoryStore())


@pytest.fixture
def reader(model: ModelDisk, coordinator: DirectCoordinator) -> Iterator[PointReader]:
    yield read_point(write_point(coordinator, [disk(model.source(), "full")]), coordinator)
    assert not pipeline_threads()


def test_a_disk_comes_back_with_its_holes(model: ModelDisk, reader: PointReader) -> None:
    sink, counters = MemorySink(model.size_bytes), RestoreCounters()
    restore_disk(reader, manifest_of(reader), sink, counters)
    assert sink.content() == model.blocks
    assert sink.flushed
    assert (PAGE_BYTES, 2 * PAGE_BYTES) in sink.zeroed
    assert counters.planned_bytes == counters.done_bytes == model.size_bytes
    assert 6 * MIB <= counters.written_bytes < 8 * MIB
    assert counters.fetched_bytes < 8 * MIB


def test_few_requests_fetch_many_chunks(reader: PointReader, coordinator: DirectCoordinator) -> None:
    before = coordinator.reads
    restored(reader)
    packs = len([one for one in coordinator.packs if not one.meta])
    assert coordinator.reads - before <= packs + 6


@pytest.mark.parametrize("where", ["body", "tail of a body"])
def test_a_damaged_chunk_is_never_written(
    model: ModelDisk, reader: PointReader, coordinator: DirectCoordinator, where: str
) -> None:
    manifest = manifest_of(reader)
    leaf = reader.leaf(reader.page(manifest, 0), manifest, 0)
    entry = leaf.entries[leaf.entries["zero"] == 0][3]
    name = coordinator.name(leaf.packs[int(entry["pack"])][0], 0)
    body = bytearray(coordinator.store.get(name))
    at = int(entry["offset"]) + (20 if where == "body" else int(entry["stored_bytes"]) - 1)
    body[at] ^= 1
    coordinator.store.put(name, bytes(body), create_only=False)
    with pytest.raises(IntegrityError, match=f"point {reader.root.point_id}, disk vda, byte "):
        restore_disk(reader, manifest, MemorySink(model.size_bytes))


def test_a_missing_pack_names_the_disk_and_the_place(
    model: ModelDisk, reader: PointReader, coordinator: DirectCoordinator
) -> None:
    for one in coordinator.packs:
        if not one.meta:
            coordinator.store.delete(coordinator.name(one.pack_id, 0))
    sink = MemorySink(model.size_bytes)
    with pytest.raises(ObjectMissing, match="disk vda, byte "):
        restore_disk(reader, manifest_of(reader), sink)
    assert not sink.flushed


def test_another_dedup_key_proves_nothing(model: ModelDisk, coordinator: DirectCoordinator) -> None:
    point = write_point(coordinator, [disk(model.source(), "full")])
    reader = read_point(point, coordinator)
    stranger = PointReader(reader.root, reader.lineage_id, b"x" * 32, coordinator)
    with pytest.raises(IntegrityError):
        restore_disk(stranger, manifest_of(reader), MemorySink(model.size_bytes))


def test_a_sink_that_fails_ends_the_restore(model: ModelDisk, reader: PointReader) -> None:
    class Full(MemorySink):
        def write(self, offset: int, data: bytes | memoryview) -> None:
            raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space left"):
        restore_disk(reader, manifest_of(reader), Full(model.size_bytes))


@pytest.mark.parametrize("calls", [1, 3, 6])
def test_stop_ends_the_restore(model: ModelDisk, reader: PointReader, calls: int) -> None:
    asked = 0

    def stop() -> None:
        nonlocal asked
        asked += 1
        if asked >= calls:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        restore_disk(reader, manifest_of(reader), MemorySink(model.size_bytes), stop=stop)


def test_both_copies_of_a_leaf_damaged(model: ModelDisk, coordinator: DirectCoordinator) -> None:
    reader = read_point(write_point(coordinator, [disk(model.source(), "full")]), coordinator)
    leaf = reader.page(manifest_of(reader), 0).chunk
    assert leaf is not None
    for generation in (0, 1):
        name = coordinator.name(leaf.pack_id, generation)
        body = bytearray(coordinator.store.get(name))
        body[leaf.offset + 30] ^= 4
        coordinator.store.put(name, bytes(body), create_only=False)
    with pytest.raises(IntegrityError):
        restore_disk(reader, manifest_of(reader), MemorySink(model.size_bytes))


def test_an_empty_disk(coordinator: DirectCoordinator) -> None:
    reader = read_point(write_point(coordinator, [disk(ModelDisk(3 * MIB).source(), "full")]), coordinator)
    assert restored(reader) == {}
    assert coordinator.packs == []


def test_a_node_of_another_disk_is_refused_also_when_it_is_known_already(coordinator: DirectCoordinator) -> None:
    one_page, three_pages = ModelDisk(PAGE_BYTES), ModelDisk(3 * PAGE_BYTES)
    one_page.write(0, b"one" * 4096)
    three_pages.write(0, b"three" * 4096)
    disks = [disk(one_page.source(), "full"), disk(three_pages.source(), "full", "vdb")]
    honest = read_point(write_point(coordinator, disks), coordinator)
    vda, vdb = honest.root.disks
    root = replace(honest.root, disks=(vda, replace(vdb, nodes=vda.nodes)))
    reader = PointReader(root, honest.lineage_id, honest.k_dedup, coordinator)
    assert restored(reader, "vda") == one_page.blocks
    with pytest.raises(IntegrityError, match="vdb"):
        restored(reader, "vdb")
