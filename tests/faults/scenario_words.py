"""What scenarios are told with: points, dead data, faults at a step, packs that nobody reported."""

import random
from collections.abc import Callable
from typing import Any

from seawall.controller.errors import ControllerError
from seawall.controller.records.catalogue import Pack, PackState
from seawall.repository.format.layout import (
    pack_name,
    parse_pack_name,
)
from seawall.repository.format.pack import SealedPack

from . import host
from .bucket import Died, Fault
from .controller import REPOSITORY
from .host import TENANT, Attempted
from .world import VMS, World

Scenario = Callable[[World], None]
ONE, TWO = VMS


def once(world: World, step: str, act: Callable[[], object]) -> None:
    """At the first step of that name."""

    def interrupt(name: str) -> None:
        if name == step:
            world.interrupt = lambda name: None
            act()

    world.interrupt = interrupt


def before_the_transaction(world: World, act: Callable[[], object]) -> None:
    """Of the next validation: what it looked at outside is known, nothing is written."""
    owner = world.controller.publisher
    intended = owner._intended

    def acting(*given: Any) -> Any:
        owner._intended = intended  # type: ignore[method-assign]
        act()
        return intended(*given)

    owner._intended = acting  # type: ignore[method-assign, assignment]


def fill_disk(world: World, vm_id: str, seed: int = 1) -> None:
    disk = world.disks[vm_id]
    disk.write(0, random.Random(seed).randbytes(disk.size_bytes))


def a_backup(world: World, vm_id: str) -> Attempted:
    """A backup of the same data as VM ONE's first, ready to be handed in."""
    fill_disk(world, vm_id)
    begun = world.begin(vm_id, "full")
    if begun is None:
        raise AssertionError(world.history)
    return begun


def a_point(world: World, vm_id: str) -> str:
    begun = world.begin(vm_id, "full")
    if begun is None:
        raise AssertionError(world.history)
    world.complete(begun)
    return begun.point_id


def forget_and_finish(world: World, point_id: str) -> None:
    world.forget(point_id)
    world.finish()


def delete_late(world: World, point_id: str) -> None:
    """Forget and collect; the controller dies while the DELETE of a data pack is under way."""
    forget_and_finish(world, point_id)

    def before_delete(name: str) -> None:
        pack = parse_pack_name(name)
        if pack is not None and not world.repository.read_tail(TENANT, pack.pack_id, pack.generation).footer.meta:
            fault_next(world, Fault.LATE_STOP)

    world.controller.line.before_delete = before_delete
    dies(world.collect)


def dead_data(world: World) -> None:
    """Packs that no point needs, well known to the index."""
    fill_disk(world, ONE)
    forget_and_finish(world, a_point(world, ONE))


def half_dead(world: World) -> None:
    fill_disk(world, ONE)
    first = a_point(world, ONE)
    world.disks[ONE].write(0, random.Random(7).randbytes(5 * 8192))
    for block in range(6, 24, 2):
        world.disks[ONE].write(block * 8192, random.Random(block).randbytes(8192))
    a_point(world, ONE)
    forget_and_finish(world, first)


def fault_next(world: World, fault: Fault) -> None:
    line = world.controller.line
    line.plan[line.changes] = fault


def stop_here(world: World) -> None:
    world.controller.line.dead = True
    raise Died


def dies(act: Callable[[], object]) -> None:
    try:
        act()
    except Died:
        return
    raise AssertionError("it should have died")


class Unreported:
    """A pack that lies in the bucket, of an attempt that is over and never said so."""

    def __init__(self, pack: SealedPack, name: str) -> None:
        self.pack_id, self.body, self.name = pack.pack_id, bytes(pack.body), name

    @property
    def length(self) -> int:
        return len(self.body)


def unreported_pack(world: World) -> Unreported:
    fill_disk(world, ONE)
    controller = world.controller
    attempted = host.begin(controller, 899, ONE, world.disks[ONE].source(), "full")
    told = controller.transfers.pack_stored

    def never(key: object, session_id: str, pack_id: bytes) -> None:
        raise ControllerError("UNREPORTED", "the agent died here")

    controller.transfers.pack_stored = never  # type: ignore[method-assign]
    try:
        host.write(controller, world.bucket, attempted)
    except ControllerError:
        world.note("a pack was never reported")
    controller.transfers.pack_stored = told  # type: ignore[method-assign]
    host.give_up(controller, attempted)
    opened: list[Pack] = [
        pack
        for pack in controller.database.read_now(lambda transaction: transaction.packs.pack_page(REPOSITORY, b"", 9))
        if pack.state is PackState.OPEN and not pack.meta
    ]
    name = pack_name(TENANT, opened[0].id, 0)
    body = world.bucket.store.get(name)
    return Unreported(
        SealedPack(opened[0].id, body, world.repository.read_tail(TENANT, opened[0].id, 0).table, False),
        name,
    )


def a_backup_like(world: World, vm_id: str) -> Attempted:
    begun = world.begin(vm_id, "compare")
    if begun is None:
        raise AssertionError(world.history)
    return begun
