"""A host that backs up: the real writer over the controller's transfers; its PUTs go straight to the bucket."""

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from seawall.controller.publishing.handin import HandIn
from seawall.controller.publishing.publisher import AttemptKey, Completion
from seawall.controller.records.catalogue import PointDisk
from seawall.controller.records.runs import (
    Attempt,
    AttemptState,
    BackupSpec,
    FreezePolicy,
    ReadMethod,
    Run,
    RunKind,
    RunState,
)
from seawall.controller.runs.events import AgentFailed, CancelAsked, Moment
from seawall.controller.runs.machine import Execution, step
from seawall.controller.services.grants import BackupAccess
from seawall.controller.store.transaction import Transaction
from seawall.repository.errors import ObjectExists
from seawall.repository.format.layout import hand_in_name, pack_name
from seawall.repository.format.pack import SealedPack
from seawall.repository.format.record import Codec, Locator
from seawall.repository.reading.point import PointReader
from seawall.repository.reading.store_packs import StorePackReader
from seawall.repository.store.signed_headers import md5_of
from seawall.repository.writing.facts import DiskToWrite, PointFacts, WriteSettings, WrittenPoint
from seawall.repository.writing.point import PointWriter
from support.controller_records import HOUR, a_failure
from support.memory_disks import MemorySource

from .bucket import SharedBucket
from .controller import HOST, REPOSITORY, SESSION, TIMINGS, Controller

TENANT = "default"


class AgentDied(Exception):
    """The host's worker ends here; its attempt is given up later."""


@dataclass
class Attempted:
    """A backup that was begun. `request`: what to hand in, once all is stored."""

    key: AttemptKey
    vm_id: str
    source: MemorySource
    content: dict[int, bytes]
    how: str
    stale: dict[bytes, Locator] = field(default_factory=dict)
    request: HandIn | None = None
    late_packs: int = 0
    on_step: Callable[[str], None] = lambda name: None
    """After each step of the host; may raise AgentDied."""

    @property
    def point_id(self) -> str:
        return self.key.attempt_id.replace("-8000-", "-7000-")


def begin(controller: Controller, number: int, vm_id: str, source: MemorySource, how: str) -> Attempted:
    """A run and its attempt, as the scheduler and AcceptAttempt make them."""
    run_id, attempt_id = f"00000000-0000-7000-0000-{number:012d}", f"00000000-0000-8000-0000-{number:012d}"
    now_us = controller.clock.now_us()

    def closure(transaction: Transaction) -> int:
        db_epoch = transaction.leadership.db_epoch()
        run = Run(
            id=run_id,
            kind=RunKind.BACKUP,
            vm_id=vm_id,
            vm_name="guest",
            tenant=TENANT,
            repository_id=REPOSITORY,
            point_id=run_id,
            backup=BackupSpec(FreezePolicy.NEVER, ()),
            restore=None,
            state=RunState.ACTIVE,
            created_us=now_us,
            not_before_us=now_us,
            deadline_us=now_us + 24 * HOUR,
            current_attempt=attempt_id,
            attempt_count=1,
        )
        transaction.runs.add_run(run)
        state = AttemptState.TRANSFERRING
        transaction.runs.add_attempt(
            Attempt(attempt_id, run_id, 1, HOST, db_epoch, state, now_us, now_us + HOUR, SESSION)
        )
        return db_epoch

    db_epoch = controller.database.write_now(closure)
    return Attempted(AttemptKey(HOST, attempt_id, 1, db_epoch), vm_id, source, dict(source.blocks), how)


def write(
    controller: Controller, bucket: SharedBucket, attempted: Attempted, missing: Collection[tuple[bytes, int]] = ()
) -> None:
    """Everything up to the hand-in; what was `missing` at the hand-in before is stored anew. Raises ControllerError, RepositoryError."""
    run = controller.database.read_now(lambda transaction: transaction.runs.run(attempted.point_id))
    if run is None:
        raise AssertionError("the run is known")
    access = controller.grants.backup(run, HOST)
    parent_id = access.parent.point_id if access.parent else ""
    controller.database.write_now(lambda transaction: _accepted(transaction, attempted, parent_id))
    written = _written(controller, bucket, attempted, access, missing)
    for name, body in (
        (hand_in_name(attempted.key.attempt_id, "root", blake3(written.root_object).digest()), written.root_object),
        (hand_in_name(attempted.key.attempt_id, "refmap", blake3(written.refmap).digest()), written.refmap),
    ):
        _put(bucket, name, body)
        attempted.on_step("handed in")
    attempted.request = _hand_in(written)


def complete(controller: Controller, attempted: Attempted) -> Completion:
    if attempted.request is None:
        raise AssertionError("nothing was handed in")
    return controller.publisher.complete(attempted.key, attempted.request)


def give_up(controller: Controller, attempted: Attempted) -> None:
    """The agent fails its attempt for good. Nothing happens where it is over."""

    def closure(transaction: Transaction) -> None:
        run = transaction.runs.run(attempted.point_id)
        attempt = transaction.runs.attempt(attempted.key.attempt_id)
        if run is None or attempt is None or not attempt.state.live or attempt.state is AttemptState.PUBLISHING:
            return
        moment = Moment(controller.clock.now_us(), TIMINGS)
        asked = step(Execution(run, attempt), CancelAsked(), moment).after
        after = step(asked, AgentFailed(a_failure(), canceled=True), moment).after
        transaction.runs.save_run(run, after.run)
        transaction.runs.save_attempt(attempt, after.attempt)

    controller.database.write_now(closure)


