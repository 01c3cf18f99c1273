"""What a controller wrote after it had been replaced: rescue leaves it out, says so, and takes it all the same when it is told to."""

from dataclasses import replace

import pytest

from seawall.cli.output import Output
from seawall.cli.rescue.text import print_catalogue
from seawall.cli.rescue.view import catalogue_document
from seawall.controller.recovering.recovery import committed_points
from seawall.repository.checking.finding import Findings, Reason
from seawall.repository.checking.small_objects import check_small_objects
from seawall.repository.errors import StoreRefused
from seawall.repository.format.layout import open_name, tombstone_name
from seawall.repository.format.open_mark import OpenMark, PointIds, sign_open_mark
from seawall.repository.format.root_object import LEADERS_FROM
from seawall.repository.rescue.catalogue import find_point, read_catalogue
from seawall.repository.rescue.errors import PointUnknown
from seawall.repository.rescue.opening import RescueRepository, open_for_rescue
from seawall.repository.store.memory import MemoryStore
from support.checking_ledger import MemoryCheckingLedger
from support.rescue_world import MIB, VM, RescueWorld, patterned, point_id


@pytest.fixture
def world() -> RescueWorld:
    """Point 1 stands, point 2 came late, of point 3's deletion only the tombstone came, late; the leader of now wrote point 4."""
    made = RescueWorld(MemoryStore())
    made.db_epoch = LEADERS_FROM + 1
    disk = patterned(MIB, 1)
    for number in (1, 2, 3):
        made.back_up(number, {"vda": disk})
    mark = OpenMark(
        made.repository.config.lineage_id, 2, 1, PointIds.of([point_id(1), point_id(3)]), PointIds(), frozenset()
    )
    made.store.put(open_name(2, 1), sign_open_mark(mark, made.secrets.signing_secret_key))
    made.store.put(tombstone_name("default", str(VM), point_id(3)), made.tombstone(point_id(3)))
    made.db_epoch = LEADERS_FROM + 2
    made.back_up(4, {"vda": disk})
    return made


@pytest.fixture
def rescue(world: RescueWorld) -> RescueRepository:
    return open_for_rescue(world.store, world.material)


def shown(rescue: RescueRepository) -> list[str]:
    return [point.name.point_id for point in read_catalogue(rescue).points]


def test_a_late_manifest_is_left_out_and_a_late_tombstone_hides_nothing(rescue: RescueRepository) -> None:
    found = read_catalogue(rescue)
    assert shown(rescue) == [point_id(4), point_id(3), point_id(1)]
    assert [point.point_id for point in found.void] == [point_id(2)]
    assert [point.point_id for point in found.disregarded] == [point_id(3)]
    assert (found.forgotten, found.damaged, rescue.notes) == ((), (), ())


def test_both_are_said(rescue: RescueRepository, capsys: pytest.CaptureFixture[str]) -> None:
    found = read_catalogue(rescue)
    document = catalogue_document(rescue, found, 0)
    assert (document["void"], document["tombstones_ignored"]) == ([point_id(2)], [point_id(3)])
    print_catalogue(Output(as_json=False), rescue, found, 0)
    said = capsys.readouterr().out
    assert f"left out  {point_id(2)}" in said and "--include-void" in said
    assert f"the tombstone of {point_id(3)}" in said


def test_it_is_taken_when_that_is_asked_for(rescue: RescueRepository) -> None:
    with pytest.raises(PointUnknown, match="--include-void"):
        find_point(rescue, point_id(2))
    taking = replace(rescue, include_void=True)
    assert find_point(taking, point_id(2)).point_id == point_id(2)
    assert len(shown(taking)) == 4


def test_who_brings_a_deleted_point_back_need_not_say_both(world: RescueWorld) -> None:
    """A deleted point is not named by the next leader; its tombstone counts, and is what hides it."""
    world.store.put(tombstone_name("default", str(VM), point_id(2)), world.tombstone(point_id(2)))
    rescue = open_for_rescue(world.store, world.material)
    assert [point.point_id for point in read_catalogue(rescue).forgotten] == [point_id(2)]
    assert point_id(2) in shown(replace(rescue, ignore_tombstones=True))


def test_a_damaged_mark_is_said(world: RescueWorld) -> None:
    world.flip(open_name(2, 1), 40)
    rescue = open_for_rescue(world.store, world.material)
    assert len(shown(rescue)) == 3 and point_id(2) in shown(rescue)  # all counts, the tombstone too
    assert any(open_name(2, 1) in note for note in rescue.notes)


def test_a_mark_that_the_store_refuses_costs_no_point(world: RescueWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    read = world.store.get_range

    def refused(name: str, offset: int, length: int) -> bytes:
        if name == open_name(2, 1):
            raise StoreRefused(f"{name}: not for you")
        return read(name, offset, length)

    monkeypatch.setattr(world.store, "get_range", refused)
    rescue = open_for_rescue(world.store, world.material)
    assert len(shown(rescue)) == 3 and any(f"{open_name(2, 1)}: not for you" in note for note in rescue.notes)
    findings = Findings()
    check_small_objects(world.repository, MemoryCheckingLedger(), findings, world.repository.standing())
    assert Reason.OPEN_MARK_DAMAGED in [found.reason for found in findings.listed()]


def test_controller_recover_takes_what_rescue_shows(world: RescueWorld) -> None:
    names, void = committed_points(world.repository, world.repository.standing())
    assert sorted(name.point_id for name in names) == [point_id(1), point_id(3), point_id(4)]
    assert [name.point_id for name in void] == [point_id(2)]
