"""Every kind of object of a small repository, and every kind of damage to it: what the damage matrix is made of.

Two VMs, two points each, the second on top of the first, and a forgotten one; what controllers and attempts leave beside them; and another
repository with the same lineage, tenant, VMs and point ids, whose objects lie under the same names but for packs: the hardest foreigners
there are.
"""

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from uuid import UUID

from seawall.repository.crypto.signing import CONDEMNED_DOMAIN, CONFIG_DOMAIN, OPEN_DOMAIN, TOMBSTONE_DOMAIN
from seawall.repository.exports import put_export
from seawall.repository.format.condemn_log import CondemnLog, sign_condemn_log
from seawall.repository.format.layout import (
    condemned_name,
    config_name,
    epoch_name,
    export_name,
    hand_in_name,
    hand_ins_prefix,
    key_name,
    open_name,
    pack_name,
    refmap_name,
    tombstone_name,
    trimmed_name,
)
from seawall.repository.format.open_mark import OpenMark, PointIds, sign_open_mark
from seawall.repository.format.root_object import LEADERS_FROM, object_hash
from seawall.repository.format.slot_set import SlotSet
from seawall.repository.reading.point import PointReader
from seawall.repository.store.memory import MemoryStore
from support.direct_coordinator import DirectCoordinator
from support.memory_disks import ModelDisk
from support.newer_objects import newer_export, newer_key_object, newer_manifest, newer_refmap, newer_signed, version_2
from support.rescue_world import CONTROLLER, LINEAGE, MIB, RECOVERY, VM, RescueWorld, patterned, point_id

DB = UUID(int=9)
"""The other VM."""


@dataclass(frozen=True)
class Original:
    """`objects`: all of the bucket. `needs`: point id -> names of the packs that it reads."""

    world: RescueWorld
    objects: Mapping[str, bytes]
    foreign: Mapping[str, bytes]
    index: DirectCoordinator
    needs: Mapping[str, frozenset[str]]


WEB_1, WEB_2, DB_1, DB_2 = (point_id(number) for number in (1, 2, 3, 4))
VM_OF = {WEB_1: VM, WEB_2: VM, DB_1: DB, DB_2: DB}
FORGOTTEN, ALSO_FORGOTTEN = (point_id(number) for number in (5, 6))
"""Of VM and of DB: each has a tombstone, and its manifest still lies there."""
VOID = point_id(7)
"""Of VM: no open mark names it, and its manifest came from a leader before."""
_TENANT = "default"
LEADER = str(UUID(int=11))
ATTEMPTS = (str(UUID(int=12)), str(UUID(int=13)))


@cache
def original() -> Original:
    world, foreign = (_written(seed) for seed in (1, 50))
    needs = {made: frozenset(_packs(world, made)) for made in VM_OF}
    return Original(world, _objects(world), _objects(foreign), world.coordinator, needs)