def give_up_others(controller: Controller, but: Collection[str]) -> None:
    """The scheduler's part: live attempts that no agent works on, as after a roll-back, are failed. `but`: ids of attempts."""
    live = controller.database.read_now(lambda transaction: transaction.runs.live_attempts())
    for attempt in live:
        if attempt.id not in but:
            run = controller.database.read_now(lambda transaction, id=attempt.run_id: transaction.runs.run(id))  # type: ignore[misc]
            key = AttemptKey(HOST, attempt.id, attempt.no, attempt.db_epoch)
            give_up(controller, Attempted(key, run.vm_id if run else "", MemorySource(0, {}, ()), {}, "full"))


def _accepted(transaction: Transaction, attempted: Attempted, parent_id: str) -> None:
    attempt = transaction.runs.attempt(attempted.key.attempt_id)
    if attempt is not None:
        transaction.runs.save_attempt(attempt, replace(attempt, parent_point_id=parent_id))


def _written(
    controller: Controller,
    bucket: SharedBucket,
    attempted: Attempted,
    access: BackupAccess,
    missing: Collection[tuple[bytes, int]],
) -> WrittenPoint:
    repository = access.repository.repository
    settings = WriteSettings(
        lineage_id=access.repository.lineage_id,
        tenant=TENANT,
        key_epoch=access.key_epoch,
        k_dedup=access.k_dedup,
        cut_key=repository.secrets.cut_key,
        repository_public_key=repository.config.repository_public_key,
        chunk_nominal_bytes=8 * 1024,
        compression_level=1,
        pack_target_bytes=48 * 1024,
    )
    packs = HostPacks(controller, bucket, attempted)
    parent = None
    if access.parent is not None:
        root = repository.open_root(repository.read_manifest(TENANT, attempted.vm_id, access.parent.point_id)[1])
        parent = PointReader(root, access.repository.lineage_id, access.k_dedup, packs)
    bad = {(pack_id, slot) for pack_id, slots in access.bad_slots.items() for slot in slots} | set(missing)
    with PointWriter(settings, packs, parent=parent, bad=bad) as writer:
        writer.write_disk(DiskToWrite("vda", "raw", "/vda.raw", 512, attempted.how, "", attempted.source))
        return writer.finish(PointFacts(attempted.vm_id, "guest", attempted.point_id, 1, False, None))


def _hand_in(written: WrittenPoint) -> HandIn:
    disks = tuple(
        PointDisk(
            one.disk, one.virtual_bytes, "raw", one.read_bytes, one.new_bytes, one.stored_bytes, ReadMethod.FULL, "", 1
        )
        for one in written.disks
    )
    return HandIn(
        blake3(written.root_object).digest(),
        blake3(written.refmap).digest(),
        written.root.instant_us,
        False,
        disks,
        (),
        None,
    )


def _put(bucket: SharedBucket, name: str, body: bytes | memoryview) -> None:
    try:
        bucket.store.put(name, body)
    except ObjectExists:
        return


class HostPacks:
    """The writer's and the reader's ports. `stale` of the attempt answers lookups before the controller does."""

    def __init__(self, controller: Controller, bucket: SharedBucket, attempted: Attempted) -> None:
        self._controller = controller
        self._bucket = bucket
        self._attempted = attempted
        self._reader = StorePackReader(bucket.store, TENANT)
        self._lock = threading.Lock()

    def lookup(self, chunk_ids: Sequence[bytes]) -> Mapping[bytes, Locator]:
        found = self._controller.transfers.lookup(self._attempted.key, SESSION, b"".join(chunk_ids))
        fresh = {
            chunk_ids[at]: Locator(pack_id, generation, slot, offset, stored, raw, Codec(codec))
            for at, pack_id, generation, slot, offset, stored, raw, codec in found
        }
        stale = self._attempted.stale
        return fresh | {one: stale[one] for one in chunk_ids if one in stale}

    def store_pack(self, pack: SealedPack) -> None:
        with self._lock:
            key, transfers = self._attempted.key, self._controller.transfers
            sealed = transfers.seal_pack(key, SESSION, pack.pack_id, len(pack.body), md5_of(pack.body), pack.meta)
            if sealed.already_stored:
                return
            self._attempted.on_step("sealed")
            for generation in range(len(sealed.targets)):
                name, body = pack_name(TENANT, pack.pack_id, generation), bytes(pack.body)
                if self._attempted.late_packs:
                    self._bucket.late.append(lambda name=name, body=body: _put(self._bucket, name, body))  # type: ignore[misc]
                _put(self._bucket, name, body)
                self._attempted.on_step("put")
            self._attempted.late_packs = max(0, self._attempted.late_packs - 1)
            transfers.pack_stored(key, SESSION, pack.pack_id)
            self._attempted.on_step("reported")

    def read(self, pack_id: bytes, generation: int, offset: int, length: int) -> bytes:
        return self._reader.read(pack_id, generation, offset, length)

    def generations(self, pack_id: bytes) -> Sequence[int]:
        return self._reader.generations(pack_id)

    def table(self, pack_id: bytes, generation: int) -> NDArray[np.void]:
        return self._reader.table(pack_id, generation)


def locators_of(pack_id: bytes, table: NDArray[np.void]) -> dict[bytes, Locator]:
    """Chunk id -> where it lies in the first generation of a pack."""
    return {
        row["chunk_id"].tobytes(): Locator(
            pack_id,
            0,
            int(row["slot"]),
            int(row["offset"]),
            int(row["stored_bytes"]),
            int(row["raw_bytes"]),
            Codec(int(row["codec"])),
        )
        for row in table
    }
