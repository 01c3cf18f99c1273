"""Collection over a repository in memory: what goes, what stays, and that it may stop after every step."""

import random
import threading
from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import pytest

from seawall.repository.collecting.compact import whole_tail
from seawall.repository.collecting.errors import CollectionStopped, PointBeingDeleted
from seawall.repository.collecting.hands import MANY_HANDS
from seawall.repository.collecting.plan import Fate
from seawall.repository.collecting.port import LedgerRefused, PackFacts, PackStanding, PointRoot, RootState
from seawall.repository.format.condemn_log import open_condemn_log
from seawall.repository.format.layout import (
    CONDEMNED_PREFIX,
    epoch_name,
    hand_in_name,
    manifest_name,
    open_name,
    pack_name,
    refmap_name,
    tombstone_name,
)
from seawall.repository.format.pack import pack_id_of
from seawall.repository.format.root_object import object_hash
from seawall.repository.format.slot_set import EVERY_SLOT
from seawall.repository.format.tombstone import Burial
from seawall.repository.reading.window import DiskWindow
from support.collection_ledger_memory import MemoryLedger
from support.collection_world import ATTEMPT, TENANT, VM, CollectionWorld, live_slots
from support.memory_disks import BLOCK, ModelDisk
from support.point_writing import manifest_of

SIZE = 1 << 20


class Stopped(Exception):
    """The process ended here."""


@cache
def _made() -> CollectionWorld:
    """Three points of a disk; the second is deleted: some packs are dead, some sparse, some needed."""
    world, model, rng = CollectionWorld(), ModelDisk(SIZE), random.Random(1)
    model.write(0, rng.randbytes(600_000))
    first = world.add_point(1, model)
    model.write(100_000, rng.randbytes(400_000))
    second = world.add_point(2, model, first)
    model.write(150_000, rng.randbytes(200_000))
    world.add_point(3, model, second)
    world.delete_point(first)
    world.delete_point(second)
    world.written(9, ModelDisk(SIZE))  # an attempt that came to nothing: its packs are nobody's
    del world.points[next(point for point in world.points if point not in world.ledger.points)]
    return world


@pytest.fixture
def world() -> CollectionWorld:
    return _made().twin()


def test_dead_packs_go_sparse_ones_shrink_and_points_restore(world: CollectionWorld) -> None:
    before = {info.name: info.size_bytes for info in world.store.list("v1/p/")}
    plan = world.collection().plan()
    assert {info.name: info.size_bytes for info in world.store.list("v1/p/")} == before
    assert plan.planned[Fate.CONDEMN_ALL].packs > 0 < plan.planned[Fate.CONDEMN_SOME].packs
    report = world.collect()
    after = {info.name: info.size_bytes for info in world.store.list("v1/p/")}
    assert report.deleted.packs == plan.planned[Fate.CONDEMN_ALL].packs
    assert report.compacted.packs == plan.planned[Fate.CONDEMN_SOME].packs
    assert report.deleted.bytes + report.compacted.bytes == sum(before.values()) - sum(after.values())
    world.check_points()
    again = world.collect()
    assert (again.condemned_slots, again.deleted.packs, again.compacted.packs, again.swept.packs) == (0, 0, 0, 0)


def test_random_reads_follow_a_pack_to_its_next_generation(world: CollectionWorld) -> None:
    (point_id,) = world.points
    reader = world.reader(point_id)
    window = DiskWindow(reader, manifest_of(reader))
    world.collect()
    blocks = world.points[point_id]
    for offset in range(0, SIZE, 50_000):
        first, end = offset // BLOCK, (offset + 5000) // BLOCK + 1
        expected = b"".join(blocks.get(block, bytes(BLOCK)) for block in range(first, end))
        assert window.read(offset, 5000) == expected[offset % BLOCK : offset % BLOCK + 5000]


def forget_generations(world: CollectionWorld) -> dict[bytes, int]:
    """As a database restored from an older copy would have it. What the generations were."""
    known = {pack_id: pack.generation for pack_id, pack in world.ledger.stored.items()}
    for pack_id, pack in world.ledger.stored.items():
        world.ledger.stored[pack_id] = replace(pack, generation=0)
    return known


def test_a_generation_that_the_ledger_does_not_know_is_taken_over_and_not_swept(world: CollectionWorld) -> None:
    world.collect()
    known = forget_generations(world)
    assert max(known.values()) > 0
    report = world.collect()
    assert report.swept.packs == 0 == report.kept_back_count
    assert {pack_id: pack.generation for pack_id, pack in world.ledger.stored.items()} == known
    assert not any(pack.generation_hash for pack in later_generations(world)), (
        "only their places say which packs they are"
    )
    world.check_points()


