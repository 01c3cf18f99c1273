"""The structure check: manifests, refmaps, pages and slots that are missing, altered or contradict each other; changes meanwhile."""

from collections.abc import Iterator
from dataclasses import replace
from uuid import UUID

import pytest

from seawall.repository.checking import tables
from seawall.repository.checking.check import CheckRequest
from seawall.repository.checking.finding import FINDINGS_KEPT, POINTS_KEPT, Findings, Reason
from seawall.repository.checking.port import PackFacts
from seawall.repository.errors import StoreRefused, StoreUnavailable
from seawall.repository.format.layout import (
    OPENS_PREFIX,
    PointName,
    manifest_name,
    open_name,
    refmap_name,
    tombstone_name,
)
from seawall.repository.format.open_mark import OpenMark, PointIds, sign_open_mark
from seawall.repository.format.refmap import Refmap, decode_refmap
from seawall.repository.format.root_object import LEADERS_FROM
from seawall.repository.format.slot_set import SlotSet
from seawall.repository.store.memory import MemoryStore
from seawall.repository.store.port import ObjectInfo
from support.checked_world import CheckedWorld, checked_world
from support.rescue_world import LINEAGE, MIB, VM, patterned, point_id

STRUCTURE = CheckRequest()
ONE, TWO = point_id(1), point_id(2)


@pytest.fixture
def checked() -> CheckedWorld:
    return checked_world()


def found(checked: CheckedWorld, request: CheckRequest = STRUCTURE) -> set[tuple[Reason, str, tuple[str, ...]]]:
    return {(one.reason, one.object_name, one.points) for one in checked.check(request).findings}


def test_a_sound_structure(checked: CheckedWorld) -> None:
    result = checked.check(STRUCTURE)
    assert (result.points, result.packs, result.findings) == (2, 0, ())
    assert [told.points_done for told in checked.ledger.told] == [1, 2]


def test_manifests_and_refmaps_that_are_not_there(checked: CheckedWorld) -> None:
    manifest, refmap = manifest_name("default", str(VM), ONE), refmap_name("default", str(VM), TWO)
    checked.store.delete(manifest)
    checked.store.delete(refmap)
    assert found(checked) == {(Reason.MANIFEST_MISSING, manifest, (ONE,)), (Reason.REFMAP_MISSING, refmap, (TWO,))}


def test_manifests_and_refmaps_that_are_altered(checked: CheckedWorld) -> None:
    manifest, refmap = manifest_name("default", str(VM), ONE), refmap_name("default", str(VM), TWO)
    checked.world.flip(manifest, 700)
    checked.world.flip(refmap, 40)
    assert found(checked) == {(Reason.MANIFEST_DAMAGED, manifest, (ONE,)), (Reason.REFMAP_DAMAGED, refmap, (TWO,))}


def test_manifests_that_were_swapped(checked: CheckedWorld) -> None:
    names = [manifest_name("default", str(VM), one) for one in (ONE, TWO)]
    bodies = [checked.store.get(name) for name in names]
    for name, body in zip(names, reversed(bodies), strict=True):
        checked.replace(name, body)
    assert found(checked) == {
        (Reason.MANIFEST_DAMAGED, name, (one,)) for name, one in zip(names, (ONE, TWO), strict=True)
    }


def test_points_that_the_catalogue_does_not_know(checked: CheckedWorld) -> None:
    other = UUID(int=99)
    made = checked.back_up(3, {}, vm=other)
    name = PointName("default", str(other), made)
    del checked.ledger.available[name]
    assert found(checked) == {(Reason.POINT_UNKNOWN, manifest_name("default", str(other), made), (made,))}
    checked.ledger.known.add(name)  # being published, or being deleted
    assert found(checked) == set()


def test_what_a_replaced_controller_left_is_told(checked: CheckedWorld) -> None:
    """A point of it that came late, and tombstones of points that stand and of one that leaves: of each what to do."""
    world = checked.world
    world.db_epoch = LEADERS_FROM + 1
    late = checked.back_up(3, {})
    del checked.ledger.available[PointName("default", str(VM), late)]
    for one in (ONE, TWO):
        world.store.put(tombstone_name("default", str(VM), one), world.tombstone(one))
    mark = OpenMark(LINEAGE, 2, 1, PointIds.of([ONE, TWO]), PointIds.of([TWO]), frozenset())
    world.store.put(open_name(2, 1), sign_open_mark(mark, world.secrets.signing_secret_key))
    assert found(checked) == {
        (Reason.POINT_VOID, manifest_name("default", str(VM), late), (late,)),
        (Reason.TOMBSTONE_VOID, tombstone_name("default", str(VM), ONE), ()),
    }
    world.flip(open_name(2, 1), 40)
    assert {reason for reason, _, _ in found(checked)} == {Reason.POINT_UNKNOWN, Reason.OPEN_MARK_DAMAGED}


