"""Restore points that the bucket holds and an older database does not know: their rows are made from the bucket (rule 4).

Called while a repository is opened, in one transaction with the replay of the condemn logs and before it: packs that these points need
must have rows by then, and the numbers that adopting takes must not hide a log (replay.py).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import structlog
from blake3 import blake3

from seawall.controller.publishing.handin import MOST_DISKS, members_of
from seawall.controller.records.catalogue import Pack, PackState, Point, PointDisk, PointState
from seawall.controller.records.leadership import Leader
from seawall.controller.records.runs import (
    Attempt,
    AttemptState,
    BackupSpec,
    FreezePolicy,
    ReadMethod,
    Run,
    RunKind,
    RunState,
    RunWarning,
)
from seawall.controller.records.uuid7 import uuid7
from seawall.controller.recovering.exporting import export_of
from seawall.controller.recovering.packing import unpack_points
from seawall.controller.recovering.putting_back import host_or_nobody
from seawall.controller.repositories.opening_mark import Before
from seawall.controller.repositories.readers import store_readers
from seawall.controller.store.transaction import Store, Transaction
from seawall.controller.text import printable
from seawall.repository.batches import in_batches
from seawall.repository.clock import Clock
from seawall.repository.errors import FormatUnsupported, IntegrityError, ObjectMissing, RefmapInvalid, WrongKey
from seawall.repository.exports import newest_export
from seawall.repository.forgetting.standing import Standing
from seawall.repository.format.layout import PointName
from seawall.repository.format.manifest import Root
from seawall.repository.format.refmap import Refmap
from seawall.repository.format.root_object import Statement
from seawall.repository.format.slot_set import SlotSet
from seawall.repository.generations import current_generation, stored_generations
from seawall.repository.repository import OpenRepository

_log = structlog.get_logger()

UNREADABLE = (ObjectMissing, IntegrityError, WrongKey, RefmapInvalid, FormatUnsupported)


@dataclass(frozen=True, slots=True)
class Found:
    """A committed point as the bucket shows it. `packs`: those that it names, as their tables say.

    `host_id`: who took it, where an export says so.
    """

    name: PointName
    statement: Statement
    manifest_hash: bytes
    root: Root
    refmap: Refmap
    packs: Mapping[bytes, Pack]
    host_id: str = ""


def unknown_points(
    database: Store,
    repository: OpenRepository,
    repository_id: str,
    doomed: Mapping[bytes, SlotSet],
    before: Before,
) -> list[Found]:
    """Those to adopt of what lay there `before`, in their old order: the newest of a VM is the parent of its next point.

    `doomed`: what condemn logs name that the database has not reached yet. A point that names such a slot was never acknowledged; it is
    left alone, as is one that cannot be read: collection stops for both and says so. What is void is none. Raises what the store raises.
    """
    found = []

    def read(name: PointName) -> Found | None:
        return _read(repository, repository_id, name, before.standing)

    with store_readers("adopt") as readers:
        for batch in in_batches(sorted(before.manifests)):
            points = readers.map(read, _unknown(database, batch))
            found += [point for point in points if point is not None and _whole(point, doomed)]
    hosts = _hosts(repository) if found else {}
    found = [replace(each, host_id=hosts.get(each.name.point_id, "")) for each in found]
    return sorted(found, key=lambda each: each.statement.published_us)


def _hosts(repository: OpenRepository) -> dict[str, str]:
    """Point id -> who took it, as the newest export says. Raises what the store raises."""
    newest = newest_export(repository)
    try:
        facts = unpack_points(export_of(newest.document).points) if newest else {}
    except (IntegrityError, ValueError) as error:
        _log.warning("export.not_understood", error=str(error))
        return {}
    return {point_id: each.host_id for point_id, each in facts.items()}


def _unknown(database: Store, names: Iterable[PointName]) -> list[PointName]:
    return database.read_now(
        lambda transaction: [name for name in names if transaction.points.point(name.point_id) is None]
    )


def _read(repository: OpenRepository, repository_id: str, name: PointName, standing: Standing) -> Found | None:
    names = (name.tenant, name.vm_id, name.point_id)
    try:
        if repository.burial(name, standing) is not None:
            return None
        manifest, statement, root_object = repository.read_manifest_object(*names)
        if not standing.manifest_counts(statement):
            return None
        root, refmap = repository.open_root(root_object), repository.refmap_of(statement)
        packs = {each: pack_as_stored(repository, repository_id, name.tenant, each) for each in refmap.slots()}
    except UNREADABLE as error:
        _log.error("point.not_adopted", point_id=name.point_id, vm_id=name.vm_id, error=str(error))
        return None
    return Found(name, statement, blake3(manifest).digest(), root, refmap, packs)


def pack_as_stored(repository: OpenRepository, repository_id: str, tenant: str, pack_id: bytes) -> Pack:
    """Its newest generation; the slots that this lacks are condemned ones that compaction dropped. Raises ObjectMissing, IntegrityError."""
    generations = stored_generations(repository.store, tenant, pack_id)
    if not generations:
        raise ObjectMissing(f"no generation of pack {pack_id.hex()} is there")
    tail = repository.read_tail(tenant, pack_id, generations[0])
    held = tail.table["slot"].astype(np.uint16)
    slots, meta = int(held[-1]) + 1, tail.footer.meta
    gone = SlotSet.first(slots) - SlotSet.of(held)
    return Pack(
        pack_id,
        repository_id,
        tenant,
        "",
        "",
        PackState.STORED,
        meta,
        tail.footer.pack_bytes,
        slots=slots,
        generation=current_generation(generations[0], meta),
        reserved_generation=generations[0],
        condemned=gone,
    )


def _whole(point: Found, doomed: Mapping[bytes, SlotSet]) -> bool:
    """Whether every slot that it names is there to stay."""
    for pack_id, slots in point.refmap.slots().items():
        pack, named = point.packs[pack_id], SlotSet.of(slots)
        going = pack.condemned | doomed.get(pack_id, SlotSet())
        if int(slots[-1]) >= pack.slots or len(named - going) != len(named):
            _log.error("point.not_adopted", point_id=point.name.point_id, error=f"pack {pack_id.hex()} lost its slots")
            return False
    return True


def adopt_point(transaction: Transaction, leader: Leader, clock: Clock, repository_id: str, point: Found) -> bool:
    """Whether it was. Raises Unavailable/NOT_LEADER."""
    seq = transaction.leadership.order_publication(leader, repository_id)
    known = transaction.packs.packs(repository_id, list(point.packs))
    named = {pack_id: SlotSet.of(slots) for pack_id, slots in point.refmap.slots().items()}
    void = transaction.packs.void_ids(repository_id, list(point.packs))
    if void or any(not _usable(pack, named[pack.id]) for pack in known.values()):
        return False
    run = transaction.runs.run(point.name.point_id)
    attempt = _attempted(transaction, repository_id, point, run, clock)
    for pack in point.packs.values():
        _store(transaction, known.get(pack.id), replace(pack, host_id=attempt.host_id, attempt_id=attempt.id))
    # Without a run here, an export may know whose it is (recovering/decisions.py): once all holds are back, as retention judges it then.
    policy_id = run.policy_id if run is not None else ""
    transaction.points.add_point(replace(_row(repository_id, point, attempt, seq), policy_id=policy_id))
    return True


def tell_adopted(point: Found, adopted: bool) -> None:
    event = _log.warning if adopted else _log.error
    event("point.adopted" if adopted else "point.not_adopted", point_id=point.name.point_id, vm_id=point.name.vm_id)


def _usable(pack: Pack, named: SlotSet) -> bool:
    """An OPEN row is from before the pack was reported."""
    return pack.state is PackState.OPEN or (pack.state is PackState.STORED and pack.keeps(named))


def _store(transaction: Transaction, known: Pack | None, pack: Pack) -> None:
    if known is None:
        transaction.packs.add_pack(pack)
    elif known.state is PackState.OPEN:
        transaction.packs.save_pack(known, replace(pack, host_id=known.host_id, attempt_id=known.attempt_id))


def _attempted(transaction: Transaction, repository_id: str, point: Found, run: Run | None, clock: Clock) -> Attempt:
    """The attempt that made it, and its `run`, over. Where neither database nor export say whose it is, it is nobody's: the host that has
    the VM now merely says so, and whoever took a point may read it (moving/belief.py).
    """
    now_us = clock.now_us()
    if run is not None and run.current_attempt:
        before = transaction.runs.attempt(run.current_attempt)
        if before is not None:
            done = replace(before, state=AttemptState.SUCCEEDED, ended_us=before.ended_us or now_us)
            transaction.runs.save_run(run, replace(run, state=RunState.SUCCEEDED, ended_us=run.ended_us or now_us))
            return transaction.runs.save_attempt(before, done)
    host_id = host_or_nobody(transaction, point.host_id)
    attempt = _made(point, host_id, transaction.leadership.db_epoch(), now_us, uuid7(clock))
    if run is None:
        transaction.runs.add_run(_run(repository_id, point, attempt.id, now_us))
    else:
        ended = replace(run, state=RunState.SUCCEEDED, ended_us=now_us, current_attempt=attempt.id)
        transaction.runs.save_run(run, ended)
    transaction.runs.add_attempt(attempt)
    return attempt


def _made(point: Found, host_id: str, db_epoch: int, now_us: int, attempt_id: str) -> Attempt:
    published_us = point.statement.published_us
    return Attempt(
        attempt_id,
        point.name.point_id,
        1,
        host_id,
        db_epoch,
        AttemptState.SUCCEEDED,
        published_us,
        0,
        root_hash=point.statement.root_hash,
        refmap_hash=point.statement.refmap_hash,
        ended_us=now_us,
    )


def _run(repository_id: str, point: Found, attempt_id: str, now_us: int) -> Run:
    """No policy's, although the point may be: nobody knows for which time it was due, and no hook is called for it anew.

    A run that had no time at all (its deadline is its creation) was made here: `Policies.backed_up_since` tells it by that.
    """
    published_us = point.statement.published_us
    return Run(
        id=point.name.point_id,
        kind=RunKind.BACKUP,
        vm_id=point.name.vm_id,
        vm_name=printable(point.root.vm_name),
        tenant=point.name.tenant,
        repository_id=repository_id,
        point_id=point.name.point_id,
        backup=BackupSpec(FreezePolicy.TRY, ()),
        restore=None,
        state=RunState.SUCCEEDED,
        created_us=published_us,
        not_before_us=published_us,
        deadline_us=published_us,
        current_attempt=attempt_id,
        attempt_count=1,
        ended_us=now_us,
    )


def _row(repository_id: str, point: Found, attempt: Attempt, seq: int) -> Point:
    root, statement = point.root, point.statement
    disks = tuple(
        PointDisk(
            disk.disk, disk.size_bytes, disk.format, 0, 0, 0, _METHODS.get(disk.how, ReadMethod.FULL), disk.why, 0
        )
        for disk in root.disks[:MOST_DISKS]
    )
    return Point(
        id=point.name.point_id,
        vm_id=point.name.vm_id,
        vm_name=printable(root.vm_name),
        tenant=point.name.tenant,
        repository_id=repository_id,
        attempt_id=attempt.id,
        host_id=attempt.host_id,
        parent_point_id=root.parent_point_id,
        state=PointState.AVAILABLE,
        db_epoch=statement.db_epoch,
        instant_us=root.instant_us,
        guest_frozen=root.guest_frozen,
        disks=disks,
        members=members_of(root),
        warnings=tuple(RunWarning(reason, message) for reason, message in root.warnings),
        manifest_hash=point.manifest_hash,
        created_us=statement.published_us,
        published_us=statement.published_us,
        seq=seq,
    )


_METHODS = {"bitmap": ReadMethod.BITMAP, "compare": ReadMethod.COMPARE, "full": ReadMethod.FULL}
