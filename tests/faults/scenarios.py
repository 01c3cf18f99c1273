"""Short histories, each made so that one rule alone stands between it and a loss. What is lost stands in the world's findings.

Here one leader suffices; those of roll-backs and replaced leaders are in scenarios_leaders.py.
"""

from dataclasses import replace

from seawall.controller.errors import ControllerError
from seawall.controller.records.runs import RestoreSpec, Run, RunKind, RunState
from seawall.controller.store.transaction import Transaction
from seawall.repository.format.layout import (
    PackName,
    parse_pack_name,
)
from seawall.repository.format.slot_set import SlotSet
from support.controller_records import HOUR
from support.stored_packs import stored_packs

from . import host
from .bucket import Fault
from .controller import HOST, REPOSITORY, SESSION
from .host import TENANT, Attempted
from .scenario_words import (
    ONE,
    TWO,
    a_backup,
    a_backup_like,
    a_point,
    before_the_transaction,
    dead_data,
    dies,
    fault_next,
    fill_disk,
    forget_and_finish,
    half_dead,
    once,
    stop_here,
    unreported_pack,
)
from .world import World


def arrives_during_collection(world: World) -> None:
    """A hand-in that names what a mark found dead, between the mark and the condemning."""
    dead_data(world)
    late = a_backup(world, TWO)
    once(world, "marked", lambda: world.complete(late))
    world.collect()
    world.settle()


def condemned_during_validation(world: World) -> None:
    """A whole collection between the look at the packs and the transaction that writes the intent."""
    dead_data(world)
    late = a_backup(world, TWO)
    before_the_transaction(world, lambda: (world.collect(), world.collect()))
    world.complete(late)
    world.settle()


def collected_at_the_intent(world: World) -> None:
    """A point that is decided and whose manifest is not written yet, when a collection begins."""
    dead_data(world)
    late = a_backup(world, TWO)
    once(world, "intent", lambda: (world.collect(), world.collect()))
    world.complete(late)
    world.settle()


def reported_while_swept(world: World) -> None:
    """A pack in the bucket that nobody reported: a later attempt takes it over just as it is swept."""
    sealed = unreported_pack(world)
    taker: list[Attempted] = []

    def taken_over() -> None:
        fill_disk(world, ONE)
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
    sealed = unreported_pack(world)
    once(world, "sweep announced", lambda: fault_next(world, Fault.TWICE))
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
    fill_disk(world, ONE)
    a_point(world, ONE)
    late = a_backup(world, TWO)
    controller = world.controller

    def closure(transaction: Transaction) -> set[bytes]:
        marked = set()
        for pack in stored_packs(transaction, REPOSITORY):
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
    dead_data(world)
    once(world, "condemned", lambda: stop_here(world))
    dies(world.collect)
    world.restart({})
    late = a_backup(world, TWO)
    condemned = {
        (pack.id, slot)
        for pack in world.controller.database.read_now(lambda transaction: stored_packs(transaction, REPOSITORY))
        for slot in pack.condemned
    }
    ids = b"".join(world.remembered)
    for _, pack_id, _, slot, *_ in world.controller.transfers.lookup(late.key, SESSION, ids):
        if (pack_id, slot) in condemned:
            world.findings.broken.append(f"a lookup answers with slot {slot} of {pack_id.hex()}, which is condemned")


def compacted(world: World) -> None:
    """Half of what a pack holds is dead."""
    half_dead(world)
    world.collect()
    world.check()
    world.settle()


def compacted_while_reads_are_bad(world: World) -> None:
    """The store gives back other bytes than it holds, once, for the pack that is compacted."""
    half_dead(world)
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
    half_dead(world)
    once(world, "reserved", lambda: fault_next(world, Fault.LIED))
    world.collect()
    world.check()


def forgotten_during_a_restore(world: World) -> None:
    """A restore was granted; then its point is deleted and collected."""
    fill_disk(world, ONE)
    first = a_point(world, ONE)
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
    forget_and_finish(world, first)
    world.collect()
    world.collect()
    world.truth.forgotten.discard(first)
    world.check()


def names_a_pack_of_another_tenant(world: World) -> None:
    fill_disk(world, ONE)
    a_point(world, ONE)
    late = a_backup(world, TWO)

    def closure(transaction: Transaction) -> None:
        for pack in stored_packs(transaction, REPOSITORY):
            if pack.attempt_id != late.key.attempt_id:
                transaction.packs.save_pack(pack, replace(pack, tenant="other"))

    world.controller.database.write_now(closure)
    world.complete(late)
    if late.point_id in world.truth.acknowledged:
        world.findings.broken.append(f"point {late.point_id} names packs of another tenant")


def handed_in_after_condemning(world: World) -> None:
    """A hand-in that names what was condemned a moment ago."""
    dead_data(world)
    late = a_backup(world, TWO)
    once(world, "condemned", lambda: world.complete(late))
    world.collect()
    world.settle()


def answered_by_a_stale_index(world: World) -> None:
    """Lookups that answer with what is deleted."""
    dead_data(world)
    world.collect()
    world.collect()
    fill_disk(world, TWO)
    late = world.begin(TWO, "full", stale=True)
    if late is not None:
        world.complete(late)
    world.settle()


def collected_while_backed_up(world: World) -> None:
    """A backup that has stored its data and has not handed in yet."""
    fill_disk(world, ONE)
    late = a_backup(world, ONE)
    world.collect()
    world.collect()
    completion = host.complete(world.controller, late)
    if completion.missing:
        world.findings.broken.append("what an open attempt stored was collected")
    world.settle()


def reported_while_marked(world: World) -> None:
    """Packs that were sealed when a collection began are reported, and their point handed in, before it decides what to condemn."""
    dead_data(world)
    fill_disk(world, TWO, seed=6)

    def backed_up() -> None:
        world.complete(a_backup_like(world, TWO))

    once(world, "marked", backed_up)
    world.collect()
    world.settle()


def compacted_again_after_a_bad_copy(world: World) -> None:
    """The first copy that a compaction wrote was read back altered: its number is spent."""
    half_dead(world)
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