def test_open_marks_that_the_store_does_not_list_end_no_check(
    checked: CheckedWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All counts then, and it is said once."""
    checked.store.put(open_name(2, 1), b"whatever it is")
    lists, listed = list[str](), checked.store.list

    def refused(prefix: str) -> Iterator[ObjectInfo]:
        lists.append(prefix)
        if prefix == OPENS_PREFIX:
            raise StoreRefused("not for you")
        return listed(prefix)

    monkeypatch.setattr(checked.store, "list", refused)
    assert found(checked) == {(Reason.OPEN_MARK_DAMAGED, OPENS_PREFIX, ())}
    assert lists.count(OPENS_PREFIX) == 1


def test_a_refmap_that_names_too_little_is_told(checked: CheckedWorld) -> None:
    """What collection reads must be what the manifest needs (rule 12): signed, but wrong."""
    world, name = checked.world, refmap_name("default", str(VM), ONE)
    manifest = manifest_name("default", str(VM), ONE)
    _, root_object = world.repository.open_manifest(checked.store.get(manifest))
    _, refmap = decode_refmap(checked.store.get(name))
    less = Refmap()
    for pack_id, slots in list(refmap.slots().items())[1:]:
        less.add(pack_id, slots)
    checked.store.delete(manifest)
    checked.store.delete(name)
    world.publish(root_object, less.encode("default"), str(VM), ONE)
    assert found(checked) == {(Reason.REFMAP_DIFFERS, name, (ONE,))}


def test_slots_that_a_table_lacks_are_bad_and_named(checked: CheckedWorld) -> None:
    """As if a compaction had dropped slots that a point needs: the pack is whole, and still lacks something."""
    donor = checked_world()
    pack, other = checked.data_pack(), donor.data_pack()
    later = replace(pack, generation=1)
    checked.ledger.stored[pack.id] = later
    checked.store.delete(checked.name(pack))
    checked.store.put(checked.name(later), donor.store.get(donor.name(other)))
    result = checked.check(STRUCTURE)
    assert {one.reason for one in result.findings} >= {Reason.ENTRY_DIFFERS}
    assert len(checked.ledger.stored[pack.id].bad) == pack.slots
    assert checked.damage_of(ONE) is not None


def test_packs_below_what_cannot_be_read_are_looked_at_too(checked: CheckedWorld) -> None:
    """Everything is lost: one healing must bring all of it back."""
    copy = checked.copied()
    for pack in checked.ledger.stored.values():
        for generation in pack.generations:
            checked.store.delete(checked.name(pack, generation))
    checked.check(STRUCTURE)
    assert {pack.id for pack in checked.ledger.damaged_packs()} == checked.ledger.stored.keys()
    checked.heal(copy)
    assert found(checked, CheckRequest(read_data_percent=100)) == set()


def test_one_byte_of_a_packs_end_is_damage_and_no_newer_seawall(checked: CheckedWorld) -> None:
    """The version in the footer's header, which is read before the footer's own hash."""
    pack = checked.data_pack()
    body = checked.store.get(checked.name(pack))
    checked.replace(checked.name(pack), body[:-120] + b"\x02" + body[-119:])
    assert {(reason, name) for reason, name, _ in found(checked)} == {(Reason.PACK_DAMAGED, checked.name(pack))}


def test_a_false_manifest_shuts_nobody_elses_chunks(checked: CheckedWorld) -> None:
    """A hostile agent commits a point that names a victim's slots for other chunks. The pack's bytes prove who is right."""
    index = checked.world.coordinator.index
    by_length: dict[int, list[bytes]] = {}
    for identity, locator in index.items():
        by_length.setdefault(locator.raw_bytes, []).append(identity)
    one, other = next(same for same in by_length.values() if len(same) > 1)[:2]
    honest = dict(index)
    index[one], index[other] = index[other], index[one]
    liar = checked.back_up(3, {"vda": patterned(96 * MIB, 1, (0, 3 * MIB), (70 * MIB, MIB))}, vm=UUID(int=66))
    index.update(honest)
    names = {checked.name(checked.ledger.stored[honest[identity].pack_id]) for identity in (one, other)}
    told = {(Reason.ENTRY_DIFFERS, name, (liar,)) for name in names}
    assert found(checked) == told
    assert found(checked, CheckRequest(read_data_percent=100)) == told
    assert not checked.ledger.damaged_packs()
    assert [checked.damage_of(one) for one in (ONE, TWO)] == [None, None]


def test_a_pack_that_the_catalogue_does_not_hold(checked: CheckedWorld) -> None:
    pack = checked.data_pack()
    del checked.ledger.stored[pack.id]
    assert {(reason, name) for reason, name, _ in found(checked)} == {(Reason.PACK_UNKNOWN, checked.name(pack))}


def test_a_point_that_is_deleted_meanwhile_is_no_finding(checked: CheckedWorld) -> None:
    ledger = checked.ledger

    def delete_at_once() -> None:
        ledger.available.clear()

    ledger.stop = delete_at_once  # after the first point
    checked.store.delete(manifest_name("default", str(VM), TWO))
    assert found(checked) == set()


def test_a_pack_that_is_compacted_meanwhile_is_looked_at_again(checked: CheckedWorld) -> None:
    pack = checked.data_pack()
    later = replace(pack, generation=1)
    checked.store.put(checked.name(later), checked.store.get(checked.name(pack)))
    checked.store.delete(checked.name(pack))
    ledger, before = checked.ledger, checked.ledger.packs

    def moved(pack_ids: object) -> object:
        answer = before(pack_ids)  # type: ignore[arg-type]
        if ledger.stored[pack.id].generation == 0:
            ledger.stored[pack.id] = later  # known to who asks the next time
        return answer

    ledger.packs = moved  # type: ignore[method-assign,assignment]
    assert found(checked) == set()
    ledger.stored[pack.id] = pack
    assert found(checked, CheckRequest(structure=False, read_data_percent=100)) == set()
    assert ledger.stored[pack.id].whole


def test_a_pack_that_is_deleted_meanwhile_is_no_finding(checked: CheckedWorld) -> None:
    pack, ledger = checked.data_pack(), checked.ledger
    checked.store.delete(checked.name(pack))
    flawed = ledger.flawed

    def gone(of: PackFacts, bad: SlotSet) -> bool:
        ledger.available.clear()
        ledger.stored.pop(pack.id, None)
        return flawed(of, bad)

    ledger.flawed = gone  # type: ignore[method-assign,assignment]
    assert found(checked, CheckRequest(structure=False, read_data_percent=100)) == set()


def test_what_collection_condemned_meanwhile_is_not_missed(checked: CheckedWorld) -> None:
    """All of a pack is condemned, its objects go, and only then the catalogue calls it deleted."""
    pack, ledger, before = checked.data_pack(), checked.ledger, checked.ledger.packs
    checked.store.delete(checked.name(pack))

    def condemned(pack_ids: object) -> object:
        ledger.stored[pack.id] = replace(pack, condemned=SlotSet.of(range(pack.slots)))
        return before(pack_ids)  # type: ignore[arg-type]

    ledger.packs = condemned  # type: ignore[method-assign,assignment]
    request = CheckRequest(structure=False, read_data_percent=100)
    assert found(checked, request) == set()
    assert not ledger.damaged_packs()
    assert found(checked, request) == set()


def test_a_store_that_is_away_ends_the_check_and_says_nothing_of_damage(checked: CheckedWorld) -> None:
    class Away(MemoryStore):
        def get_range(self, name: str, offset: int, length: int) -> bytes:
            if name.startswith("v1/p/"):
                raise StoreUnavailable("away")
            return super().get_range(name, offset, length)

    away = Away()
    world = CheckedWorld(checked.world.copied_to(away), checked.ledger)
    before = dict(checked.ledger.stored)
    with pytest.raises(StoreUnavailable):
        world.check(CheckRequest(structure=False, read_data_percent=100))
    assert checked.ledger.stored == before


def test_memory_stays_bounded_whatever_the_number_of_packs(
    checked: CheckedWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "TABLES_KEPT_BYTES", 1)
    assert found(checked) == set()


def test_a_thousand_findings_are_enough() -> None:
    findings = Findings()
    for number in range(FINDINGS_KEPT + 5):
        findings.add(Reason.PACK_MISSING, f"pack {number}", "gone", (f"point {number}",))
    for number in range(POINTS_KEPT + 5):
        findings.add(Reason.PACK_MISSING, "pack 0", "gone", (f"point {number}",))
        findings.add(Reason.PACK_MISSING, "pack 0", "gone", (f"point {number}",))
    listed = findings.listed()
    assert (len(findings), len(listed)) == (FINDINGS_KEPT + 5, FINDINGS_KEPT)
    first = next(one for one in listed if one.object_name == "pack 0")
    assert (len(first.points), first.points_total) == (POINTS_KEPT, POINTS_KEPT + 5)
