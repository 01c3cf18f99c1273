"""Histories of databases that were rolled back and of leaders that were replaced; see scenarios.py."""

import random
from collections.abc import Iterator

from seawall.controller.errors import ControllerError
from seawall.controller.records.leadership import Replica
from seawall.controller.store.transaction import Transaction
from seawall.repository.errors import RepositoryError
from seawall.repository.forgetting.leaders import newest_leader
from seawall.repository.format.layout import (
    CONDEMNED_PREFIX,
    EPOCHS_PREFIX,
    epoch_name,
    manifest_name,
    refmap_name,
)
from seawall.repository.store.port import ObjectInfo
from support.controller_records import HOUR

from . import host
from .bucket import Fault
from .controller import SESSION
from .host import TENANT
from .scenario_words import (
    ONE,
    TWO,
    a_backup,
    a_backup_like,
    a_point,
    dead_data,
    delete_late,
    dies,
    fault_next,
    fill_disk,
    forget_and_finish,
    half_dead,
    once,
    stop_here,
    unreported_pack,
)
from .truth import restored
from .world import HORIZON_SECONDS, World


def deleted_late_after_a_roll_back(world: World) -> None:
    """A DELETE under way while the database is rolled back to a time when its pack was good."""
    fill_disk(world, ONE)
    first = a_point(world, ONE)
    world.snapshot()
    delete_late(world, first)
    world.replace_leader({}, rolled_back=True)
    world.complete(a_backup(world, TWO))
    world.bucket.arrive_all()
    world.check()


def collected_by_one_who_was_replaced(world: World) -> None:
    """A leader in the middle of a collection, when another begins with an older database and needs what it deletes."""
    fill_disk(world, ONE)
    first = a_point(world, ONE)
    world.snapshot()
    forget_and_finish(world, first)

    def replaced() -> None:
        world.replace_leader({}, rolled_back=True)
        world.complete(a_backup(world, TWO))

    old = world.controller
    once(world, "marked", replaced)
    world.collect(old)
    world.check()


def acknowledged_by_one_who_was_replaced(world: World) -> None:
    """A leader between intent and manifest, when another, which never heard of the point, collects what it needs."""
    dead_data(world)
    late = a_backup(world, TWO)
    world.snapshot()

    def replaced() -> None:
        world.replace_leader({}, rolled_back=True)
        host.give_up_others(world.controller, ())
        world.collect()
        world.collect()

    old = world.controller
    once(world, "intent", replaced)
    world.complete(late, old)
    world.check()


def forgotten_by_one_who_was_replaced(world: World) -> None:
    """A leader deletes a point when another leads and shows it."""
    fill_disk(world, ONE)
    first = a_point(world, ONE)
    old = world.controller
    world.replace_leader({}, rolled_back=False)
    try:
        old.deletions.delete([first])
        old.deletions.finish(first)
    except (ControllerError, RepositoryError) as error:
        world.note(str(error))
    if first not in world.available():
        return
    try:
        restored(world.repository, world.bucket.store, ONE, first)
    except RepositoryError as error:
        world.findings.lost_points.append(f"point {first} is shown and cannot be restored: {error}")


def rolled_back_before_a_point(world: World) -> None:
    """The database is rolled back to a time before two points; one of them is deleted by now."""
    fill_disk(world, ONE)
    a_point(world, ONE)
    world.snapshot()
    fill_disk(world, TWO, seed=5)
    kept = a_point(world, TWO)
    world.disks[ONE].write(0, random.Random(9).randbytes(4 * 8192))
    forget_and_finish(world, a_point(world, ONE))
    world.collect()
    world.replace_leader({}, rolled_back=True)
    if kept not in world.available():
        world.findings.broken.append(f"point {kept} was not adopted")
    fill_disk(world, TWO, seed=5)
    world.complete(a_backup_like(world, TWO))
    world.settle()


def rolled_back_before_a_collection_and_many_points(world: World) -> None:
    """A DELETE under way as above; and the points that are adopted are more than the steps before its log: their numbers pass its own."""
    fill_disk(world, ONE)
    first = a_point(world, ONE)
    world.snapshot()
    delete_late(world, first)
    world.restart({})
    for seed in range(5, 11):
        fill_disk(world, TWO, seed)
        a_point(world, TWO)
    world.replace_leader({}, rolled_back=True)
    world.complete(a_backup(world, TWO))
    world.bucket.arrive_all()
    world.check()


