"""Short histories, each made so that one rule alone stands between it and a loss. What is lost stands in the world's findings."""

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from seawall.controller.errors import ControllerError
from seawall.controller.records.catalogue import Pack, PackState
from seawall.controller.records.runs import RestoreSpec, Run, RunKind, RunState
from seawall.controller.store import Transaction
from seawall.repository.errors import RepositoryError
from seawall.repository.forgetting.leaders import newest_leader
from seawall.repository.format.layout import (
    CONDEMNED_PREFIX,
    EPOCHS_PREFIX,
    PackName,
    epoch_name,
    pack_name,
    parse_pack_name,
)
from seawall.repository.format.pack import SealedPack
from seawall.repository.format.slot_set import SlotSet
from seawall.repository.store.port import ObjectInfo
from support.controller_records import HOUR

from . import host
from .bucket import Died, Fault
from .controller import HOST, REPOSITORY, SESSION
from .host import TENANT, Attempted
from .truth import restored
from .world import VMS, World

HORIZON_SECONDS = 91 * 86_400.0

Scenario = Callable[[World], None]
ONE, TWO = VMS


def arrives_during_collection(world: World) -> None:
    """A hand-in that names what a mark found dead, between the mark and the condemning."""
    _dead_data(world)
    late = _begun(world, TWO)
    once(world, "marked", lambda: world.complete(late))
    world.collect()
    world.settle()


def condemned_during_validation(world: World) -> None:
    """A whole collection between the look at the packs and the transaction that writes the intent."""
    _dead_data(world)
    late = _begun(world, TWO)
    _before_the_transaction(world, lambda: (world.collect(), world.collect()))
    world.complete(late)
    world.settle()


def collected_at_the_intent(world: World) -> None:
    """A point that is decided and whose manifest is not written yet, when a collection begins."""
    _dead_data(world)
    late = _begun(world, TWO)
    once(world, "intent", lambda: (world.collect(), world.collect()))
    world.complete(late)
    world.settle()


def deleted_late_after_a_roll_back(world: World) -> None:
    """A DELETE under way while the database is rolled back to a time when its pack was good."""
    _fill(world, ONE)
    first = _point(world, ONE)
    world.snapshot()
    _delete_late(world, first)
    world.replace_leader({}, rolled_back=True)
    world.complete(_begun(world, TWO))
    world.bucket.arrive_all()
    world.check()


def collected_by_one_who_was_replaced(world: World) -> None:
    """A leader in the middle of a collection, when another begins with an older database and needs what it deletes."""
    _fill(world, ONE)
    first = _point(world, ONE)
    world.snapshot()
    _forget(world, first)

    def replaced() -> None:
        world.replace_leader({}, rolled_back=True)
        world.complete(_begun(world, TWO))

    old = world.controller
    once(world, "marked", replaced)
    world.collect(old)
    world.check()


def acknowledged_by_one_who_was_replaced(world: World) -> None:
    """A leader between intent and manifest, when another, which never heard of the point, collects what it needs."""
    _dead_data(world)
    late = _begun(world, TWO)
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
    _fill(world, ONE)
    first = _point(world, ONE)
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


def reported_while_swept(world: World) -> None:
    """A pack in the bucket that nobody reported: a later attempt takes it over just as it is swept."""
    sealed = _unreported(world)
    taker: list[Attempted] = []

    def taken_over() -> None:
        _fill(world, ONE)
        late = host.begin(world.controller, 900, ONE, world.disks[ONE].source(), "full")
        world.truth.contents[late.point_id] = (ONE, late.content)
        try:
            world.controller.transfers.seal_pack(late.key, SESSION, sealed.pack_id, sealed.length, bytes(16), False)
            world.controller.transfers.pack_stored(late.key, SESSION, sealed.pack_id)
        except ControllerError as error:
            world.note(str(error))
        host.write(world.controller, world.bucket, late)
        taker.append(late)

    def before_delete(name: str) -> None:
        if name == sealed.name:
            world.controller.line.before_delete = lambda name: None
            taken_over()

    world.controller.line.before_delete = before_delete
    world.collect()
    for late in taker:
        world.complete(late)
    world.settle()


