"""Each kind of damage to each kind of object: open, list, refmap, restore, rescue, and a backup on top. The contract:

an error of ours that names the damaged object; never wrong bytes; and what does not need that object works as if nothing had happened.
"""

from copy import copy, deepcopy
from dataclasses import replace

import pytest

from seawall.repository.checking.finding import Findings, Reason
from seawall.repository.checking.small_objects import check_small_objects
from seawall.repository.collecting.errors import CollectionStopped
from seawall.repository.collecting.port import PointRoot, RootState
from seawall.repository.collecting.refmaps import refmap_of
from seawall.repository.collecting.trimming import trimmed_to
from seawall.repository.errors import ForeignRepository, FormatUnsupported, IntegrityError, RepositoryError, WrongKey
from seawall.repository.exports import newest_export
from seawall.repository.forgetting.leaders import NOBODY, LeaderMark, newest_leader
from seawall.repository.format.layout import parse_pack_name, refmap_name
from seawall.repository.format.refmap import Refmap
from seawall.repository.format.root_object import object_hash
from seawall.repository.reading.point import PointReader
from seawall.repository.reading.restore import restore_disk
from seawall.repository.repository import OpenRepository, open_repository
from seawall.repository.rescue.catalogue import DamagedPoint, read_catalogue
from seawall.repository.rescue.opening import RescueRepository, open_for_rescue
from seawall.repository.store.memory import MemoryStore
from support.checking_ledger import MemoryCheckingLedger
from support.collection_ledger_memory import MemoryLedger
from support.damage import (
    ALSO_FORGOTTEN,
    ATTEMPTS,
    DAMAGES,
    DB,
    DB_2,
    FORGOTTEN,
    KINDS,
    LEADER,
    VM_OF,
    VOID,
    WEB_1,
    WEB_2,
    damaged_store,
    hurts,
    original,
    reopened,
    truth_of,
)
from support.memory_disks import MemorySink
from support.rescue_world import CONTROLLER, RECOVERY, VM, RescueWorld

OPENERS = {"controller": ("config", "controller's key"), "recovery": ("config", "recovery key's object")}


def names_one(error: BaseException | str, names: list[str]) -> bool:
    return any(name in str(error) or name[:-2] in str(error) for name in names)


def affected(kind: str, damage: str, names: list[str]) -> set[str]:
    """Points whose restore may fail; what is appended to a pack or changed in its end hurts no reader of records."""
    if kind.startswith("manifest"):
        return {WEB_1 if "first" in kind else WEB_2}
    if kind in ("data pack", "both copies of a meta pack"):
        return {made for made, packs in original().needs.items() if packs & {name[:-1] + "0" for name in names}}
    return set()


def opened(store: MemoryStore, kind: str, names: list[str]) -> OpenRepository | None:
    pin = original().world.secrets.signing_public_key
    shut = kind in ("every config", "controller's key")
    try:
        repository = open_repository(store, "controller", CONTROLLER, pinned_signing_key=pin)
    except RepositoryError as error:
        assert shut, error
        assert names_one(error, names) or "v1/keys/" in str(error), error
        return None
    assert not shut, "damage that shuts a repository was not noticed"
    return repository


def rescued(store: MemoryStore, kind: str, names: list[str]) -> RescueRepository | None:
    shut = kind in ("every config", "recovery key's object")
    try:
        rescue = open_for_rescue(store, original().world.material)
    except RepositoryError as error:
        assert shut, error
        assert names_one(error, names) or "v1/keys/" in str(error), error
        return None
    assert not shut
    return rescue


def restored(reader: PointReader, made: str, names: list[str]) -> bool:
    """Whether it came back; exactly, or not at all."""
    sink = MemorySink(truth_of(made).size_bytes)
    try:
        restore_disk(reader, reader.root.disks[0], sink)
    except RepositoryError as error:
        assert names_one(error, names) and made in str(error) and "vda" in str(error), error
        return False
    assert sink.content() == truth_of(made).blocks, f"wrong bytes of {made}"
    return True


QUICK = {
    *((kind, "flipped in the middle") for kind in KINDS),
    *((kind, damage) for kind in ("tombstone", "condemn log", "open mark", "export", "hand-in") for damage in ("gone", "foreign")),
    *((kind, damage) for kind in ("announcement of a leader", "word of what is trimmed") for damage in ("gone", "huge")),
    *((kind, damage) for kind in ("every config", "data pack") for damage in ("gone", "half", "swapped", "foreign")),
    *(("manifest of a second point", damage) for damage in ("gone", "half", "swapped", "foreign")),
    ("both copies of a meta pack", "swapped"),
    *(("open mark", damage) for damage in ("half", "swapped", "replayed", "of a future version")),
    ("refmap", "replayed"),
    ("manifest of a second point", "replayed"),
}  # fmt: skip
CASES = [
    pytest.param(kind, damage, id=f"{kind}, {damage}", marks=[] if (kind, damage) in QUICK else pytest.mark.slow)
    for kind in KINDS
    for damage in DAMAGES
    if hurts(kind, damage)
]


