"""A point is proven when all that it names was read back and its refmap names all that it needs; else it is shown as not verified."""

from dataclasses import replace

import numpy as np
import pytest

from seawall.repository.checking.check import CheckRequest
from seawall.repository.checking.finding import Reason
from seawall.repository.checking.port import PackFacts
from seawall.repository.errors import FormatUnsupported
from seawall.repository.format.layout import PointName, manifest_name, refmap_name
from seawall.repository.format.manifest import Child, InnerNode
from seawall.repository.format.refmap import Refmap
from seawall.repository.format.root_object import Statement
from seawall.repository.reading.point import PointReader
from seawall.repository.reading.store_packs import StorePackReader
from support.checked_world import FULL, CheckedWorld, checked_world
from support.memory_disks import ModelDisk
from support.rescue_world import VM, patterned, point_id

NEW = CheckRequest(structure=False, limit_bytes=1 << 30, new_only=True)
MIB = 1 << 20
ONE, TWO = (PointName("default", str(VM), point_id(number)) for number in (1, 2))


@pytest.fixture
def checked() -> CheckedWorld:
    return checked_world()


def test_points_are_proven_once_all_their_packs_were_read(checked: CheckedWorld) -> None:
    few = CheckRequest(structure=False, limit_bytes=1, new_only=True)
    assert checked.check(few).proven_points == 0
    assert checked.ledger.proved_points == {}, "a pack that nobody read says nothing yet"
    assert checked.check(NEW).proven_points == 2
    assert checked.ledger.proved_points == {ONE: True, TWO: True}
    assert checked.check(NEW).proven_points == 0, "nobody looks again at what is proven"


@pytest.mark.parametrize("request_of", ["new packs", "a policy"])
def test_a_job_reads_a_refmap_once(checked: CheckedWorld, monkeypatch: pytest.MonkeyPatch, request_of: str) -> None:
    """It may have 256 MiB."""
    request, times = NEW, 1
    if request_of == "a policy":
        assert checked.check(NEW).proven_points == 2
        # Once to choose the packs, of all points before the first is done; once for the point's own look.
        request, times = CheckRequest(structure=False, points=(ONE, TWO), before_us=1, limit_bytes=1 << 40), 2
    read, get_range = list[str](), checked.store.get_range

    def noted(name: str, offset: int, length: int) -> bytes:
        read.append(name)
        return get_range(name, offset, length)

    monkeypatch.setattr(checked.store, "get_range", noted)
    checked.check(request)
    assert sorted(name for name in read if name.startswith("v1/r/")) == sorted([refmap_of(ONE), refmap_of(TWO)] * times)


def refmap_of(name: PointName) -> str:
    return refmap_name(name.tenant, name.vm_id, name.point_id)


def test_a_point_with_a_bad_chunk_is_not_proven_and_the_others_are(checked: CheckedWorld) -> None:
    extra = patterned(8 * MIB, 5, (0, MIB))
    checked.back_up(3, {"vda": extra})
    newest = PointName("default", str(VM), point_id(3))
    mine = set(checked.world.repository.read_refmap("default", str(VM), newest.point_id).slots())
    others = set(checked.world.repository.read_refmap("default", str(VM), TWO.point_id).slots())
    lone = next(pack for pack in checked.ledger.stored.values() if pack.id in mine - others and not pack.meta)
    damage(checked, lone)
    assert checked.check(NEW).proven_points == 2
    assert checked.ledger.available[newest] is not None
    assert checked.ledger.proved_points.get(newest) is not True


def damage(checked: CheckedWorld, pack: PackFacts) -> None:
    body = bytearray(checked.store.get(checked.name(pack)))
    body[2000] ^= 1
    checked.replace(checked.name(pack), bytes(body))