def sealed_again_after_it_was_void(world: World) -> None:
    """A pack that was given up and deleted; its id is sealed again, and the DELETE comes a second time."""
    sealed = _unreported(world)
    once(world, "sweep announced", lambda: _fault_next(world, Fault.TWICE))
    world.collect()
    late = host.begin(world.controller, 900, ONE, world.disks[ONE].source(), "full")
    world.truth.contents[late.point_id] = (ONE, late.content)
    try:
        world.controller.transfers.seal_pack(late.key, SESSION, sealed.pack_id, sealed.length, bytes(16), False)
        world.bucket.store.put(sealed.name, sealed.body)
        world.controller.transfers.pack_stored(late.key, SESSION, sealed.pack_id)
    except ControllerError as error:
        world.note(str(error))
    host.write(world.controller, world.bucket, late)
    world.complete(late)
    world.settle()


def names_a_bad_slot(world: World) -> None:
    """Verification found slots bad, while a backup that names them was under way."""
    _fill(world, ONE)
    _point(world, ONE)
    late = _begun(world, TWO)
    controller = world.controller

    def closure(transaction: Transaction) -> set[bytes]:
        marked = set()
        for pack in transaction.packs.stored(REPOSITORY):
            if not pack.meta and pack.attempt_id != late.key.attempt_id:
                transaction.packs.save_pack(pack, replace(pack, bad=SlotSet.of([0])))
                marked.add(pack.id)
        return marked

    bad = controller.database.write_now(closure)
    world.complete(late)
    refmap = world.repository.read_refmap(TENANT, TWO, late.point_id).slots()
    for pack_id in bad & refmap.keys():
        if 0 in refmap[pack_id].tolist():
            world.findings.wrong_bytes.append(f"point {late.point_id} names slot 0 of {pack_id.hex()}, known to be bad")


def looks_up_after_the_index_was_lost(world: World) -> None:
    """Condemned slots, within the grace period, and an index made anew from the packs' tables."""
    _dead_data(world)
    once(world, "condemned", lambda: _stop(world))
    _died(world.collect)
    world.restart({})
    late = _begun(world, TWO)
    condemned = {
        (pack.id, slot)
        for pack in world.controller.database.read_now(lambda transaction: transaction.packs.stored(REPOSITORY))
        for slot in pack.condemned
    }
    ids = b"".join(world.remembered)
    for _, pack_id, _, slot, *_ in world.controller.transfers.lookup(late.key, SESSION, ids):
        if (pack_id, slot) in condemned:
            world.findings.broken.append(f"a lookup answers with slot {slot} of {pack_id.hex()}, which is condemned")


def compacted(world: World) -> None:
    """Half of what a pack holds is dead."""
    _half_dead(world)
    world.collect()
    world.check()
    world.settle()


def compacted_while_reads_are_bad(world: World) -> None:
    """The store gives back other bytes than it holds, once, for the pack that is compacted."""
    _half_dead(world)
    store, honest = world.bucket.store, world.bucket.store.get

    def get(name: str) -> bytes:
        body = bytearray(honest(name))
        if name.startswith("v1/p/") and name.endswith(".0"):
            for place in range(2048, len(body) - 1500, 4096):
                body[place] ^= 1
        return bytes(body)

    store.get = get  # type: ignore[method-assign]
    world.collect()
    store.get = honest  # type: ignore[method-assign]
    world.check()


def compacted_into_nothing(world: World) -> None:
    """The store says that it has the new generation, and has not."""
    _half_dead(world)
    once(world, "reserved", lambda: _fault_next(world, Fault.LIED))
    world.collect()
    world.check()


def forgotten_during_a_restore(world: World) -> None:
    """A restore was granted; then its point is deleted and collected."""
    _fill(world, ONE)
    first = _point(world, ONE)
    controller, now_us = world.controller, world.clock.now_us()
    run = Run(
        id="00000000-0000-7000-0000-000000000800",
        kind=RunKind.RESTORE,
        vm_id=ONE,
        vm_name="guest",
        tenant=TENANT,
        repository_id=REPOSITORY,
        point_id=first,
        backup=None,
        restore=RestoreSpec(first, HOST, "", False, False, "", ()),
        state=RunState.ACTIVE,
        created_us=now_us,
        not_before_us=now_us,
        deadline_us=now_us + HOUR,
    )
    controller.database.write_now(lambda transaction: transaction.runs.add_run(run))
    controller.grants.restore(run)
    _forget(world, first)
    world.collect()
    world.collect()
    world.truth.forgotten.discard(first)
    world.check()


def names_a_pack_of_another_tenant(world: World) -> None:
    _fill(world, ONE)
    _point(world, ONE)
    late = _begun(world, TWO)

    def closure(transaction: Transaction) -> None:
        for pack in transaction.packs.stored(REPOSITORY):
            if pack.attempt_id != late.key.attempt_id:
                transaction.packs.save_pack(pack, replace(pack, tenant="other"))

    world.controller.database.write_now(closure)
    world.complete(late)
    if late.point_id in world.truth.acknowledged:
        world.findings.broken.append(f"point {late.point_id} names packs of another tenant")


