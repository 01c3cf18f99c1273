"""What a point takes over from its parent, and what it must not."""

from dataclasses import replace

import numpy as np
import pytest

from seawall.repository.format.manifest import PAGE_BYTES
from seawall.repository.format.refmap import decode_refmap
from seawall.repository.reading.point import PointReader
from seawall.repository.store.memory import MemoryStore
from seawall.repository.writing.facts import WrittenPoint
from support.direct_coordinator import DirectCoordinator
from support.memory_disks import BLOCK, ModelDisk
from support.point_writing import (
    SETTINGS,
    check_refmap,
    chunk_list,
    disk,
    manifest_of,
    read_point,
    restored,
    write_point,
)

MIB = 1 << 20


@pytest.fixture
def coordinator() -> DirectCoordinator:
    return DirectCoordinator(MemoryStore())


@pytest.fixture
def model() -> ModelDisk:
    """Three pages: data, zeroes, data."""
    made = ModelDisk(2 * PAGE_BYTES + 20 * MIB)
    rng = np.random.default_rng(11)
    made.write(5 * MIB, rng.bytes(4 * MIB))
    made.write(2 * PAGE_BYTES + MIB, rng.bytes(3 * MIB))
    return made


def first_point(coordinator: DirectCoordinator, model: ModelDisk) -> tuple[WrittenPoint, PointReader]:
    point = write_point(coordinator, [disk(model.source(), "full")])
    model.forget_changes()
    return point, read_point(point, coordinator)


def test_an_unchanged_disk_costs_no_read_and_no_pack(coordinator: DirectCoordinator, model: ModelDisk) -> None:
    _, parent = first_point(coordinator, model)
    packs, lookups = len(coordinator.packs), len(coordinator.lookups)
    source = model.source()
    point = write_point(coordinator, [disk(source, "bitmap")], number=2, parent=parent)
    assert (source.read_bytes, len(coordinator.packs), len(coordinator.lookups)) == (0, packs, lookups)
    assert point.root.disks[0].nodes == parent.root.disks[0].nodes
    assert point.root.parent_point_id == parent.root.point_id
    assert point.meta_stored_bytes == 0
    check_refmap(point, read_point(point, coordinator))


def test_compare_reads_all_and_stores_nothing_when_nothing_changed(
    coordinator: DirectCoordinator, model: ModelDisk
) -> None:
    _, parent = first_point(coordinator, model)
    packs, lookups = len(coordinator.packs), len(coordinator.lookups)
    point = write_point(coordinator, [disk(model.source(), "compare")], number=2, parent=parent)
    assert point.disks[0].read_bytes == 7 * MIB
    assert (len(coordinator.packs), len(coordinator.lookups)) == (packs, lookups)
    assert point.root.disks[0].nodes == parent.root.disks[0].nodes


def test_a_small_change_reads_little_and_stores_one_page(coordinator: DirectCoordinator, model: ModelDisk) -> None:
    _, parent = first_point(coordinator, model)
    packs = len(coordinator.packs)
    model.write(6 * MIB, b"x" * BLOCK)
    source = model.source()
    point = write_point(coordinator, [disk(source, "bitmap")], number=2, parent=parent)
    assert source.read_bytes <= BLOCK + 256 * 1024
    assert 0 < point.disks[0].new_bytes <= source.read_bytes
    assert sorted(one.meta for one in coordinator.packs[packs:]) == [
        False,
        True,
        True,
    ]  # chunk, leaf, node; two upload at a time
    old_pages = dict(parent.pages(parent.root.disks[0]))
    reader = read_point(point, coordinator)
    new_pages = dict(reader.pages(reader.root.disks[0]))
    assert new_pages[2].chunk == old_pages[2].chunk and new_pages[0].chunk != old_pages[0].chunk
    assert restored(reader) == model.blocks


