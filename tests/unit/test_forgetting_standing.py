"""What of replaced leaders counts: the rule by itself, and what is read of it in a bucket."""

from dataclasses import astuple, replace
from uuid import UUID

import pytest

from seawall.repository.errors import ObjectMissing, StoreRefused
from seawall.repository.forgetting.burying import bury
from seawall.repository.forgetting.standing import Standing, Unreadable, read_standing
from seawall.repository.format.layout import PointName, manifest_name, open_name, tombstone_name
from seawall.repository.format.open_mark import OpenMark, PointIds, sign_open_mark
from seawall.repository.format.root_object import LEADERS_FROM, Statement
from seawall.repository.format.tombstone import Burial
from seawall.repository.store.memory import MemoryStore
from support import format_samples as samples
from support.rescue_world import MIB, VM, RescueWorld, patterned, point_id

NAMED, LEAVING, OTHER = (str(UUID(int=number)) for number in (1, 2, 3))
LAST = OpenMark(
    samples.LINEAGE, 7, 1, PointIds.of([NAMED, LEAVING]), PointIds.of([LEAVING]), frozenset({(40, 5), (41, 6)})
)
STANDING = Standing(LAST)


def statement(point: str, epoch: int | None) -> Statement:
    db_epoch = 3 if epoch is None else LEADERS_FROM + epoch
    sample = samples.statement(b"", b"")
    return replace(sample, point_id=point, db_epoch=db_epoch)


def burial(point: str, epoch: int) -> Burial:
    return Burial(samples.LINEAGE, "default", str(VM), point, bytes(32), epoch, 1)


@pytest.mark.parametrize(
    ("point", "epoch", "counts"),
    [(NAMED, 6, True), (LEAVING, 1, True), (OTHER, 6, False), (OTHER, 7, True), (OTHER, 8, True), (OTHER, None, True)],
)
def test_manifests(point: str, epoch: int | None, counts: bool) -> None:
    assert STANDING.manifest_counts(statement(point, epoch)) is counts
    assert Standing().manifest_counts(statement(point, epoch))


@pytest.mark.parametrize(
    ("point", "epoch", "lying", "counts"),
    [
        (NAMED, 6, 6, False),  # decided before, and arrived later
        (NAMED, 7, 6, True),
        (LEAVING, 6, 6, True),
        (OTHER, 6, 6, True),  # the manifest counts for nothing either
        (OTHER, 6, 7, False),  # nobody decides to delete what is not there yet
        (OTHER, 6, "before", True),
        (OTHER, 6, "nothing", True),
        (OTHER, 6, "unreadable", False),  # it may be of this epoch
        (OTHER, 8, 7, True),
    ],
)
def test_tombstones(point: str, epoch: int, lying: int | str, counts: bool) -> None:
    def found() -> Statement | Unreadable | None:
        if lying in ("nothing", "unreadable"):
            return Unreadable() if lying == "unreadable" else None
        return statement(point, lying if isinstance(lying, int) else None)

    assert STANDING.tombstone_counts(burial(point, epoch), found) is counts
    assert Standing().tombstone_counts(burial(point, epoch), found)


@pytest.mark.parametrize(
    ("number", "counts"), [((40, 5), True), ((40, 6), False), ((3, 7), True), ((99, 8), True), ((42, 6), False)]
)
def test_logs(number: tuple[int, int], counts: bool) -> None:
    assert STANDING.log_counts(number) is counts
    assert Standing().log_counts(number)


@pytest.fixture
def world() -> RescueWorld:
    made = RescueWorld(MemoryStore())
    for number in (1, 2):
        made.back_up(number, {"vda": patterned(MIB, number)})
    return made


def put(world: RescueWorld, epoch: int, number: int, points: list[str], lineage_id: bytes = b"") -> None:
    mark = OpenMark(
        lineage_id or world.repository.config.lineage_id, epoch, number, PointIds.of(points), PointIds(), frozenset()
    )
    world.store.put(open_name(epoch, number), sign_open_mark(mark, world.secrets.signing_secret_key))


def test_the_greatest_mark_decides(world: RescueWorld) -> None:
    assert read_standing(world.store, world.repository.config) == Standing()
    put(world, 3, 2, [point_id(1)])
    put(world, 3, 1, [point_id(1), point_id(2)])  # of a try before, and late
    put(world, 2, 9, [])
    standing = read_standing(world.store, world.repository.config)
    assert standing.last is not None
    assert ((standing.last.epoch, standing.last.number), list(standing.last.points)) == ((3, 2), [point_id(1)])