def later_generations(world: CollectionWorld) -> list[PackFacts]:
    found = [pack for pack in world.ledger.packs() if pack.generation and pack.standing is PackStanding.STORED]
    assert found
    return found


@pytest.mark.parametrize("altered", [False, True], ids=["as written", "altered"])
def test_a_compacted_pack_is_vouched_for_where_it_was_made_from_known_bytes(
    world: CollectionWorld, *, altered: bool
) -> None:
    """Bodies are proven one by one: damage in what is not copied stops no compaction. But then nobody knows whose bytes they are."""
    if altered:
        for name in world.pack_names():
            body = bytearray(world.store.get(name))
            body[48 + 40] ^= 1  # the first record's header
            world.store.put(name, bytes(body), create_only=False)
    world.collect()
    for pack in later_generations(world):
        made = world.store.get(pack_name(TENANT, pack.pack_id, pack.generation))
        assert pack.generation_hash == (b"" if altered else pack_id_of(made))
    world.check_points()


def test_a_generation_above_the_one_that_counts_stays_where_it_cannot_take_its_place(world: CollectionWorld) -> None:
    world.collect()
    known = forget_generations(world)
    names = [
        pack_name(TENANT, pack_id, known[pack_id] + copy)
        for pack_id, pack in world.ledger.stored.items()
        for copy in range(len(pack.generations))
        if known[pack_id]
    ]
    for name in names:
        body = bytearray(world.store.get(name))
        body[200] ^= 1
        world.store.put(name, bytes(body), create_only=False)
    report = world.collect()
    assert report.swept.packs == 0 < report.kept_back_count
    assert set(names) <= set(world.pack_names())
    assert "cannot take its place" in report.kept_back[0]


def test_of_a_meta_pack_both_copies_must_be_there(world: CollectionWorld) -> None:
    """A compaction that died between the two."""
    world.collect()
    pack = next(pack for pack in world.ledger.packs() if pack.meta and pack.standing is PackStanding.STORED)
    lone = pack_name(TENANT, pack.pack_id, pack.generation + 4)
    world.store.put(lone, world.store.get(pack_name(TENANT, pack.pack_id, pack.generation)))
    report = world.collect()
    assert report.kept_back_count == 1 and lone in world.pack_names()
    assert world.ledger.stored[pack.pack_id].generation == pack.generation
    world.check_points()


def test_a_pack_that_is_condemned_whole_goes_with_the_generation_above(world: CollectionWorld) -> None:
    """Left by a compaction that died, while the last point that needed the pack was deleted."""
    world.collect()
    forget_generations(world)
    for point_id in list(world.points):
        world.delete_point(point_id)
    world.ledger.grace_us = 10
    world.clock.advance(1)
    world.collect()  # condemns them; nothing is ripe
    world.ledger.now_us += 20
    world.collect()
    assert live_slots(world) == {}
    assert world.pack_names() == []


def test_a_second_compaction_is_followed_too(world: CollectionWorld) -> None:
    (point_id,) = world.points
    model = ModelDisk(SIZE)
    for block, body in world.points[point_id].items():
        model.write(block * BLOCK, body)
    world.collect()
    model.forget_changes()
    model.write(0, random.Random(3).randbytes(60_000))
    later = world.add_point(4, model, point_id)
    world.delete_point(point_id)
    world.collection(percent=1).execute()
    assert any(pack.generation > 1 for pack in world.ledger.packs() if not pack.meta)
    assert list(world.points) == [later]
    world.check_points()


def test_it_may_stop_after_every_step(world: CollectionWorld) -> None:
    steps: list[str] = []
    world.twin().collect(steps.append)
    clean = world.twin()
    clean.collect()
    assert {"marked", "condemned", "announced", "pack removed", "removal told", "reserved"} < set(steps)
    assert {"generation written", "generation read back", "compacted", "old generation removed"} < set(steps)
    for last in range(1, len(steps) + 1):
        twin, left = world.twin(), [last]

        def stop(_: str, left: list[int] = left) -> None:
            left[0] -= 1
            if not left[0]:
                raise Stopped

        with pytest.raises(Stopped):
            twin.collect(stop)
        twin.check_points()
        twin.collect()
        twin.check_points()
        assert live_slots(twin) == live_slots(clean), f"stopped after {steps[last - 1]}"
        stored = [pack for pack in twin.ledger.packs() if pack.standing is PackStanding.STORED]
        kept = sorted(pack_name(TENANT, pack.pack_id, each) for pack in stored for each in pack.generations)
        assert twin.pack_names() == kept, f"stopped after {steps[last - 1]}"


