"""What `rescue list` sees: every point of every VM from the bucket alone, whatever lies among them."""

from dataclasses import replace
from uuid import UUID

import pytest

from seawall.repository.crypto.keys import new_secret, new_secrets
from seawall.repository.errors import ForeignRepository, IntegrityError, WrongKey
from seawall.repository.format.layout import key_name, manifest_name, refmap_name, tombstone_name
from seawall.repository.format.tombstone import open_tombstone, sign_tombstone
from seawall.repository.recovery_sheet import RecoveryMaterial
from seawall.repository.rescue.catalogue import find_point, read_catalogue
from seawall.repository.rescue.errors import PointAmbiguous, PointUnknown
from seawall.repository.rescue.opening import open_for_rescue
from seawall.repository.store.memory import MemoryStore
from support.rescue_world import MIB, RECOVERY, VM, RescueWorld, patterned, point_id

OTHER_VM = UUID(int=9)


@pytest.fixture
def world() -> RescueWorld:
    made = RescueWorld(MemoryStore())
    disk = patterned(2 * MIB, 1, (0, MIB))
    made.back_up(1, {"vda": disk})
    made.back_up(2, {"vda": disk, "vdb": patterned(MIB + 512, 2, (512, 4096))})
    made.back_up(3, {"vda": disk}, vm=OTHER_VM, vm_name="db")
    return made


def test_every_point_is_there_newest_first(world: RescueWorld) -> None:
    rescue = open_for_rescue(world.store, world.material)
    found = read_catalogue(rescue)
    assert [point.name.point_id for point in found.points] == [point_id(3), point_id(2), point_id(1)]
    assert (found.damaged, found.strange, rescue.notes, rescue.pinned) == ((), (), (), True)
    middle = found.points[1]
    assert [(disk.disk, disk.size_bytes) for disk in middle.disks] == [("vda", 2 * MIB), ("vdb", MIB + 512)]
    assert (middle.vm_name, middle.guest_frozen, middle.members) == ("web", False, ("domain.xml",))
    by_name = {vm.vm_name: vm for vm in found.vms()}
    assert (by_name["web"].points, by_name["db"].points) == (2, 1)
    assert by_name["web"].newest == middle


@pytest.mark.parametrize("wish", ["web", str(VM), str(VM)[:8]])
def test_one_vm_by_name_or_id(world: RescueWorld, wish: str) -> None:
    world.back_up(4, {}, vm=UUID(int=5 << 96), vm_name="third")
    found = read_catalogue(open_for_rescue(world.store, world.material), vm=wish)
    names = {point.vm_name for point in found.points}
    assert "web" in names
    assert "third" not in names
    if wish != str(VM)[:8]:  # of the first digits, all that begin so
        assert names == {"web"}


def test_a_vm_that_is_not_there_is_said_so(world: RescueWorld) -> None:
    with pytest.raises(PointUnknown, match="of a tenant 'nobody'"):
        read_catalogue(open_for_rescue(world.store, world.material), tenant="nobody")
    rescue = open_for_rescue(world.store, world.material)
    for wish in ("nobody", "0000", "../web"):
        with pytest.raises(PointUnknown, match="no point of a VM"):
            read_catalogue(rescue, vm=wish)


def test_forgotten_points_and_strange_names_are_no_points(world: RescueWorld) -> None:
    world.store.put(tombstone_name("default", str(VM), point_id(1)), world.tombstone(point_id(1)))
    for name in (f"v1/m/default/{VM}/note.txt", "v1/m/default/x", f"v1/m/UPPER/{VM}/{point_id(1)}"):
        world.store.put(name, b"?")
    found = read_catalogue(open_for_rescue(world.store, world.material))
    assert [point.name.point_id for point in found.points] == [point_id(3), point_id(2)]
    assert len(found.strange) == 3
    assert [point.point_id for point in found.forgotten] == [point_id(1)]


def test_a_deleted_point_is_found_again_when_tombstones_are_ignored(world: RescueWorld) -> None:
    world.store.put(tombstone_name("default", str(VM), point_id(1)), world.tombstone(point_id(1)))
    rescue = open_for_rescue(world.store, world.material)
    with pytest.raises(PointUnknown, match="--ignore-tombstones"):
        find_point(rescue, point_id(1))
    ignoring = replace(rescue, ignore_tombstones=True)
    assert find_point(ignoring, point_id(1)).point_id == point_id(1)
    assert len(read_catalogue(ignoring).points) == 3


def test_only_this_repositorys_signature_forgets_this_point(world: RescueWorld) -> None:
    """Whoever may write to the bucket, but has not the keys, hides no point."""
    rescue = open_for_rescue(world.store, world.material)
    name = tombstone_name("default", str(VM), point_id(1))
    whole = world.tombstone(point_id(1))
    stranger = sign_tombstone(open_tombstone(whole, world.secrets.signing_public_key), new_secret())
    unlike = [b"", whole[:-1], whole + b"\0", world.tombstone(point_id(2)), stranger]
    unlike += [whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :] for at in range(0, len(whole), 7)]
    for body in unlike:
        world.store.put(name, body, create_only=False)
        assert len(read_catalogue(rescue).points) == 3
    world.store.put(name, whole, create_only=False)
    assert len(read_catalogue(rescue).points) == 2