def test_a_refmap_that_lacks_what_the_pages_need_is_found_and_the_point_is_not_proven(checked: CheckedWorld) -> None:
    """A hostile host's: collection would take from the point what its refmap does not name."""
    repository = checked.world.repository
    name = refmap_name("default", str(VM), TWO.point_id)
    short = Refmap()
    for pack_id, slots in list(repository.read_refmap("default", str(VM), TWO.point_id).slots().items())[1:]:
        short.add(pack_id, slots.tolist())
    read = type(repository).refmap_of

    def lying(of: object, statement: Statement) -> Refmap:
        return short if statement.point_id == TWO.point_id else read(repository, statement)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(repository), "refmap_of", lying)
        result = checked.check(NEW)
    assert (Reason.REFMAP_DIFFERS, name) in {(each.reason, each.object_name) for each in result.findings}
    assert checked.ledger.proved_points == {ONE: True, TWO: False}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(repository), "refmap_of", lying)
        assert checked.check(FULL).proven_points == 0, "what the same check found before is found of this point too"
    assert checked.ledger.proved_points == {ONE: True, TWO: False}
    again = checked.check(CheckRequest(structure=True, read_data_percent=100))
    assert again.proven_points == 1, "an operator's check looks again"


def test_a_manifest_that_was_lost_since_takes_the_proof_back(checked: CheckedWorld) -> None:
    assert checked.check(FULL).proven_points == 2
    name = manifest_name("default", str(VM), TWO.point_id)
    body = checked.store.get(name)
    checked.store.delete(name)
    for _ in range(2):
        assert checked.check(FULL).proven_points == 0
        assert checked.ledger.proved_points == {ONE: True, TWO: False}
    checked.store.put(name, body)
    assert checked.check(FULL).proven_points == 1


def test_a_page_of_a_newer_format_stops_nothing(checked: CheckedWorld) -> None:
    """A hostile host's: nobody else's points stay unproven, and no later check ends at it."""
    leaf = PointReader.leaf

    def newer(reader: PointReader, child: Child, *given: object) -> object:
        if reader.root.point_id == ONE.point_id:
            raise FormatUnsupported("leaf page: format version 2")
        return leaf(reader, child, *given)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PointReader, "leaf", newer)
        found = checked.check(NEW).findings
    assert [(each.reason, each.points) for each in found] == [(Reason.NEEDS_UPGRADE, (ONE.point_id,))]
    assert checked.ledger.proved_points == {ONE: False, TWO: True}


def test_a_page_that_is_known_to_be_sound_proves_no_other_slots(checked: CheckedWorld) -> None:
    """A hostile host's: node and refmap agree on less than the page uses."""
    repository = checked.world.repository
    _, root_object = repository.read_manifest("default", str(VM), TWO.point_id)
    root = repository.open_root(root_object)
    k_dedup = repository.secrets.k_dedup(root.tenant, root.key_epoch)
    reader = PointReader(root, root.lineage_id, k_dedup, StorePackReader(checked.store, root.tenant))
    first, second = reader.node(root.disks[0].nodes[0], root.disks[0], 0).children
    left_out, used = next(iter(second.slots.items()))
    node, read = PointReader.node, type(repository).refmap_of

    def lying_node(reader: PointReader, *given: object) -> InnerNode:
        if reader.root.point_id != TWO.point_id:
            return node(reader, *given)  # type: ignore[arg-type]
        others = {pack_id: slots for pack_id, slots in second.slots.items() if pack_id != left_out}
        return InnerNode((first, replace(second, slots=others)))

    def lying(of: object, statement: Statement) -> Refmap:
        told = Refmap()
        for pack_id, slots in read(repository, statement).slots().items():
            lied = statement.point_id == TWO.point_id and pack_id == left_out
            if len(kept := np.setdiff1d(slots, used) if lied else slots):
                told.add(pack_id, kept.tolist())
        return told

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PointReader, "node", lying_node)
        patch.setattr(type(repository), "refmap_of", lying)
        result = checked.check(NEW)
    assert {each.reason for each in result.findings} == {Reason.REFMAP_DIFFERS}
    assert checked.ledger.proved_points == {ONE: True, TWO: False}


def test_pages_of_a_proven_point_are_not_read_again(checked: CheckedWorld) -> None:
    checked.check(NEW)
    third = patterned(96 * MIB, 1, (0, 3 * MIB), (70 * MIB, MIB))
    third.write(5 * MIB, ModelDisk(MIB).source().blocks.get(0, bytes(4096)))
    checked.back_up(3, {"vda": third})
    read: list[int] = []
    leaf = PointReader.leaf

    def counted(reader: PointReader, *given: object) -> object:
        read.append(1)
        return leaf(reader, *given)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PointReader, "leaf", counted)
        assert checked.check(NEW).proven_points == 1
        few = len(read)
        read.clear()
        checked.ledger.proved_points.clear()
        assert checked.check(NEW).proven_points == 3
    assert few < len(read)
