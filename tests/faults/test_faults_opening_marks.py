"""Open marks as the controller writes them: one for each start, tried again where an opening broke off, and in step with the database."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from seawall.controller.errors import Unavailable
from seawall.controller.repositories import catalogue
from seawall.controller.repositories.opening_mark import Before, look_before, name_too
from seawall.repository.errors import ObjectMissing
from seawall.repository.forgetting.standing import open_numbers
from seawall.repository.format.condemn_log import CondemnLog, sign_condemn_log
from seawall.repository.format.layout import (
    CONDEMNED_PREFIX,
    MANIFESTS_PREFIX,
    condemned_name,
    epoch_name,
    open_name,
    parse_pack_name,
    parse_point_name,
    tombstone_name,
)
from seawall.repository.format.open_mark import OpenMark, PointIds, sign_open_mark
from seawall.repository.format.root_object import object_hash
from seawall.repository.format.slot_set import SlotSet
from seawall.repository.format.tombstone import Burial
from seawall.repository.repository import OpenRepository
from seawall.repository.store.port import ObjectInfo

from .bucket import Fault
from .controller import REPOSITORY
from .host import TENANT
from .place import Place, made_place
from .scenario_words import ONE, TWO, a_backup, a_point, fill_disk
from .world import World

ELSEWHERE = "00000000-0000-7000-0000-0000000000ee"
"""Another controller."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return made_place(tmp_path_factory.mktemp("place"))


@pytest.fixture
def world(place: Place, tmp_path: Path) -> World:
    return World(place, tmp_path / "world")


def named(world: World) -> set[str]:
    last = world.repository.standing().last
    assert last is not None
    return set(last.points)


def raised(world: World) -> None:
    """Another start on this very database, while the present one goes on."""

    def closure(transaction: object) -> None:
        leadership = transaction.leadership  # type: ignore[attr-defined]
        leadership.note_opening(REPOSITORY, leadership.opened_epoch(REPOSITORY) + 1)

    world.controller.database.write_now(closure)


def test_each_start_names_what_stands_and_takes_the_mark_before_away(world: World) -> None:
    fill_disk(world, ONE)
    first = a_point(world, ONE)
    assert named(world) == set()
    world.restart({})
    second = a_point(world, ONE)
    assert (named(world), open_numbers(world.bucket.store)) == ({first}, [(2, 1)])
    world.forget(first)
    world.restart({})
    assert (named(world), open_numbers(world.bucket.store)) == ({first, second}, [(3, 1)])
    last = world.repository.standing().last
    assert last is not None and list(last.leaving) == [first]
    world.finish()
    world.restart({})
    assert named(world) == {second}


@pytest.mark.parametrize("arrives", ["between", "afterwards"])
def test_an_opening_that_broke_off_at_its_mark_is_tried_again(world: World, arrives: str) -> None:
    """The PUT of the first try is late: it decides nothing once a later one is there."""
    fill_disk(world, ONE)
    first = a_point(world, ONE)
    world.restart(dict.fromkeys(range(1, 100), Fault.LATE))  # repeated for a while, and given up
    assert world.history[-1].startswith("opening: Unavailable") and open_numbers(world.bucket.store) == [(1, 1)]
    world.controller.line.plan.clear()
    if arrives == "between":
        world.bucket.arrive_all()
        assert named(world) == {first}
    _ = world.controller.opened
    world.bucket.arrive_all()
    assert open_numbers(world.bucket.store) == [(2, 2 if arrives == "between" else 1)]
    assert named(world) == {first}
    assert world.collect()


def test_nothing_new_bears_an_epoch_whose_list_may_be_written_already(world: World) -> None:
    """The transaction sees that the repository was opened anew: the mark of that opening would not name what it writes."""
    fill_disk(world, ONE)
    first = a_point(world, ONE)
    late = a_backup(world, TWO)
    raised(world)
    world.complete(late)
    assert "was opened anew meanwhile" in world.history[-1]
    with pytest.raises(Unavailable, match="was opened anew meanwhile"):
        world.controller.deletions.delete([first])
    assert world.available() == [first]
    assert not list(world.bucket.store.list("v1/t/"))


def test_a_point_that_came_late_is_named_by_the_next_number(world: World) -> None:
    fill_disk(world, ONE)
    first = a_point(world, ONE)
    world.restart({})
    lease, database, repository = world.controller.lease, world.controller.database, world.repository
    came = "00000000-0000-7000-0000-00000000ffff"
    name_too(database, lease, repository, REPOSITORY, repository.standing(), [came])
    assert (named(world), open_numbers(world.bucket.store)) == ({first, came}, [(2, 2)])
    raised(world)  # while it is only being opened, its own mark comes
    name_too(database, lease, repository, REPOSITORY, repository.standing(), [first])
    assert open_numbers(world.bucket.store) == [(2, 2)]


def test_a_repository_without_a_mark_counts_everything(world: World) -> None:
    """One of before: the next start writes the first mark, and leaves nothing out."""
    fill_disk(world, ONE)
    first = a_point(world, ONE)
    (number,) = open_numbers(world.bucket.store)
    world.bucket.store.delete(open_name(*number))
    assert world.repository.standing().last is None
    world.check()
    world.restart({})
    assert named(world) == {first} and world.collect()
    with pytest.raises(ObjectMissing):
        world.bucket.store.head(open_name(*number))
    world.check()
    assert not world.findings.all


def damaged_mark(world: World) -> tuple[str, bytes]:
    """(its name, what it was)."""
    (number,) = open_numbers(world.bucket.store)
    name = open_name(*number)
    body = world.bucket.store.get(name)
    world.bucket.store.put(name, body[:-1] + bytes([body[-1] ^ 1]), create_only=False)
    return name, body