def test_what_was_validated_after_the_mark_is_kept(world: CollectionWorld) -> None:
    """Rule 1: a backup that found dead chunks by Lookup hands in between mark and condemnation."""
    model = ModelDisk(SIZE)
    model.write(0, random.Random(1).randbytes(600_000))  # the disk of the first point, deleted
    late = world.written(5, model)

    def arrive(step: str) -> None:
        if step == "marked":
            world.validated(late)

    world.collect(arrive)
    world.committed(late)
    world.check_points()


def test_an_attempt_that_is_not_over_loses_nothing(world: CollectionWorld) -> None:
    for pack in list(world.ledger.packs()):
        world.ledger.stored[pack.pack_id] = PackFacts(
            pack.pack_id, TENANT, PackStanding.STORED, pack.meta, pack.size_bytes, pack.slots, 0, in_use=True
        )
    before = world.pack_names()
    report = world.collect()
    assert world.pack_names() == before
    assert report.planned[Fate.IN_USE].packs > 0


def test_every_deletion_was_announced_before(world: CollectionWorld) -> None:
    def check(step: str) -> None:
        if step == "announced":
            assert not [name for name in world.store.deleted if name.startswith("v1/p/")]

    world.store.deleted.clear()
    world.collect(check)
    key = world.repository.config.signing_public_key
    logs = [open_condemn_log(world.store.get(info.name), key) for info in world.store.list(CONDEMNED_PREFIX)]
    told = {pack_id.hex(): slots for log in logs for pack_id, slots in log.slots.items()}
    gone = {name.rsplit("/", 1)[1][:32] for name in world.store.deleted if name.startswith("v1/p/")}
    assert gone and gone <= told.keys()
    for pack in world.ledger.packs():
        if pack.condemned:
            assert told[pack.pack_id.hex()] == pack.condemned


def test_a_higher_epoch_in_the_bucket_stops_before_anything_is_deleted(world: CollectionWorld) -> None:
    before = world.pack_names()

    def other_leader(step: str) -> None:
        if step == "condemned":
            world.store.put(epoch_name(2, VM), b"")

    with pytest.raises(LedgerRefused, match="epoch 2"):
        world.collect(other_leader)
    assert world.pack_names() == before


def test_what_is_locked_is_reported_and_goes_later(world: CollectionWorld) -> None:
    world.store.locked = set(world.pack_names())
    report = world.collect()
    assert report.deleted.packs == 0 < report.kept_back_count
    assert "locked until next year" in report.kept_back[0]
    world.check_points()
    world.store.locked.clear()
    world.collect()
    clean = _made().twin()
    clean.collect()
    assert live_slots(world) == live_slots(clean)
    assert len(world.pack_names()) == len(clean.pack_names())
    world.check_points()


def test_a_pack_with_a_damaged_body_is_not_compacted(world: CollectionWorld) -> None:
    for pack in world.ledger.packs():
        if not pack.meta:
            name = pack_name(TENANT, pack.pack_id, 0)
            body = bytearray(world.store.get(name))
            for place in range(100, whole_tail(bytes(body)).footer.table_offset, 500):  # every body is hit
                body[place] ^= 1
            world.store.put(name, bytes(body), create_only=False)
    report = world.collect()
    assert report.kept_back_count > 0
    assert "altered" in report.kept_back[0]
    stored = [pack for pack in world.ledger.packs() if pack.standing is PackStanding.STORED and not pack.meta]
    assert all(pack.generation == 0 for pack in stored), "nothing was dropped from a pack that cannot be proven"


def test_a_manifest_that_nobody_knows_stops_everything(world: CollectionWorld) -> None:
    strange = manifest_name(TENANT, VM, ATTEMPT)
    world.store.put(strange, b"whose?")
    before = world.pack_names()
    with pytest.raises(CollectionStopped) as caught:
        world.collect()
    assert caught.value.reason == "MANIFEST_UNKNOWN"
    assert strange in str(caught.value)
    assert world.pack_names() == before