def test_a_page_that_became_zero_is_not_loaded_or_read(coordinator: DirectCoordinator, model: ModelDisk) -> None:
    _, parent = first_point(coordinator, model)
    model.discard(0, PAGE_BYTES // BLOCK)
    source = model.source()
    point = write_point(coordinator, [disk(source, "bitmap")], number=2, parent=parent)
    reader = read_point(point, coordinator)
    assert source.read_bytes == 0
    assert dict(reader.pages(manifest_of(reader)))[0].chunk is None
    assert restored(reader) == model.blocks


@pytest.mark.parametrize("how", ["compare", "bitmap"])
def test_a_page_whose_chunks_all_stayed_may_still_be_another(
    coordinator: DirectCoordinator, model: ModelDisk, how: str
) -> None:
    """In one page data became zeroes, another grew by zeroes: every chunk that is left is the old one in its old place."""
    model.write(30 * MIB, np.random.default_rng(12).bytes(MIB))
    _, parent = first_point(coordinator, model)
    model.discard(30 * MIB // BLOCK, MIB // BLOCK)
    model.resize(model.size_bytes + 7 * MIB)
    point = write_point(coordinator, [disk(model.source(), how)], number=2, parent=parent)
    assert point.disks[0].new_bytes == 0
    reader = read_point(point, coordinator)
    assert restored(reader) == model.blocks
    old_pages, new_pages = dict(parent.pages(manifest_of(parent))), dict(reader.pages(manifest_of(reader)))
    assert new_pages[0].h != old_pages[0].h and new_pages[2].h != old_pages[2].h


def test_a_lookup_hit_is_named_and_not_stored_again(coordinator: DirectCoordinator, model: ModelDisk) -> None:
    first_point(coordinator, model)
    data_packs = [one for one in coordinator.packs if not one.meta]
    point = write_point(coordinator, [disk(model.source(), "full")], number=2)
    assert [one for one in coordinator.packs if not one.meta] == data_packs
    assert point.disks[0].new_bytes == 0
    assert restored(read_point(point, coordinator)) == model.blocks


def test_equal_chunks_within_one_point_are_stored_once(coordinator: DirectCoordinator) -> None:
    data = np.random.default_rng(2).bytes(3 * MIB)
    first, second = ModelDisk(PAGE_BYTES), ModelDisk(PAGE_BYTES)
    first.write(0, data)
    second.write(0, data)
    point = write_point(coordinator, [disk(first.source(), "full"), disk(second.source(), "full", "vdb")])
    assert [one.new_bytes for one in point.disks] == [3 * MIB, 0]
    reader = read_point(point, coordinator)
    assert chunk_list(reader) == chunk_list(reader, "vdb")
    assert restored(reader, "vdb") == second.blocks
    check_refmap(point, reader)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"chunk_nominal_bytes": 32 * 1024}, "chunks of 65536 bytes, now 32768"),
        ({"key_epoch": 2, "k_dedup": b"e" * 32}, "key epoch 1, now it is 2"),
        ({"lineage_id": b"another-lineage!"}, "another repository"),
    ],
)
def test_a_parent_that_does_not_fit_is_not_used(
    coordinator: DirectCoordinator, model: ModelDisk, change: dict[str, object], why: str
) -> None:
    _, parent = first_point(coordinator, model)
    other = replace(SETTINGS, **change)  # type: ignore[arg-type]
    coordinator.index = {}
    source = model.source()
    point = write_point(coordinator, [disk(source, "bitmap")], number=2, settings=other, parent=parent)
    assert source.read_bytes == 7 * MIB
    assert point.root.disks[0].how == "full"
    assert why in point.root.disks[0].why
    assert restored(read_point(point, coordinator, other)) == model.blocks


def test_a_disk_that_the_parent_lacks_is_read_in_full(coordinator: DirectCoordinator, model: ModelDisk) -> None:
    _, parent = first_point(coordinator, model)
    point = write_point(coordinator, [disk(model.source(), "bitmap", "vdb")], number=2, parent=parent)
    assert (point.disks[0].how, point.disks[0].why) == ("full", "the parent point has no disk vdb")


@pytest.mark.parametrize("change", [-20 * MIB - 512, -3 * MIB, -512, 512, 4096, MIB + 512, 44 * MIB, PAGE_BYTES])
def test_a_disk_of_another_size_keeps_what_it_can(
    coordinator: DirectCoordinator, model: ModelDisk, change: int
) -> None:
    """Nothing is marked dirty: the new range counts as changed all the same, and the end is cut again."""
    model.write(model.size_bytes - 70_000, b"end" * 20_000)
    _, parent = first_point(coordinator, model)
    model.resize(model.size_bytes + change)
    if change > 4096:
        model.write(model.size_bytes - 500, b"new end" * 70)
        model.forget_changes()
    source = model.source()
    reader = read_point(write_point(coordinator, [disk(source, "bitmap")], number=2, parent=parent), coordinator)
    assert restored(reader) == model.blocks
    assert source.read_bytes <= 600_000
    fresh = DirectCoordinator(MemoryStore())
    again = write_point(fresh, [disk(model.source(), "full")])
    assert chunk_list(reader) == chunk_list(read_point(again, fresh))