def test_a_start_with_a_damaged_mark_keeps_all_and_writes_another(world: World) -> None:
    fill_disk(world, ONE)
    first = a_point(world, ONE)
    world.restart({})
    second = a_point(world, ONE)
    name, _ = damaged_mark(world)
    assert name in world.repository.standing().damage
    world.restart({})
    assert named(world) == {first, second} and world.available() == [first, second]
    assert name not in {info.name for info in world.bucket.store.list("v1/c/open/")} and world.collect()
    world.check()
    assert not world.findings.all


@pytest.mark.parametrize("way_out", ["put back", "tombstone moved away", "mark moved away"])
def test_a_late_deletion_that_a_damaged_mark_might_call_void_is_not_obeyed(world: World, way_out: str) -> None:
    """The start says which, and deletes nothing, before it is told."""
    fill_disk(world, ONE)
    first = a_point(world, ONE)
    world.restart({})
    point = world.repository.points(TENANT)[0]
    body, _, _ = world.repository.read_manifest_object(point.tenant, point.vm_id, first)
    place = tombstone_name(point.tenant, point.vm_id, first)
    lineage_id = world.repository.config.lineage_id
    late = Burial(lineage_id, point.tenant, point.vm_id, first, object_hash(body), epoch=1, decided_us=1)
    world.bucket.store.put(place, world.repository.sign_tombstone(late))
    name, whole = damaged_mark(world)
    for _ in range(2):  # however often
        world.restart({})
        assert world.history[-1].startswith(f"opening: DataLoss: {place}: whether it counts stands in {name}")
        assert world.available() == [first]
    if way_out == "put back":
        world.bucket.store.put(name, whole, create_only=False)
    else:
        world.bucket.store.delete(place if way_out.startswith("tombstone") else name)
    world.restart({})
    stands = way_out != "mark moved away"
    assert (world.available() == [first]) is stands
    assert named(world) == {first}


def test_a_log_that_a_damaged_mark_might_call_void_is_not_carried_out(world: World) -> None:
    """Of slots that a point needs: of a leader that was replaced, and later than this database knows."""
    fill_disk(world, ONE)
    first = a_point(world, ONE)
    world.restart({})
    packs = {info.name for info in world.bucket.store.list("v1/p/")}
    pack = parse_pack_name(min(packs))
    assert pack is not None
    log = CondemnLog(world.repository.config.lineage_id, 900, 5, {pack.pack_id: SlotSet.first(1)})
    signed = sign_condemn_log(log, world.repository.secrets.signing_secret_key)
    world.bucket.store.put(condemned_name(900, 5), signed)
    mark = OpenMark(world.repository.config.lineage_id, 6, 1, PointIds.of([first]), PointIds(), frozenset())
    whole = sign_open_mark(mark, world.repository.secrets.signing_secret_key)
    world.bucket.store.put(open_name(6, 1), whole[:-1] + b"?")
    world.bucket.store.put(epoch_name(6, ELSEWHERE), b"")
    world.restart({})
    why = f"opening: DataLoss: {condemned_name(900, 5)}: whether it counts stands in {open_name(6, 1)}"
    assert world.history[-1].startswith(why)
    world.bucket.store.put(open_name(6, 1), whole, create_only=False)
    world.restart({})
    assert world.available() == [first] and world.collect()
    world.check()
    assert not world.findings.all


def test_an_opening_lists_points_and_logs_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a large repository each of these is a hundred requests and more."""
    fill_disk(world, ONE)
    a_point(world, ONE)
    listed, plain = [], world.bucket.store.list

    def counted(prefix: str) -> Iterator[ObjectInfo]:
        listed.append(prefix)
        return plain(prefix)

    monkeypatch.setattr(world.bucket.store, "list", counted)
    world.restart({})
    assert (listed.count(MANIFESTS_PREFIX), listed.count(CONDEMNED_PREFIX)) == (1, 1)


def test_what_arrives_after_the_look_is_taken_for_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A manifest and a log of a leader that was replaced, while its successor opens: nobody was told of them, and the mark, which names
    what the look saw, leaves them out. So nothing of them may enter the database either.
    """
    fill_disk(world, ONE)
    first = a_point(world, ONE)
    world.snapshot()
    late = a_point(world, TWO)
    (name,) = (info.name for info in world.bucket.store.list(MANIFESTS_PREFIX) if late in info.name)
    manifest = world.bucket.store.get(name)
    world.bucket.store.delete(name)
    log = CondemnLog(world.repository.config.lineage_id, 900, 1, {b"p" * 16: SlotSet.first(1)})
    signed = sign_condemn_log(log, world.repository.secrets.signing_secret_key)

    def looked(repository: OpenRepository) -> Before:
        before = look_before(repository)
        world.bucket.store.put(name, manifest)
        world.bucket.store.put(condemned_name(900, 1), signed)
        return before

    with monkeypatch.context() as patched:
        patched.setattr(catalogue, "look_before", looked)
        world.replace_leader({}, rolled_back=True)
    assert world.available() == [first] and named(world) == {first}
    standing = world.repository.standing()
    point = parse_point_name(name)
    assert point is not None and not world.repository.counts(point, standing)
    assert not standing.log_counts((900, 1))
    reached = world.controller.database.read_now(lambda transaction: transaction.leadership.publications(REPOSITORY))
    assert reached < 900
    world.restart({})
    assert world.available() == [first], "nor at any later start"
