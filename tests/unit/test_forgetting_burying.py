"""A point leaves the bucket in steps that may stop anywhere and be repeated; what buries nothing deletes nothing."""

from dataclasses import replace
from uuid import UUID

import pytest

from seawall.repository.errors import IntegrityError
from seawall.repository.forgetting.burying import TombstonePlaceTaken, bury, remove_point
from seawall.repository.forgetting.leaders import NOBODY, LeaderMark, newest_leader
from seawall.repository.format.layout import PointName, epoch_name, refmap_name, tombstone_name
from seawall.repository.format.root_object import object_hash
from seawall.repository.format.tombstone import Burial, sign_tombstone
from seawall.repository.store.memory import MemoryStore
from support.rescue_world import LINEAGE, VM, RescueWorld, patterned, point_id

POINT = PointName("default", str(VM), point_id(1))
T = tombstone_name(*(POINT.tenant, POINT.vm_id, POINT.point_id))
LEADER = "00000000-0000-4000-8000-000000000001"


@pytest.fixture
def world() -> RescueWorld:
    world = RescueWorld(MemoryStore())
    world.back_up(1, {"vda": patterned(1 << 20, 1)})
    return world


def objects(world: RescueWorld, letter: str) -> list[str]:
    return [info.name for info in world.store.list(f"v1/{letter}/")]


def test_the_steps_leave_the_tombstone_and_may_be_repeated(world: RescueWorld) -> None:
    tombstone = world.tombstone(point_id(1))
    for _ in range(2):
        bury(world.repository, POINT, tombstone)
        assert world.repository.points("default") == []
        assert world.store.get(T) == tombstone
        remove_point(world.store, POINT)
        assert (objects(world, "m"), objects(world, "r"), objects(world, "t")) == ([], [], [T])


def test_a_tombstone_of_an_earlier_decision_counts(world: RescueWorld) -> None:
    """The database was rolled back to before it: the next decision has another time and epoch, and finds the first one's tombstone."""
    first = world.tombstone(point_id(1))
    bury(world.repository, POINT, first)
    later = replace(world.repository.open_tombstone(first), epoch=9, decided_us=2)
    bury(world.repository, POINT, world.repository.sign_tombstone(later))
    assert world.store.get(T) == first


@pytest.mark.parametrize("what", ["rubbish", "another manifest's", "a stranger's"])
def test_what_buries_nothing_is_never_overwritten_and_the_point_stays(world: RescueWorld, what: str) -> None:
    burial = world.repository.open_tombstone(world.tombstone(point_id(1)))
    bodies = {
        "rubbish": b"?",
        "another manifest's": world.repository.sign_tombstone(replace(burial, manifest_hash=bytes(32))),
        "a stranger's": sign_tombstone(burial, b"\x99" * 32),
    }
    world.store.put(T, bodies[what])
    with pytest.raises(TombstonePlaceTaken, match="v1/t/"):
        bury(world.repository, POINT, world.tombstone(point_id(1)))
    assert world.store.get(T) == bodies[what]
    assert len(objects(world, "m")) == 1


def test_a_tombstone_of_another_point_or_repository_is_not_put(world: RescueWorld) -> None:
    world.back_up(2, {"vda": patterned(1 << 20, 2)})
    burial = world.repository.open_tombstone(world.tombstone(point_id(1)))
    foreign = sign_tombstone(replace(burial, lineage_id=b"x" * 16), world.secrets.signing_secret_key)
    for wrong in (world.tombstone(point_id(2)), foreign, b"?"):
        with pytest.raises(ValueError, match="tombstone"):
            bury(world.repository, POINT, wrong)
    assert objects(world, "t") == []
    with pytest.raises(IntegrityError, match="another repository"):
        world.repository.open_tombstone(foreign)
    with pytest.raises(ValueError, match="another repository"):
        world.repository.sign_tombstone(replace(burial, lineage_id=b"x" * 16))


@pytest.mark.parametrize("fields", [{"lineage_id": b"x"}, {"manifest_hash": b"x"}, {"vm_id": "../.."}])
def test_a_burial_that_names_nothing_is_not_signed(fields: dict[str, object]) -> None:
    burial = Burial(LINEAGE, "default", str(VM), point_id(1), object_hash(b""), 1, 1)
    with pytest.raises(ValueError):
        sign_tombstone(replace(burial, **fields), b"\x01" * 32)  # type: ignore[arg-type]


def test_the_newest_leader_is_that_of_the_highest_epoch_and_of_two_alike_the_greater_name(world: RescueWorld) -> None:
    assert newest_leader(world.store) == NOBODY
    for epoch in (3, 12, 7):
        world.store.put(epoch_name(epoch, LEADER), b"")
    world.store.put("v1/c/epoch/note", b"")
    assert newest_leader(world.store) == LeaderMark(12, LEADER)
    lesser, greater = str(UUID(int=1)), "f" + LEADER[1:]
    world.store.put(epoch_name(12, lesser), b"")
    assert newest_leader(world.store) == LeaderMark(12, LEADER)
    world.store.put(epoch_name(12, greater), b"")
    assert newest_leader(world.store) == LeaderMark(12, greater)


def test_a_point_without_its_manifest_still_loses_its_refmap(world: RescueWorld) -> None:
    world.store.delete(world.manifest_name(point_id(1)))
    remove_point(world.store, POINT)
    assert refmap_name(POINT.tenant, POINT.vm_id, POINT.point_id) not in objects(world, "r")