def handed_in_after_condemning(world: World) -> None:
    """A hand-in that names what was condemned a moment ago."""
    _dead_data(world)
    late = _begun(world, TWO)
    once(world, "condemned", lambda: world.complete(late))
    world.collect()
    world.settle()


def answered_by_a_stale_index(world: World) -> None:
    """Lookups that answer with what is deleted."""
    _dead_data(world)
    world.collect()
    world.collect()
    _fill(world, TWO)
    late = world.begin(TWO, "full", stale=True)
    if late is not None:
        world.complete(late)
    world.settle()


def collected_while_backed_up(world: World) -> None:
    """A backup that has stored its data and has not handed in yet."""
    _fill(world, ONE)
    late = _begun(world, ONE)
    world.collect()
    world.collect()
    completion = host.complete(world.controller, late)
    if completion.missing:
        world.findings.broken.append("what an open attempt stored was collected")
    world.settle()


# Words


def once(world: World, step: str, act: Callable[[], object]) -> None:
    """At the first step of that name."""

    def interrupt(name: str) -> None:
        if name == step:
            world.interrupt = lambda name: None
            act()

    world.interrupt = interrupt


def _before_the_transaction(world: World, act: Callable[[], object]) -> None:
    """Of the next validation: what it looked at outside is known, nothing is written."""
    owner = world.controller.publisher
    intended = owner._intended

    def acting(*given: Any) -> Any:
        owner._intended = intended  # type: ignore[method-assign]
        act()
        return intended(*given)

    owner._intended = acting  # type: ignore[method-assign, assignment]


def _fill(world: World, vm_id: str, seed: int = 1) -> None:
    disk = world.disks[vm_id]
    disk.write(0, random.Random(seed).randbytes(disk.size_bytes))


def _begun(world: World, vm_id: str) -> Attempted:
    """A backup of the same data as VM ONE's first, ready to be handed in."""
    _fill(world, vm_id)
    begun = world.begin(vm_id, "full")
    if begun is None:
        raise AssertionError(world.history)
    return begun


def _point(world: World, vm_id: str) -> str:
    begun = world.begin(vm_id, "full")
    if begun is None:
        raise AssertionError(world.history)
    world.complete(begun)
    return begun.point_id


def _forget(world: World, point_id: str) -> None:
    world.forget(point_id)
    world.finish()


def _delete_late(world: World, point_id: str) -> None:
    """Forget and collect; the controller dies while the DELETE of a data pack is under way."""
    _forget(world, point_id)

    def before_delete(name: str) -> None:
        pack = parse_pack_name(name)
        if pack is not None and not world.repository.read_tail(TENANT, pack.pack_id, pack.generation).footer.meta:
            _fault_next(world, Fault.LATE_STOP)

    world.controller.line.before_delete = before_delete
    _died(world.collect)


def _dead_data(world: World) -> None:
    """Packs that no point needs, well known to the index."""
    _fill(world, ONE)
    _forget(world, _point(world, ONE))


def _half_dead(world: World) -> None:
    _fill(world, ONE)
    first = _point(world, ONE)
    world.disks[ONE].write(0, random.Random(7).randbytes(5 * 8192))
    for block in range(6, 24, 2):
        world.disks[ONE].write(block * 8192, random.Random(block).randbytes(8192))
    _point(world, ONE)
    _forget(world, first)


def _fault_next(world: World, fault: Fault) -> None:
    line = world.controller.line
    line.plan[line.changes] = fault


def _stop(world: World) -> None:
    world.controller.line.dead = True
    raise Died


def _died(act: Callable[[], object]) -> None:
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


def _unreported(world: World) -> Unreported:
    _fill(world, ONE)
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
        SealedPack(opened[0].id, body, bytes(16), world.repository.read_tail(TENANT, opened[0].id, 0).table, False),
        name,
    )


def rolled_back_before_a_point(world: World) -> None:
    """The database is rolled back to a time before two points; one of them is deleted by now."""
    _fill(world, ONE)
    _point(world, ONE)
    world.snapshot()
    _fill(world, TWO, seed=5)
    kept = _point(world, TWO)
    world.disks[ONE].write(0, random.Random(9).randbytes(4 * 8192))
    _forget(world, _point(world, ONE))
    world.collect()
    world.replace_leader({}, rolled_back=True)
    if kept not in world.available():
        world.findings.broken.append(f"point {kept} was not adopted")
    _fill(world, TWO, seed=5)
    world.complete(_begun_like(world, TWO))
    world.settle()


