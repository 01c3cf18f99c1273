"""Histories of backups that name too much, or too little, or go on from a damaged point; see scenarios.py."""

from dataclasses import replace
from unittest.mock import patch

from seawall.controller.store.transaction import Transaction
from seawall.repository.checking.check import CheckRequest
from seawall.repository.format.layout import PointName
from seawall.repository.format.refmap import Refmap
from seawall.repository.format.root_object import Statement
from seawall.repository.format.slot_set import SlotSet
from support.checked_world import checked_world
from support.rescue_world import VM, point_id
from support.stored_packs import stored_packs

from . import host
from .controller import REPOSITORY
from .host import TENANT
from .scenario_words import ONE, a_backup, a_point, fill_disk
from .world import World

NEW_PACKS = CheckRequest(structure=False, limit_bytes=1 << 30, new_only=True)


def goes_on_from_a_point_with_a_bad_slot(world: World) -> None:
    """The bitmap says that nothing changed; a slot of the point before was found bad: its range is read and stored all the same."""
    fill_disk(world, ONE)
    a_point(world, ONE)
    world.disks[ONE].forget_changes()

    def closure(transaction: Transaction) -> None:
        for pack in stored_packs(transaction, REPOSITORY):
            if not pack.meta:
                transaction.packs.save_pack(pack, replace(pack, bad=SlotSet.of([0])))

    world.controller.database.write_now(closure)
    begun = world.begin(ONE, "bitmap")
    if begun is None:
        raise AssertionError(world.history)
    if host.complete(world.controller, begun).missing:
        world.findings.broken.append("a backup was not told which slots of its parent are bad")
    world.settle()


def names_more_than_its_disks_hold(world: World) -> None:
    """The limit is lowered to a tenth of the disks, as 16 MiB above them would take long."""
    with (
        patch("seawall.controller.publishing.slots.ALLOWED_PERCENT", 10),
        patch("seawall.controller.publishing.slots.ALLOWED_BYTES", 0),
    ):
        late = a_backup(world, ONE)
        world.complete(late)
    if late.point_id in world.truth.acknowledged:
        world.findings.broken.append(f"point {late.point_id} names more than its disks hold")
    world.settle()


def needs_what_its_refmap_does_not_name(world: World) -> None:
    """The maintenance worker's part, on a ledger of its own: collection would take from such a point what its refmap leaves out."""
    checked = checked_world()
    lying = PointName(TENANT, str(VM), point_id(2))
    repository = checked.world.repository
    read = type(repository).refmap_of
    short = Refmap()
    for pack_id, slots in list(repository.read_refmap(TENANT, str(VM), lying.point_id).slots().items())[1:]:
        short.add(pack_id, slots.tolist())

    def refmap_of(_: object, statement: Statement) -> Refmap:
        return short if statement.point_id == lying.point_id else read(repository, statement)

    with patch.object(type(repository), "refmap_of", refmap_of):
        checked.check(NEW_PACKS)
    if checked.ledger.proved_points.get(lying):
        world.findings.broken.append(
            f"point {lying.point_id} is shown as protected, and its refmap lacks what it needs"
        )
