"""A point is proven when all that it names was read back and its refmap names all that it needs; else it is shown as not verified."""

import pytest

from seawall.repository.checking.check import CheckRequest
from seawall.repository.checking.finding import Reason
from seawall.repository.checking.port import PackFacts
from seawall.repository.format.layout import PointName, refmap_name
from seawall.repository.format.refmap import Refmap
from seawall.repository.reading.point import PointReader
from support.checked_world import CheckedWorld, checked_world
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
    read = type(repository).read_refmap

    def lying(of: object, tenant: str, vm_id: str, point: str) -> Refmap:
        return short if point == TWO.point_id else read(repository, tenant, vm_id, point)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(repository), "read_refmap", lying)
        result = checked.check(NEW)
    assert (Reason.REFMAP_DIFFERS, name) in {(each.reason, each.object_name) for each in result.findings}
    assert checked.ledger.proved_points == {ONE: True, TWO: False}
    again = checked.check(CheckRequest(structure=True, read_data_percent=100))
    assert again.proven_points == 1, "an operator's check looks again"


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