def test_a_tombstone_that_a_damaged_open_mark_might_call_void_removes_nothing(world: CollectionWorld) -> None:
    (point_id,) = world.points
    name, place, mark = manifest_name(TENANT, VM, point_id), tombstone_name(TENANT, VM, point_id), open_name(2, 1)
    manifest = world.store.get(name)
    world.delete_point(point_id)
    world.store.put(name, manifest)
    burial = Burial(world.repository.config.lineage_id, TENANT, VM, point_id, object_hash(manifest), 1, 1)
    world.store.put(place, world.repository.sign_tombstone(burial))
    world.store.put(mark, b"damaged")
    with pytest.raises(CollectionStopped, match=f"{place}: whether it counts stands in {mark}") as caught:
        world.collect()
    assert caught.value.reason == "OPEN_MARK_DAMAGED" and world.store.get(name) == manifest
    decided = world.repository.sign_tombstone(replace(burial, epoch=2))  # by the leader of now, or a later one
    world.store.put(place, decided, create_only=False)
    world.collect()
    assert [info.name for info in world.store.list("v1/m/")] == []


@pytest.mark.parametrize("signed", [True, False], ids=["signed", "not signed by us"])
def test_a_forgotten_manifest_that_arrives_late_goes_again(world: CollectionWorld, signed: bool) -> None:
    (point_id,) = world.points
    name = manifest_name(TENANT, VM, point_id)
    manifest = world.store.get(name)
    burial = Burial(world.repository.config.lineage_id, TENANT, VM, point_id, object_hash(manifest), 1, 1)
    tombstone = world.repository.sign_tombstone(burial)
    world.delete_point(point_id)
    world.store.put(tombstone_name(TENANT, VM, point_id), tombstone if signed else tombstone[:-1] + b"?")
    world.store.put(name, manifest)
    if signed:
        world.collection().plan()
        assert world.store.get(name) == manifest, "a plan changes nothing"
        world.collect()
        assert [info.name for info in world.store.list("v1/m/")] == []
    else:
        with pytest.raises(CollectionStopped, match=point_id):
            world.collect()


def damage_refmap(world: CollectionWorld, point_id: str, damage: str) -> None:
    name = refmap_name(TENANT, VM, point_id)
    body = bytearray(world.store.get(name))
    body[-1] ^= 1
    world.store.delete(name)
    if damage == "altered":
        world.store.put(name, bytes(body))


def test_a_point_that_is_deleted_while_manifests_are_listed_stops_nothing(world: CollectionWorld) -> None:
    (point_id,) = world.points

    class LosingLedger(MemoryLedger):
        """The point goes between the listing and the question."""

        def roots_named(self, point_ids: Sequence[str]) -> dict[str, PointRoot]:
            if point_id in self.points:
                world.delete_point(point_id)
            return super().roots_named(point_ids)

    world.ledger = LosingLedger(**vars(world.ledger))
    world.collect()
    assert world.pack_names() == []


@pytest.mark.parametrize("damage", ["missing", "altered"])
def test_a_refmap_that_is_lost_is_made_anew_from_the_manifest(world: CollectionWorld, damage: str) -> None:
    (point_id,) = world.points
    clean = world.twin()
    clean.collect()
    damage_refmap(world, point_id, damage)
    world.collect()
    assert live_slots(world) == live_slots(clean)
    world.check_points()


@pytest.mark.parametrize("damage", ["missing", "altered"])
def test_a_point_that_cannot_be_read_stops_everything(world: CollectionWorld, damage: str) -> None:
    """Neither its refmap nor, as the packs of manifests are gone, what stands in its manifest."""
    (point_id,) = world.points
    damage_refmap(world, point_id, damage)
    for pack in world.ledger.packs():
        if pack.meta:
            for generation in pack.generations:
                world.store.delete(pack_name(TENANT, pack.pack_id, generation))
    before = world.pack_names()
    with pytest.raises(CollectionStopped) as caught:
        world.collect()
    assert caught.value.reason == "REFMAP_UNREADABLE"
    assert f"point delete {point_id}" in str(caught.value)
    assert world.pack_names() == before
    assert not any(pack.condemned for pack in world.ledger.packs())


def test_a_point_whose_objects_are_half_gone_is_waited_for(world: CollectionWorld) -> None:
    (point_id,) = world.points
    root = world.ledger.points[point_id]
    for name in (manifest_name(TENANT, VM, point_id), refmap_name(TENANT, VM, point_id)):
        world.store.delete(name)
    world.ledger.points[point_id] = replace(root, state=RootState.DELETING)
    with pytest.raises(PointBeingDeleted):
        world.collect()
    assert not any(pack.condemned for pack in world.ledger.packs())