@pytest.mark.parametrize("damage", ["flipped", "foreign", "moved"])
def test_a_mark_that_proves_nothing_hides_nothing(world: RescueWorld, damage: str) -> None:
    """As in a repository that has none: too much rather than too little, and it is said."""
    put(world, 3, 1, [], bytes(16) if damage == "foreign" else b"")
    if damage == "flipped":
        world.flip(open_name(3, 1), 30, 1)
    elif damage == "moved":
        world.store.put(open_name(4, 1), world.store.get(open_name(3, 1)))
    standing = read_standing(world.store, world.repository.config)
    assert standing.last is None and "v1/c/open/" in standing.damage
    assert len(world.repository.points("default")) == 2


def test_a_mark_that_goes_while_it_is_read_was_replaced(world: RescueWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    put(world, 3, 1, [])
    read = world.store.get_range

    def replaced(name: str, offset: int, length: int) -> bytes:
        if name == open_name(3, 1):
            put(world, 4, 1, [point_id(1)])
            world.store.delete(name)
        return read(name, offset, length)

    monkeypatch.setattr(world.store, "get_range", replaced)
    standing = read_standing(world.store, world.repository.config)
    assert standing.last is not None and standing.last.epoch == 4


def test_a_void_tombstone_hides_nothing_and_makes_place(world: RescueWorld) -> None:
    name = PointName("default", str(VM), point_id(1))
    place = tombstone_name("default", str(VM), point_id(1))
    late = world.tombstone(point_id(1))
    epoch = world.repository.open_tombstone(late).epoch
    world.store.put(place, late)
    assert len(world.repository.points("default")) == 1
    put(world, epoch + 1, 1, [point_id(1), point_id(2)])
    assert len(world.repository.points("default")) == 2
    decided = world.repository.sign_tombstone(replace(world.repository.open_tombstone(late), epoch=epoch + 1))
    bury(world.repository, name, decided)
    assert world.store.get(place) == decided
    assert [point.point_id for point in world.repository.points("default")] == [point_id(2)]


@pytest.mark.parametrize("why", ["flipped", "refused"])
def test_a_late_tombstone_of_a_manifest_that_cannot_be_read_buries_nothing(
    world: RescueWorld, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    """A fork made the tombstone, damage hides that the manifest is younger: healing could bring the point back."""
    late = world.repository.open_tombstone(world.tombstone(point_id(1)))
    name = PointName("default", str(VM), point_id(3))
    world.db_epoch = LEADERS_FROM + late.epoch + 1
    world.back_up(3, {"vda": patterned(MIB, 3)})
    put(world, late.epoch + 1, 1, [])
    lost = replace(late, point_id=name.point_id)
    world.store.put(tombstone_name(*astuple(name)), world.repository.sign_tombstone(lost))
    standing = world.repository.standing()
    assert world.repository.burial(name, standing) is None
    manifest = manifest_name(*astuple(name))
    if why == "flipped":
        world.flip(manifest, 40)
    else:
        get_range = world.store.get_range

        def refused(asked: str, offset: int, length: int) -> bytes:
            if asked == manifest:
                raise StoreRefused("archived")
            return get_range(asked, offset, length)

        monkeypatch.setattr(world.store, "get_range", refused)
    assert world.repository.burial(name, standing) is None
    assert name in world.repository.points("default")
    monkeypatch.undo()
    world.store.delete(manifest)
    assert world.repository.burial(name, standing) is not None, "it hides whatever arrives there of a leader before"


@pytest.mark.parametrize("refusal", [ObjectMissing("not found"), StoreRefused("archived")])
def test_a_mark_that_is_listed_and_not_given_out_is_damaged(
    refusal: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not the same as none: nothing may be deleted because of what it may have called void."""
    world = RescueWorld(MemoryStore())
    name = open_name(7, 1)
    world.store.put(name, b"whatever it was")
    get = world.store.get

    def refused(asked: str) -> bytes:
        if asked == name:
            raise refusal
        return get(asked)

    monkeypatch.setattr(world.store, "get", refused)
    monkeypatch.setattr(world.store, "get_range", lambda asked, *_: refused(asked))
    monkeypatch.setattr(world.store, "get_suffix", lambda asked, *_: refused(asked))
    standing = read_standing(world.store, world.repository.config)
    assert (standing.last, standing.damaged) == (None, (7, 1)) and str(refusal) in standing.damage
    assert standing.doubt("v1/t/x", 6) and not standing.doubt("v1/t/x", 7)