@pytest.mark.parametrize(("kind", "damage"), CASES)
def test_damage(kind: str, damage: str) -> None:
    store, names = damaged_store(kind, damage)
    may_fail = affected(kind, damage, names)
    repository = opened(store, kind, names)
    if repository is not None:
        check_refmaps(repository, kind, names)
        check_beside(repository, kind, damage, names)
        check_check(repository, kind, damage, names)
    rescue = rescued(store, kind, names)
    if rescue is not None:
        check_rescue(rescue, may_fail, kind, damage, names)
        shown = {point.name.point_id for point in read_catalogue(rescue).points}
        assert (FORGOTTEN in shown) == (kind == "tombstone") and ALSO_FORGOTTEN not in shown
        check_mark(rescue, shown, names if kind == "open mark" and damage != "gone" else [])
    if repository is not None:
        check_backup_on_top(repository, store, may_fail, names)


def check_mark(rescue: RescueRepository, shown: set[str], damaged: list[str]) -> None:
    """One that proves nothing hides nothing, and that is said; of one that is gone the one before decides."""
    assert (VOID in shown) == bool(damaged)
    notes = [note for note in rescue.notes if note.startswith("Damaged: v1/c/open/")]
    assert len(notes) == len(damaged)
    assert all(names_one(note, damaged) and "counts too" in note for note in notes)


def check_refmaps(repository: OpenRepository, kind: str, names: list[str]) -> None:
    """What collection believes: the refmap of each point, as it was or refused."""
    before = original().world.repository
    for made, vm in VM_OF.items():
        try:
            found = repository.read_refmap("default", str(vm), made)
        except RepositoryError as error:
            assert kind == "refmap" or kind.startswith("manifest")
            assert names_one(error, names), error
            continue
        assert flat(found) == flat(before.read_refmap("default", str(vm), made))


def check_beside(repository: OpenRepository, kind: str, damage: str, names: list[str]) -> None:
    """What controllers read beside the points: as it was, or refused, or another in its place; and named where bytes tell."""
    store, gone = repository.store, damage == "gone"
    found = newest_export(repository)
    assert found is not None
    if kind == "export":
        assert found.document == b"document 7 of 1"
        assert [names_one(sentence, names) for sentence in found.passed_over] == [True] * (not gone)
    else:
        assert (found.document, found.passed_over) == (b"document 8 of 1", ())
    leader = LeaderMark(1, LEADER)
    assert newest_leader(store) == (NOBODY if gone and kind == "announcement of a leader" else leader)
    assert trimmed_to(store) == (0 if gone and kind == "word of what is trimmed" else 3)
    refmap = original().objects[refmap_name("default", str(VM), WEB_2)]
    point = PointRoot("default", str(VM), WEB_1, RootState.PUBLISHING, 1, ATTEMPTS[0], object_hash(refmap))
    ledger = MemoryLedger(points={WEB_1: point})
    if kind == "hand-in":
        with pytest.raises(CollectionStopped) as caught:
            refmap_of(repository, ledger, point)
        assert caught.value.reason == "REFMAP_UNREADABLE" and names_one(caught.value, names)
    else:
        handed_in = refmap_of(repository, ledger, point)
        assert handed_in is not None
        assert flat(handed_in) == flat(original().world.repository.read_refmap("default", str(VM), WEB_2))


NOTICED = {
    "config": Reason.CONFIG_DAMAGED,
    "recovery key's object": Reason.KEYS_DAMAGED,
    "condemn log": Reason.LOG_DAMAGED,
    "open mark": Reason.OPEN_MARK_DAMAGED,
}
SEALED = ("flipped in the middle", "flipped at the end")
"""What only the recovery key itself could tell."""


def check_check(repository: OpenRepository, kind: str, damage: str, names: list[str]) -> None:
    """A check finds, beforehand, what will be needed when others are lost."""
    findings = Findings()
    check_small_objects(repository, MemoryCheckingLedger(), findings, repository.standing())
    found = [(one.reason, one.object_name) for one in findings.listed()]
    reason = NOTICED.get(kind)
    if damage == "gone" and kind != "config":
        reason = Reason.KEYS_MISSING if kind == "recovery key's object" else None
    if kind == "recovery key's object" and damage in SEALED:
        reason = None
    assert found == ([(reason, names[0])] if reason else [])
    assert all(one.sentence and one.next_step for one in findings.listed())


def flat(refmap: Refmap) -> dict[bytes, list[int]]:
    return {pack_id: slots.tolist() for pack_id, slots in refmap.slots().items()}