def test_a_point_that_needs_a_pack_nobody_knows_stops_everything(world: CollectionWorld) -> None:
    (point_id,) = world.points
    needed = next(iter(world.repository.read_refmap(TENANT, VM, point_id).slots()))
    del world.ledger.stored[needed]
    with pytest.raises(CollectionStopped) as caught:
        world.collect()
    assert caught.value.reason == "PACK_UNKNOWN"
    assert pack_name(TENANT, needed, 0) in world.pack_names()


def test_small_ranges_come_to_the_same(world: CollectionWorld) -> None:
    whole, parts = world.twin(), world.twin()
    whole.collect()
    parts.collection(range_slots=7).execute()
    assert live_slots(parts) == live_slots(whole)
    parts.check_points()


def test_many_hands_come_to_the_same(world: CollectionWorld) -> None:
    one, many = world.twin(), world.twin()
    expected = one.collect()
    found = replace(many.collection(), hands=MANY_HANDS).execute()
    assert found.as_json() == expected.as_json()
    assert live_slots(many) == live_slots(one)
    many.check_points()


def test_the_first_error_of_many_hands_ends_the_collection(world: CollectionWorld) -> None:
    def stop(step: str) -> None:
        if step == "generation written":
            raise Stopped

    with pytest.raises(Stopped):
        replace(world.collection(stop), hands=MANY_HANDS).execute()
    assert not [one.name for one in threading.enumerate() if one.name.startswith("collecting")]
    world.collect()
    world.check_points()


def test_what_belongs_to_nothing_is_swept(world: CollectionWorld) -> None:
    unknown, unreported, late = bytes(16), b"\x01" * 16, b"\x02" * 16
    leftovers = [
        pack_name(TENANT, unknown, 0),
        pack_name(TENANT, unreported, 0),
        pack_name(TENANT, late, 1),
        hand_in_name(ATTEMPT, "root", bytes(32)),
        refmap_name(TENANT, VM, ATTEMPT),
    ]
    world.ledger.stored[unreported] = PackFacts(unreported, TENANT, PackStanding.OPEN, False, 1, 0, 0)
    world.ledger.stored[late] = PackFacts(late, TENANT, PackStanding.DELETED, False, 1, 1, 0)
    for name in leftovers:
        world.store.put(name, b"left")
    world.ledger.live_attempts.add(ATTEMPT)
    world.collect()
    assert world.store.get(leftovers[3]) == b"left", "an attempt that is not over wants its hand-in"
    world.ledger.live_attempts.clear()
    world.collect()
    for name in leftovers:
        assert name in world.store.deleted
    assert unknown in world.ledger.void_ids
    key = world.repository.config.signing_public_key
    logs = [open_condemn_log(world.store.get(info.name), key) for info in world.store.list(CONDEMNED_PREFIX)]
    told = {pack_id: slots for log in logs for pack_id, slots in log.slots.items()}
    assert told[unknown] == told[unreported] == EVERY_SLOT
    assert late in told
    assert world.ledger.stored[unreported].standing is PackStanding.VOID
    world.check_points()


def test_what_is_swept_was_announced_before(world: CollectionWorld) -> None:
    """A database that goes back learns that the id is void, or a later pack of that id would be lost to a DELETE under way."""
    world.collect()
    before = {info.name for info in world.store.list(CONDEMNED_PREFIX)}
    left = pack_name(TENANT, bytes(16), 0)
    world.store.put(left, b"left")
    world.store.put(epoch_name(2, VM), b"")
    with pytest.raises(LedgerRefused, match="epoch 2"):
        world.collect()
    assert left not in world.store.deleted
    (name,) = {info.name for info in world.store.list(CONDEMNED_PREFIX)} - before
    log = open_condemn_log(world.store.get(name), world.repository.config.signing_public_key)
    assert log.slots == {bytes(16): EVERY_SLOT}


def test_young_leftovers_are_left_alone(world: CollectionWorld) -> None:
    world.ledger.grace_us = 1_000_000
    name = pack_name(TENANT, bytes(16), 0)
    world.store.put(name, b"left")
    world.collect()
    assert name in world.pack_names()
    world.clock.advance(2)
    world.collect()
    assert name not in world.pack_names()


def test_a_cancelled_collection_stops_before_its_next_step(world: CollectionWorld) -> None:
    def cancel(step: str) -> None:
        world.ledger.canceled = step == "condemned" or world.ledger.canceled

    before = world.pack_names()
    with pytest.raises(LedgerRefused, match="cancelled"):
        world.collect(cancel)
    assert world.pack_names() == before
    world.ledger.canceled = False
    world.collect()
    world.check_points()