def _written(seed: int) -> RescueWorld:
    world = RescueWorld(MemoryStore())
    for number, (vm, name) in enumerate(((VM, "web"), (DB, "db"))):
        disk = patterned(66 * MIB, seed + number, (0, MIB), (65 * MIB, 300_000))
        first = world.back_up(2 * number + 1, {"vda": disk}, vm=vm, vm_name=name)
        world.truth[first] = {"vda": deepcopy(disk)}
        disk.forget_changes()
        disk.write(MIB // 2, patterned(MIB, seed + 9 + number, (0, 200_000)).blocks[3] * 20)
        parent = world.readers[first]
        second = world.back_up(2 * number + 2, {"vda": disk}, vm=vm, vm_name=name, parent=parent)
        assert world.readers[second].root.disks[0].how == "bitmap"
    for number, vm in ((5, VM), (6, DB)):
        made = world.back_up(number, {"vda": patterned(MIB, seed + 20 + number, (0, 100_000))}, vm=vm)
        world.store.put(tombstone_name(_TENANT, str(vm), made), world.tombstone(made, vm))
    world.db_epoch, before = LEADERS_FROM, world.db_epoch
    world.truth[VOID] = {"vda": patterned(MIB, seed + 30, (0, 100_000))}
    assert world.back_up(7, world.truth[VOID]) == VOID
    world.db_epoch = before
    _beside(world, seed)
    return world


def _beside(world: RescueWorld, seed: int) -> None:
    """What no point consists of."""
    store, secret = world.store, world.secrets.signing_secret_key
    for number in (7, 8):
        log = CondemnLog(LINEAGE, number, 1, {bytes([seed]) * 16: SlotSet.of(range(number))})
        store.put(condemned_name(number, 1), sign_condemn_log(log, secret))
        mark = OpenMark(LINEAGE, 1, number, PointIds.of(VM_OF), PointIds(), frozenset({(number, 0)}))
        store.put(open_name(1, number), sign_open_mark(mark, secret))
        put_export(world.repository, 1, number, f"document {number} of {seed}".encode(), 5)
    for attempt, made in zip(ATTEMPTS, (WEB_2, DB_2), strict=True):
        refmap = store.get(refmap_name(_TENANT, str(VM_OF[made]), made))
        store.put(hand_in_name(attempt, "refmap", object_hash(refmap)), refmap)
    store.put(epoch_name(1, LEADER), b"")
    store.put(trimmed_name(3), b"")


def _objects(world: RescueWorld) -> dict[str, bytes]:
    return {info.name: world.store.get(info.name) for info in world.store.list("")}


def _packs(world: RescueWorld, made: str) -> set[str]:
    """Generation 0 of each pack in the point's refmap."""
    refmap = world.repository.read_refmap(world.tenant, str(VM_OF[made]), made)
    return {pack_name(world.tenant, pack_id, 0) for pack_id in refmap.slots()}


def reopened(reader: PointReader, store: MemoryStore, index: DirectCoordinator) -> DirectCoordinator:
    """A coordinator over another store that knows what the first one's index knew."""
    made = DirectCoordinator(store, reader.root.tenant)
    made.index = dict(index.index)
    return made


# -- which objects


def _only_of(made: str, *, meta: bool) -> list[str]:
    """Packs of a point that belong to this VM: the first by name."""
    world = original().world
    return [name for name in sorted(original().needs[made]) if name in world.packs(meta=meta)][:1]


KINDS: dict[str, Callable[[], list[str]]] = {
    "config": lambda: [config_name()],
    "every config": lambda: [config_name(copy) for copy in range(3)],
    "controller's key": lambda: [key_name(_TENANT, 1, "controller")],
    "recovery key's object": lambda: [key_name(_TENANT, 1, "recovery")],
    "manifest of a first point": lambda: [original().world.manifest_name(WEB_1)],
    "manifest of a second point": lambda: [original().world.manifest_name(WEB_2)],
    "refmap": lambda: [refmap_name(_TENANT, str(VM), WEB_2)],
    "data pack": lambda: _only_of(WEB_1, meta=False),
    "one copy of a meta pack": lambda: _only_of(WEB_1, meta=True),
    "both copies of a meta pack": lambda: [
        name[:-1] + generation for name in _only_of(WEB_1, meta=True) for generation in "01"
    ],
    "tombstone": lambda: [tombstone_name(_TENANT, str(VM), FORGOTTEN)],
    "condemn log": lambda: [condemned_name(8, 1)],
    "open mark": lambda: [open_name(1, 8)],
    "export": lambda: [export_name(1, 8)],
    "hand-in": lambda: [name for name in original().objects if name.startswith(hand_ins_prefix(ATTEMPTS[0]))],
    "announcement of a leader": lambda: [epoch_name(1, LEADER)],
    "word of what is trimmed": lambda: [trimmed_name(3)],
}

# -- what happens to them


def _sibling(name: str) -> str:
    """An object of the same kind that belongs elsewhere in the same repository."""
    ours = original().world
    if name.startswith("v1/config"):
        return key_name(_TENANT, 1, "controller")
    if name.startswith("v1/keys/"):
        return key_name(_TENANT, 1, "recovery" if name.endswith("controller") else "controller")
    if name.startswith("v1/c/"):
        return name.replace(f"{8:012}", f"{7:012}")
    if name.startswith("v1/a/"):
        return next(other for other in original().objects if other.startswith(hand_ins_prefix(ATTEMPTS[1])))
    if name.startswith("v1/t/"):
        return tombstone_name(_TENANT, str(DB), ALSO_FORGOTTEN)
    if name.startswith("v1/p/"):
        own = ours.packs(meta=name[:-1] + "0" in ours.packs(meta=True))
        return next(other for other in own if other[:-2] != name[:-2])
    return name.replace(str(VM), str(DB)).replace(WEB_1, DB_1).replace(WEB_2, DB_2)


def _older(name: str) -> str:
    """What lay, or might have lain, at such a place before."""
    return name.replace(WEB_2, WEB_1) if WEB_2 in name else name.replace(WEB_1, WEB_2)


def _foreign(name: str) -> bytes:
    foreign, ours = original().foreign, original().objects
    if name in foreign:
        return foreign[name]
    if name.startswith("v1/a/"):
        return next(body for other, body in foreign.items() if other.startswith(hand_ins_prefix(ATTEMPTS[0])))
    tail = ours[name][-128:-112]  # the footer's magic and version are the same in all packs
    return next(body for other, body in sorted(foreign.items()) if other.startswith("v1/p/") and tail in body)


def _bit(at: float) -> Callable[[str, bytes], bytes]:
    def flipped(name: str, body: bytes) -> bytes:
        place = min(int(len(body) * at), len(body) - 1)
        return body[:place] + bytes([body[place] ^ 0x10]) + body[place + 1 :]

    return flipped


def _future(name: str, body: bytes) -> bytes:
    """Of version 2: packs say so in their header and in their footer."""
    signing_key = original().world.secrets.signing_secret_key
    if name.startswith("v1/m/"):
        return newer_manifest(body, signing_key)
    if name.startswith("v1/config"):
        return newer_signed(body, CONFIG_DOMAIN, signing_key)
    if name.startswith("v1/keys/"):
        return newer_key_object(body, CONTROLLER if name.endswith("controller") else RECOVERY)
    if name.startswith("v1/t/"):
        return newer_signed(body, TOMBSTONE_DOMAIN, signing_key)
    if name.startswith("v1/c/condemned/"):
        return newer_signed(body, CONDEMNED_DOMAIN, signing_key)
    if name.startswith("v1/c/open/"):
        return newer_signed(body, OPEN_DOMAIN, signing_key)
    if name.startswith("v1/c/export/"):
        return newer_export(body, original().world.secrets.repository_secret_key)
    if name.startswith(("v1/r/", "v1/a/")):
        return newer_refmap(body)
    made = version_2(body)
    return made[:-120] + b"\x02" + made[-119:]


DAMAGES: dict[str, Callable[[str, bytes], bytes | None]] = {
    "gone": lambda name, body: None,
    "empty": lambda name, body: b"",
    "half": lambda name, body: body[: len(body) // 2],
    "a byte short": lambda name, body: body[:-1],
    "a byte long": lambda name, body: body + b"\0",
    "flipped at the start": _bit(0),
    "flipped in the middle": _bit(0.5),
    "flipped at the end": _bit(1),
    "zeroes": lambda name, body: bytes(len(body)),
    "swapped": lambda name, body: original().objects[_sibling(name)],
    "replayed": lambda name, body: original().objects[_older(name)] if _older(name) != name else body[::-1],
    "foreign": lambda name, body: _foreign(name),
    "of a future version": _future,
    "huge": lambda name, body: body + bytes(2 * MIB),
}


def hurts(kind: str, damage: str) -> bool:
    """Whether it changes anything: there is nothing in an empty object that could be altered."""
    body = original().objects[KINDS[kind]()[0]]
    return bool(body) or damage in ("gone", "a byte long", "huge")


def damaged_store(kind: str, damage: str) -> tuple[MemoryStore, list[str]]:
    """(a copy of the bucket with that damage, the names of the damaged objects)."""
    names = KINDS[kind]()
    assert names
    store = MemoryStore()
    for name, body in original().objects.items():
        left = DAMAGES[damage](name, body) if name in names else body
        assert name not in names or left != body
        if left is not None:
            store.put(name, left)
    return store, names


def truth_of(made: str) -> ModelDisk:
    return original().world.truth[made]["vda"]