def rolled_back_before_a_collection_and_many_points(world: World) -> None:
    """A DELETE under way as above; and the points that are adopted are more than the steps before its log: their numbers pass its own."""
    _fill(world, ONE)
    first = _point(world, ONE)
    world.snapshot()
    _delete_late(world, first)
    world.restart({})
    for seed in range(5, 11):
        _fill(world, TWO, seed)
        _point(world, TWO)
    world.replace_leader({}, rolled_back=True)
    world.complete(_begun(world, TWO))
    world.bucket.arrive_all()
    world.check()


def _begun_like(world: World, vm_id: str) -> Attempted:
    begun = world.begin(vm_id, "compare")
    if begun is None:
        raise AssertionError(world.history)
    return begun


def reported_while_marked(world: World) -> None:
    """Packs that were sealed when a collection began are reported, and their point handed in, before it decides what to condemn."""
    _dead_data(world)
    _fill(world, TWO, seed=6)

    def backed_up() -> None:
        world.complete(_begun_like(world, TWO))

    once(world, "marked", backed_up)
    world.collect()
    world.settle()


def replaced_and_its_log_comes_late(world: World) -> None:
    """As in `collected_by_one_who_was_replaced`; and the log that the old leader wrote in vain lies there when the new one starts again."""
    collected_by_one_who_was_replaced(world)
    world.settle()


def rolled_back_below_the_trimmed_logs(world: World) -> None:
    """A database older than the horizon: the logs that it would need are gone, and so are packs that it takes for good."""
    _fill(world, TWO, seed=4)
    gone = _point(world, TWO)
    _half_dead(world)
    world.snapshot(index=True)
    _forget(world, gone)
    world.collect()
    world.clock.advance(HORIZON_SECONDS)
    world.collect()
    if list(world.bucket.store.list(CONDEMNED_PREFIX)):
        world.findings.broken.append("condemn logs were not trimmed")
    world.replace_leader({}, rolled_back=True)
    _fill(world, TWO, seed=4)
    late = world.begin(TWO, "full", stale=True)
    if late is None:
        raise AssertionError(world.history)
    world.complete(late)
    world.settle()


def compacted_while_rolled_back(world: World) -> None:
    """The DELETE of an old generation is under way when the database goes back to where that generation is the one that counts."""
    _half_dead(world)
    world.snapshot()

    def late() -> None:
        line = world.controller.line
        for number in range(line.changes, line.changes + 40):
            line.plan[number] = Fault.LATE_STOP

    once(world, "compacted", late)
    _died(world.collect)
    world.clock.advance(7200.0)
    world.replace_leader({}, rolled_back=True)
    world.controller.collect(grace_us=HOUR)  # nothing is ripe for it, and the objects are old
    world.bucket.arrive_all()
    world.check()
    world.settle()


def compacted_again_after_a_bad_copy(world: World) -> None:
    """The first copy that a compaction wrote was read back altered: its number is spent."""
    _half_dead(world)
    store, spoiled = world.bucket.store, list[str]()

    def spoil() -> None:
        names = [info.name for info in store.list("v1/p/")]
        (name,) = [name for name in names if (found := parse_pack_name(name)) and _is_late(world, found)][:1]
        store.put(name, b"spoiled" + store.get(name)[7:], create_only=False)
        spoiled.append(name)

    once(world, "generation written", spoil)
    world.collect()
    if not spoiled:
        world.findings.broken.append("nothing was compacted")
    world.settle()


def _is_late(world: World, name: PackName) -> bool:
    """A generation that the database does not know."""
    known = world.controller.database.read_now(
        lambda transaction: transaction.packs.packs(REPOSITORY, [name.pack_id])
    ).get(name.pack_id)
    return known is not None and name.generation > known.generations[-1]


def announced_with_one_number(world: World) -> None:
    """Two controllers on copies of one database begin at one moment: they take the same number."""
    _announced_beside(world, "ffffffff-ffff-4fff-8fff-ffffffffffff")


def announced_with_one_number_by_the_greater(world: World) -> None:
    """The other one believes for a while that it leads: the number on what it announces must be its own alone."""
    _announced_beside(world, "00000000-0000-4000-8000-000000000000")


def _announced_beside(world: World, rival_id: str) -> None:
    _dead_data(world)
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
    sealed = _unreported(world)
    world.snapshot()

    def before_delete(name: str) -> None:
        if name == sealed.name:
            _fault_next(world, Fault.LATE_STOP)

    world.controller.line.before_delete = before_delete
    _died(world.collect)
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