def replaced_and_its_log_comes_late(world: World) -> None:
    """As in `collected_by_one_who_was_replaced`; and the log that the old leader wrote in vain lies there when the new one starts again."""
    collected_by_one_who_was_replaced(world)
    world.settle()


def finished_late_by_one_who_was_replaced(world: World) -> None:
    """The last PUT of a point is under way when another leader, which never heard of the point, opens the repository and collects."""
    dead_data(world)
    late = a_backup(world, TWO)
    world.snapshot()
    once(world, "refmap", lambda: fault_next(world, Fault.LATE_STOP))
    dies(lambda: world.complete(late))
    world.replace_leader({}, rolled_back=True)
    host.give_up_others(world.controller, ())
    world.collect()
    world.collect()
    world.bucket.arrive_all()
    name = manifest_name(TENANT, TWO, late.point_id)
    for _ in range(2):
        if not world.collect():
            world.findings.broken.append(f"a void manifest stops collection: {world.history[-1]}")
            return
        if not any(left.startswith(name) for left in world.controller.collect().kept_back):
            world.findings.broken.append(f"nobody is told of {name}")
        if late.point_id in world.available() or world.repository.points(TENANT):
            world.findings.broken.append("a void manifest is a point")
        world.restart({})
    world.bucket.store.head(name)
    world.settle()


def buried_late_by_one_who_was_replaced(world: World) -> None:
    """A replaced leader is asked to delete a point: its tombstone hides nothing, then or later. The one who leads may delete it."""
    fill_disk(world, ONE)
    first = a_point(world, ONE)
    old = world.controller
    world.replace_leader({}, rolled_back=False)
    world.forget(first, old)
    for _ in range(2):
        if world.available() != [first] or [point.point_id for point in world.repository.points(TENANT)] != [first]:
            world.findings.lost_points.append(f"the tombstone of a replaced leader hides point {first}")
        world.check()
        world.end_zombie()
        world.restart({})
        world.finish()
    world.forget(first)
    if world.repository.points(TENANT):
        world.findings.broken.append(f"point {first} was deleted, and a void tombstone keeps it")
    world.settle()


def logged_in_vain_and_rolled_back_further(world: World) -> None:
    """The log that a replaced leader wrote in vain; then a database comes back that is older than the leader that replaced it."""
    collected_by_one_who_was_replaced(world)
    world.replace_leader({}, rolled_back=True)
    lost = set(world.truth.kept) - set(world.available())
    if lost:
        world.findings.lost_points.append(f"points {sorted(lost)} were acknowledged and are not shown")
    world.settle()


def puts_nothing_once_another_leads(world: World) -> None:
    """Another controller takes the lease on the same database, after the intent or after the refmap: what comes next is its part."""
    for vm_id, step in ((ONE, "intent"), (TWO, "refmap")):
        late = a_backup(world, vm_id)
        point = (TENANT, vm_id, late.point_id)
        next_put = refmap_name(*point) if step == "intent" else manifest_name(*point)
        once(world, step, lambda: world.controller.database.write_now(_taken_over))
        world.complete(late)
        if list(world.bucket.store.list(next_put)):
            world.findings.broken.append(f"{next_put} was put by one that leads no more")
        world.restart({})
        world.finish()
        world.complete(late)
    world.settle()


def _taken_over(transaction: Transaction) -> None:
    """For no time at all, so that the next controller need not wait."""
    rival = Replica("rival", "1", "", "")
    if transaction.leadership.take(transaction.leadership.lease(), rival, 0, 0) is None:
        raise AssertionError("the lease was not taken")


def finished_by_the_next_leader(world: World) -> None:
    """A leader dies at the intent; the next one finishes the point with the bytes, and so the epoch, of the one before."""
    once(world, "intent", lambda: stop_here(world))
    begun = a_backup(world, ONE)
    dies(lambda: world.complete(begun))
    world.restart({})
    world.complete(begun)
    world.check()
    world.settle()


def deletion_carried_on_and_rolled_back(world: World) -> None:
    """A deletion is decided, announced under the next leader with the bytes of before, and answered; then its database is lost."""
    fill_disk(world, ONE)
    first = a_point(world, ONE)
    world.snapshot()
    once(world, "decided", lambda: stop_here(world))
    dies(lambda: world.forget(first))
    world.restart({})
    world.forget(first)
    if first in world.truth.undecided:
        raise AssertionError(world.history)
    world.replace_leader({}, rolled_back=True)
    world.settle()