def check_rescue(rescue: RescueRepository, may_fail: set[str], kind: str, damage: str, names: list[str]) -> None:
    """List and restore: a damaged point is named, with the object; the others are whole."""
    catalogue = read_catalogue(rescue)
    listed = {point.name.point_id for point in catalogue.points}
    broken: dict[str, DamagedPoint] = {point.name.point_id: point for point in catalogue.damaged}
    assert set(broken) <= may_fail and set(VM_OF) - may_fail <= listed
    for lost in broken.values():
        assert names_one(lost.object_name, names) and names_one(lost.error, names)
    if kind.startswith("manifest"):
        assert may_fail.isdisjoint(listed), "an altered manifest was believed"
        assert set(broken) == (set() if damage == "gone" else may_fail)
    for point in catalogue.points:
        made = point.name.point_id
        assert restored(rescue.point(point.name).reader, made, names) or made in may_fail


def check_backup_on_top(repository: OpenRepository, store: MemoryStore, may_fail: set[str], names: list[str]) -> None:
    """The next backup of both VMs, by their newest point where it opens. What it commits is right, or says why not."""
    for vm, newest in ((VM, WEB_2), (DB, DB_2)):
        world = _world_of(repository, store)
        parent = _parent(repository, world, str(vm), newest)
        disk = deepcopy(truth_of(newest))
        disk.forget_changes()
        disk.write(2 << 20, b"on top " * 4000)
        made = world.back_up(9, {"vda": disk}, vm=vm, parent=parent)
        sink = MemorySink(disk.size_bytes)
        reader = world.readers[made]
        try:
            restore_disk(reader, reader.root.disks[0], sink)
        except RepositoryError as error:
            assert newest in may_fail and names_one(error, names), error
        else:
            assert sink.content() == disk.blocks, "wrong bytes on top of damage"


def _world_of(repository: OpenRepository, store: MemoryStore) -> RescueWorld:
    world = copy(original().world)
    world.truth, world.readers = {}, {}
    world.store, world.repository = store, replace(repository, store=store)
    world.coordinator = reopened(original().world.readers[WEB_1], store, original().index)
    return world


def _parent(repository: OpenRepository, world: RescueWorld, vm: str, made: str) -> PointReader | None:
    """As the controller grants one: its manifest proven, or none."""
    try:
        _, root_object = repository.read_manifest("default", vm, made)
    except RepositoryError:
        return None
    root = repository.open_root(root_object)
    return PointReader(root, root.lineage_id, world.settings.k_dedup, world.coordinator)


@pytest.mark.parametrize("kind", ["every config", "controller's key", "manifest of a second point", "data pack"])
def test_what_is_newer_is_said_to_be_newer(kind: str) -> None:
    """Not damaged: the operator has to upgrade, not to look for a copy."""
    store, names = damaged_store(kind, "of a future version")
    pin = original().world.secrets.signing_public_key
    with pytest.raises(FormatUnsupported, match=r"version 2.*upgrade") as caught:
        repository = open_repository(store, "controller", CONTROLLER, pinned_signing_key=pin)
        if kind == "data pack":
            named = parse_pack_name(names[0])
            assert named is not None
            repository.read_table(named.tenant, named.pack_id, named.generation)
        repository.read_manifest("default", str(VM), WEB_2)
    assert names_one(caught.value, names)


@pytest.mark.parametrize("damage", ["flipped in the middle", "swapped", "replayed", "half"])
def test_a_manifest_that_is_altered_below_its_tombstone_stays_forgotten(damage: str) -> None:
    """Readers do not compare the hash that the tombstone names: damage must not bring a forgotten point back."""
    store, names = damaged_store("manifest of a second point", damage)
    store.put(names[0].replace("v1/m/", "v1/t/"), original().world.tombstone(WEB_2))
    repository = replace(original().world.repository, store=store)
    assert WEB_2 not in {point.point_id for point in repository.points("default")}
    catalogue = read_catalogue(open_for_rescue(store, original().world.material))
    assert WEB_2 not in {point.name.point_id for point in catalogue.points}
    assert WEB_2 not in {point.name.point_id for point in catalogue.damaged}


def test_another_key_opens_nothing() -> None:
    """Of nobody, of the other wrapper, and of a repository that has the same names: refused, and said what it is."""
    world = original().world
    pin = world.secrets.signing_public_key
    for wrapper, secret in (("controller", RECOVERY), ("recovery", CONTROLLER), ("controller", b"\x09" * 32)):
        with pytest.raises(WrongKey, match="sealed to another key"):
            open_repository(world.store, wrapper, secret, pinned_signing_key=pin)
    with pytest.raises(WrongKey, match="it has keys for: controller, recovery"):
        open_repository(world.store, "nobody", CONTROLLER)
    foreign = MemoryStore()
    for name, body in original().foreign.items():
        foreign.put(name, body)
    with pytest.raises(ForeignRepository, match=r"config.*another key"):
        open_repository(foreign, "controller", CONTROLLER, pinned_signing_key=pin)
    mixed = MemoryStore()
    for name, body in original().objects.items():
        mixed.put(name, original().foreign[name] if name.startswith("v1/keys/") else body)
    with pytest.raises(
        IntegrityError, match=r"v1/keys/default/1\.controller: its keys are not those that config names"
    ):
        open_repository(mixed, "controller", CONTROLLER, pinned_signing_key=pin)
