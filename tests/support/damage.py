"""Every kind of object of a small repository, and every kind of damage to it: what the damage matrix is made of.

Two VMs, two points each, the second on top of the first; and another repository with the same lineage, tenant, VMs and point ids, whose
objects lie under the same names but for packs: the hardest foreigners there are.
"""

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from uuid import UUID

from seawall.repository.crypto.signing import CONFIG_DOMAIN
from seawall.repository.format.layout import config_name, key_name, pack_name, refmap_name
from seawall.repository.reading.point import PointReader
from seawall.repository.store.memory import MemoryStore
from support.direct_coordinator import DirectCoordinator
from support.memory_disks import ModelDisk
from support.newer_objects import newer_key_object, newer_manifest, newer_refmap, newer_signed, version_2
from support.rescue_world import CONTROLLER, MIB, RECOVERY, VM, RescueWorld, patterned, point_id

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
    return world


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

_TENANT = "default"


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
}

# -- what happens to them


def _sibling(name: str) -> str:
    """An object of the same kind that belongs elsewhere in the same repository."""
    ours = original().world
    if name.startswith("v1/config"):
        return key_name(_TENANT, 1, "controller")
    if name.startswith("v1/keys/"):
        return key_name(_TENANT, 1, "recovery" if name.endswith("controller") else "controller")
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
    if name.startswith("v1/r/"):
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