def rolled_back_below_the_trimmed_logs(world: World) -> None:
    """A database older than the horizon: the logs that it would need are gone, and so are packs that it takes for good."""
    fill_disk(world, TWO, seed=4)
    gone = a_point(world, TWO)
    half_dead(world)
    world.snapshot(index=True)
    forget_and_finish(world, gone)
    world.collect()
    world.clock.advance(HORIZON_SECONDS)
    world.collect()
    if list(world.bucket.store.list(CONDEMNED_PREFIX)):
        world.findings.broken.append("condemn logs were not trimmed")
    world.replace_leader({}, rolled_back=True)
    fill_disk(world, TWO, seed=4)
    late = world.begin(TWO, "full", stale=True)
    if late is None:
        raise AssertionError(world.history)
    world.complete(late)
    world.settle()


def compacted_while_rolled_back(world: World) -> None:
    """The DELETE of an old generation is under way when the database goes back to where that generation is the one that counts."""
    half_dead(world)
    world.snapshot()

    def late() -> None:
        line = world.controller.line
        for number in range(line.changes, line.changes + 40):
            line.plan[number] = Fault.LATE_STOP

    once(world, "compacted", late)
    dies(world.collect)
    world.clock.advance(7200.0)
    world.replace_leader({}, rolled_back=True)
    world.controller.collect(grace_us=HOUR)  # nothing is ripe for it, and the objects are old
    world.bucket.arrive_all()
    world.check()
    world.settle()


def announced_with_one_number(world: World) -> None:
    """Two controllers on copies of one database begin at one moment: they take the same number."""
    _announced_beside(world, "ffffffff-ffff-4fff-8fff-ffffffffffff")


def announced_with_one_number_by_the_greater(world: World) -> None:
    """The other one believes for a while that it leads: the number on what it announces must be its own alone."""
    _announced_beside(world, "00000000-0000-4000-8000-000000000000")


def _announced_beside(world: World, rival_id: str) -> None:
    dead_data(world)
    world.snapshot()
    old_line = world.controller
    twin_epoch = old_line.opened.mark.epoch + 1
    list_once = world.bucket.store.list
    hidden = [True]

    def blind(prefix: str) -> Iterator[ObjectInfo]:
        """The first look of the new one comes before the other's announcement."""
        found = list(list_once(prefix))
        if prefix == EPOCHS_PREFIX and hidden[0]:
            hidden[0] = False
            world.bucket.store.put(epoch_name(twin_epoch, rival_id), b"")
        return iter(found)

    world.bucket.store.list = blind  # type: ignore[method-assign]
    world.replace_leader({}, rolled_back=False)
    world.bucket.store.list = list_once  # type: ignore[method-assign]
    mark = world.controller.opened.mark
    if newest_leader(world.bucket.store) != mark:
        world.findings.broken.append(f"{mark} leads beside {newest_leader(world.bucket.store)}")
    if mark.epoch == twin_epoch and mark.holder > rival_id:
        world.findings.broken.append(f"{mark} bears the number of another one")
    world.settle()


def swept_by_one_who_was_replaced(world: World) -> None:
    """A pack that nobody reported is swept; its DELETE comes when the database is back at the time when it could still be reported."""
    sealed = unreported_pack(world)
    world.snapshot()

    def before_delete(name: str) -> None:
        if name == sealed.name:
            fault_next(world, Fault.LATE_STOP)

    world.controller.line.before_delete = before_delete
    dies(world.collect)
    world.replace_leader({}, rolled_back=True)
    late = host.begin(world.controller, 900, ONE, world.disks[ONE].source(), "full")
    world.truth.contents[late.point_id] = (ONE, late.content)
    try:
        world.controller.transfers.seal_pack(late.key, SESSION, sealed.pack_id, sealed.length, bytes(16), False)
        world.controller.transfers.pack_stored(late.key, SESSION, sealed.pack_id)
    except ControllerError as error:
        world.note(str(error))
    host.write(world.controller, world.bucket, late)
    world.complete(late)
    world.bucket.arrive_all()
    world.check()
    world.settle()