def test_any_flipped_bit_of_a_manifest_damages_that_point_alone(world: RescueWorld) -> None:
    rescue = open_for_rescue(world.store, world.material)
    name = world.manifest_name(point_id(1))
    whole = world.store.get(name)
    for at in {*range(40), *range(40, len(whole), 53), len(whole) - 1}:
        world.flip(name, at, 1 << at % 8)
        found = read_catalogue(rescue)
        assert [point.name.point_id for point in found.points] == [point_id(3), point_id(2)], at
        (broken,) = found.damaged
        assert (broken.name.point_id, broken.object_name, broken.vm_name) == (point_id(1), name, "web")
        assert name in broken.error
        world.store.put(name, whole, create_only=False)
    assert not read_catalogue(rescue).damaged


@pytest.mark.parametrize("length", [0, 1, 15, 300])
def test_a_manifest_that_was_cut_is_damaged(world: RescueWorld, length: int) -> None:
    name = world.manifest_name(point_id(2))
    world.store.put(name, world.store.get(name)[:length], create_only=False)
    found = read_catalogue(open_for_rescue(world.store, world.material))
    assert [broken.object_name for broken in found.damaged] == [name]
    assert found.vms()[1].damaged == 1


def test_a_manifest_of_any_size_fills_no_memory(world: RescueWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seawall.repository.repository.MANIFEST_BYTES", 1000)
    found = read_catalogue(open_for_rescue(world.store, world.material))
    assert len(found.damaged) == 3
    assert "over 1000 bytes" in found.damaged[0].error


def test_a_point_signed_by_somebody_else_is_damaged(world: RescueWorld) -> None:
    """He may write to the bucket and knows our public key: he lacks the signature."""
    theirs = RescueWorld(MemoryStore(), secrets=new_secrets())
    theirs.back_up(8, {"vda": patterned(MIB, 3, (0, MIB))})
    name = world.manifest_name(point_id(8))
    world.store.put(name, theirs.store.get(name))
    moved = manifest_name("default", str(OTHER_VM), point_id(1))
    world.store.put(moved, world.store.get(world.manifest_name(point_id(1))))
    found = read_catalogue(open_for_rescue(world.store, world.material))
    assert {broken.object_name for broken in found.damaged} == {name, moved}
    assert len(found.points) == 3


def test_refmaps_packs_and_tables_do_not_matter_to_the_list(world: RescueWorld) -> None:
    world.store.delete(refmap_name("default", str(VM), point_id(1)))
    for name in [info.name for info in world.store.list("v1/p/")]:
        world.store.delete(name)
    assert len(read_catalogue(open_for_rescue(world.store, world.material)).points) == 3


def test_the_pin_is_of_the_sheet_and_a_bare_key_has_none(world: RescueWorld) -> None:
    bare = open_for_rescue(world.store, RecoveryMaterial(RECOVERY, None))
    assert not bare.pinned
    assert "carries no signing key" in bare.notes[0]
    theirs = RescueWorld(MemoryStore(), secrets=new_secrets())
    with pytest.raises(ForeignRepository, match="signed by another key"):
        open_for_rescue(theirs.store, world.material)
    assert open_for_rescue(theirs.store, RecoveryMaterial(RECOVERY, None))
    with pytest.raises(WrongKey, match="sealed to another key"):
        open_for_rescue(world.store, RecoveryMaterial(b"\x09" * 32, world.sheet))


def test_keys_of_one_epoch_lost_cost_the_points_of_that_epoch_only() -> None:
    two = new_secrets(("a", "b"))
    store = MemoryStore()
    first = RescueWorld(store, secrets=two, tenant="a")
    first.back_up(1, {"vda": patterned(MIB, 1, (0, MIB))})
    second = RescueWorld(store, secrets=two, tenant="b")
    second.back_up(2, {"vda": patterned(MIB, 2, (0, MIB))})
    name = key_name("a", 1, "recovery")
    store.put(name, b"garbage", create_only=False)
    rescue = open_for_rescue(store, first.material)
    assert name in rescue.notes[0]
    found = read_catalogue(rescue)
    assert [(point.name.tenant, point.name.point_id) for point in found.points] == [("b", point_id(2))]
    assert [(broken.name.tenant, broken.object_name) for broken in found.damaged] == [("a", name)]
    store.delete(name)
    lost = read_catalogue(open_for_rescue(store, first.material)).damaged[0]
    assert lost.object_name == name
    store.put(key_name("b", 1, "recovery"), b"", create_only=False)
    with pytest.raises(IntegrityError, match=r"v1/keys/b/1\.recovery"):
        open_for_rescue(store, first.material)
    store.delete(key_name("b", 1, "recovery"))
    with pytest.raises(WrongKey, match="no keys for 'recovery'"):
        open_for_rescue(store, first.material)


def test_a_copy_of_a_manifest_does_not_hide_the_point(world: RescueWorld) -> None:
    rescue = open_for_rescue(world.store, world.material)
    body = world.store.get(world.manifest_name(point_id(1)))
    world.store.put(world.manifest_name(point_id(1), OTHER_VM), body)
    assert find_point(rescue, point_id(1)).vm_id == str(VM)
    world.store.put(world.manifest_name(point_id(1)), body[:-1], create_only=False)
    with pytest.raises(PointAmbiguous, match="--tenant"):
        find_point(rescue, point_id(1))


def test_points_by_their_first_digits(world: RescueWorld) -> None:
    rescue = open_for_rescue(world.store, world.material)
    assert find_point(rescue, point_id(2)).point_id == point_id(2)
    assert find_point(rescue, point_id(2).upper()).point_id == point_id(2)
    with pytest.raises(PointAmbiguous, match="3 points begin with '0192'"):
        find_point(rescue, "0192")
    for wish in ("ffff", "", " ", "../..", "0192f3c1-0000-0000-0000-00000000000g"):
        with pytest.raises(PointUnknown):
            find_point(rescue, wish)