def test_dirty_and_zero_is_a_change(coordinator: DirectCoordinator, model: ModelDisk) -> None:
    _, parent = first_point(coordinator, model)
    model.discard(6 * MIB // BLOCK, 100)
    source = model.source()
    reader = read_point(write_point(coordinator, [disk(source, "bitmap")], number=2, parent=parent), coordinator)
    assert source.zero_bytes_read == 0
    assert restored(reader) == model.blocks


def test_bad_slots_are_read_and_stored_again_whatever_the_bitmap_says(
    coordinator: DirectCoordinator, model: ModelDisk
) -> None:
    first, parent = first_point(coordinator, model)
    leaf = parent.leaf(parent.page(manifest_of(parent), 0), manifest_of(parent), 0)
    entry = leaf.entries[leaf.entries["zero"] == 0][7]
    bad = (leaf.packs[int(entry["pack"])][0], int(entry["slot"]))
    coordinator.forget(bad[0], [bad[1]])
    source = model.source()
    point = write_point(coordinator, [disk(source, "bitmap")], number=2, parent=parent, bad=[bad])
    assert 0 < source.read_bytes <= int(entry["length"]) + 256 * 1024
    assert point.disks[0].new_bytes == int(entry["length"])
    _, refmap = decode_refmap(point.refmap)
    assert bad[1] not in refmap.slots().get(bad[0], np.array([])).tolist()
    reader = read_point(point, coordinator)
    assert chunk_list(reader) == chunk_list(parent)
    assert restored(reader) == model.blocks
    assert first.refmap != point.refmap


def test_a_bad_slot_that_lookup_still_offers_is_not_taken(coordinator: DirectCoordinator, model: ModelDisk) -> None:
    _, parent = first_point(coordinator, model)
    bad = {(found.pack_id, found.slot) for found in coordinator.index.values()}
    point = write_point(coordinator, [disk(model.source(), "compare")], number=2, parent=parent, bad=bad)
    assert point.disks[0].new_bytes >= 7 * MIB
    _, refmap = decode_refmap(point.refmap)
    named = {(pack_id, slot) for pack_id, slots in refmap.slots().items() for slot in slots.tolist()}
    assert not named & bad


def test_bad_leaf_and_node_are_stored_again(coordinator: DirectCoordinator, model: ModelDisk) -> None:
    _, parent = first_point(coordinator, model)
    node = parent.root.disks[0].nodes[0].chunk
    leaf = parent.page(parent.root.disks[0], 2).chunk
    assert node is not None and leaf is not None
    bad = [(node.pack_id, node.slot), (leaf.pack_id, leaf.slot)]
    source = model.source()
    point = write_point(coordinator, [disk(source, "bitmap")], number=2, parent=parent, bad=bad)
    assert source.read_bytes == 3 * MIB
    reader = read_point(point, coordinator)
    named = {child.chunk for _, child in reader.pages(reader.root.disks[0])} | {reader.root.disks[0].nodes[0].chunk}
    assert not named & {node, leaf}
    assert point.root.warnings[0][0] == "PARENT_PAGES_LOST"
    assert restored(reader) == model.blocks


def test_pages_of_the_parent_that_are_gone_are_read_in_full(coordinator: DirectCoordinator, model: ModelDisk) -> None:
    _, parent = first_point(coordinator, model)
    for name in [one.name for one in coordinator.store.list("v1/p/")]:
        if name.endswith((".0", ".1")) and any(one.meta and one.pack_id.hex() in name for one in coordinator.packs):
            coordinator.store.delete(name)
    source = model.source()
    parent = PointReader(parent.root, SETTINGS.lineage_id, SETTINGS.k_dedup, coordinator)
    point = write_point(coordinator, [disk(source, "bitmap")], number=2, parent=parent)
    assert source.read_bytes == 7 * MIB
    assert point.root.warnings[0][0] == "PARENT_PAGES_LOST"
    assert restored(read_point(point, coordinator)) == model.blocks


def test_members_are_kept_while_unchanged(coordinator: DirectCoordinator, model: ModelDisk) -> None:
    members = {"domain.xml": b"<domain/>", "nvram": b"\0" * 540672}
    first = write_point(coordinator, [disk(model.source(), "full")], members=members)
    model.forget_changes()
    parent = read_point(first, coordinator)
    changed = members | {"domain.xml": b"<domain id='2'/>"}
    point = write_point(coordinator, [disk(model.source(), "bitmap")], number=2, parent=parent, members=changed)
    reader = read_point(point, coordinator)
    assert {name: reader.member(name) for name in changed} == changed
    assert reader.member("absent") is None
    assert first.root.members[1].chunk == point.root.members[1].chunk
    check_refmap(point, reader)


def test_a_meta_chunk_is_read_from_its_second_copy(coordinator: DirectCoordinator, model: ModelDisk) -> None:
    point, reader = first_point(coordinator, model)
    for one in coordinator.packs:
        if one.meta:
            coordinator.store.delete(coordinator.name(one.pack_id, 0))
    assert restored(read_point(point, coordinator)) == model.blocks
    assert reader.root == point.root
