"""A worker process, as a fibre: the real client, writer, reader and coordinator of a worker over a disk in memory.

In the place of libvirt, NBD, freezing, throttling and the pipe: a copy of the disk, pauses, and plain calls.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from traceback import format_tb
from typing import TYPE_CHECKING
from uuid import UUID

from blake3 import blake3

from seawall.agent.control.channel import worker_channel
from seawall.agent.control.client import ControllerClient, HandIn
from seawall.agent.control.coordinator import AgentCoordinator, AgentPackReader
from seawall.agent.control.errors import OutcomeUnknown
from seawall.agent.control.messages import (
    PREPARING,
    TRANSFERRING,
    BackupGrant,
    Completion,
    DiskProgress,
    FinishedDisk,
    Progress,
    RestoreGrant,
)
from seawall.agent.control.retry import Retry
from seawall.agent.errors import AgentError, Canceled, FailureKind, Fenced, VmNotFound
from seawall.agent.limits.traffic import Traffic
from seawall.agent.supervisor.process import Exit
from seawall.agent.worker.failure import failure_of
from seawall.agent.worker.pipe import End, Event, Job, NewSession, Order, Step, Stop, StopReason
from seawall.agent.worker.point import parent_root, signed_root
from seawall.agent.worker.stop import AgentStopping
from seawall.repository.errors import RepositoryError
from seawall.repository.format.manifest import Root
from seawall.repository.reading.point import PointReader
from seawall.repository.reading.restore import restore_disk
from seawall.repository.store.retry import RetryingTransfer
from seawall.repository.store.signed_headers import md5_of
from seawall.repository.writing.facts import DiskToWrite, PointFacts, WriteSettings, WrittenPoint
from seawall.repository.writing.point import PointWriter
from support.memory_disks import MemorySink, MemorySource

from .bucket import SignedLine
from .fibres import in_fibre, wait_for

if TYPE_CHECKING:
    from .agent import SimulatedHost

MOST_BYTES_PER_SECOND = 40_000_000
ROUNDS = 4
SLICES = 4
CRASHES = 0.02
"""The part of attempts whose worker is killed by the machine (out of memory, say)."""


class VmMoved(AgentError):
    """The VM left this host in the middle."""

    reason = "VM_MOVED"
    kind = FailureKind.CONFLICT


class Crashed(BaseException):
    """The kernel killed it."""


class SimulatedWorker:
    """In the place of `supervisor.process.WorkerProcess`."""

    def __init__(self, host: "SimulatedHost", job: Job, on_event: Callable[[Event], None], pid: int) -> None:
        self.pid = pid
        self._host = host
        self._job = job
        self._on_event = on_event
        self._session_id = job.session_id
        self._stop: StopReason | None = None
        self._stopping = asyncio.Event()
        self._progress = Progress(job.assignment.ref.attempt_id)
        self._end: End | None = None
        self._task = asyncio.get_running_loop().create_task(in_fibre(self._run))

    async def order(self, order: Order) -> None:
        if isinstance(order, NewSession):
            self._session_id = order.session_id
        elif isinstance(order, Stop):
            self._stop = order.reason
            self._stopping.set()

    def terminate(self) -> None:
        self._stop = self._stop or StopReason.AGENT
        self._stopping.set()

    def kill(self) -> None:
        self._task.cancel()

    async def wait(self) -> Exit:
        await asyncio.wait([self._task])
        error = None if self._task.cancelled() else self._task.exception()
        if error is not None and not isinstance(error, Crashed):
            self._host.world.problem(
                f"a worker met {type(error).__name__}: {error}, {' '.join(format_tb(error.__traceback__)[-2:])}"
            )
        if self._task.cancelled() or error is not None:
            return Exit(-9, None, "")
        return Exit(0, self._end, "")

    def _run(self) -> None:
        """As `worker.main` does it."""
        host, ref = self._host, self._job.assignment.ref
        transfer = RetryingTransfer(SignedLine(host.world.bucket, host.process, host.machine), host.clock)
        with worker_channel(host.identity, ()) as channel:
            client = ControllerClient(channel, lambda: self._session_id, ref, Retry(host.clock, self.pause))
            work = _Attempt(self, host, client, transfer)
            try:
                work.carry_out()
                self._end = End.SUCCEEDED
            except OutcomeUnknown:
                self._end = End.UNREPORTED
            except Fenced:
                self._end = End.FENCED
            except (AgentError, RepositoryError) as error:
                self._end = self._report(client, error)

    def _report(self, client: ControllerClient, error: Exception) -> End:
        canceled = isinstance(error, Canceled)
        try:
            client.fail(failure_of(error), self._progress, canceled=canceled)
        except Fenced:
            return End.FENCED
        except AgentError:
            return End.UNREPORTED
        return End.CANCELED if canceled else End.FAILED

    def say(self, event: Event) -> None:
        """In the supervisor's loop."""

        async def heard() -> None:
            self._on_event(event)

        wait_for(heard)

    def phase(self, phase: str, state: str, done: int = 0) -> None:
        disk = DiskProgress("vda", size_bytes=100, planned_bytes=100, read_bytes=done)
        ref = self._progress
        self._progress = replace(ref, seq=ref.seq + 1, state=state, phase=phase, disks=(disk,))
        self.say(self._progress)

    def check(self) -> None:
        """Raises what it was told to stop for."""
        if self._stop is StopReason.CANCELED:
            raise Canceled("canceled by the operator")
        if self._stop is StopReason.FENCED:
            raise Fenced("the controller does not know this attempt any more")
        if self._stop is StopReason.AGENT:
            raise AgentStopping("the agent stops")

    def pause(self, seconds: float) -> None:
        """Ends early, and raises, when it is told to stop."""

        async def paused() -> None:
            try:
                async with asyncio.timeout(seconds):
                    await self._stopping.wait()
            except TimeoutError:
                return

        if self._stop is None:
            wait_for(paused)
        self.check()

    @property
    def progress(self) -> Progress:
        return self._progress

    @property
    def job(self) -> Job:
        return self._job


class _Attempt:
    """One attempt's work."""

    def __init__(
        self, worker: SimulatedWorker, host: "SimulatedHost", client: ControllerClient, transfer: RetryingTransfer
    ) -> None:
        self._worker = worker
        self._host = host
        self._client = client
        self._transfer = transfer
        self._coordinator = AgentCoordinator(client, transfer, host.clock)
        self._packs = AgentPackReader(client, transfer, host.clock)
        self._rng = host.world.work_rng

    def carry_out(self) -> None:
        grant = self._client.accept()
        if isinstance(grant, BackupGrant):
            self._back_up(grant)
        else:
            self._restore(grant)

    def _back_up(self, grant: BackupGrant) -> None:
        attempt_id = self._worker.job.assignment.ref.attempt_id
        parent = self._parent(grant)
        self._worker.phase("taking the snapshot", PREPARING)
        self._worker.pause(self._rng.uniform(0.5, 15.0))
        disk = self._host.disk(grant.vm_id)
        if disk is None:
            raise VmNotFound(f"no VM {grant.vm_id} on this host")
        source = disk.source()
        self._host.world.truth.captured(attempt_id, grant.vm_id, source.blocks)
        crash = self._rng.random() < CRASHES
        for done in range(SLICES):
            self._worker.phase("reading", TRANSFERRING, 10 * (done + 1))
            self._worker.say(Traffic(self._rng.randrange(MOST_BYTES_PER_SECOND), self._rng.random() < 0.5))
            self._worker.pause(self._rng.uniform(1.0, 30.0))
            if self._host.disk(grant.vm_id) is None:
                raise VmMoved(f"VM {grant.vm_id} left this host")
            if crash and done == 2:
                raise Crashed
        bad = set(grant.bad)
        for _ in range(ROUNDS):
            point = self._write(grant, source, parent, bad)
            self._worker.check()
            missing = self._complete(point)
            if not missing:
                self._host.world.truth.acknowledged(grant.run_id, attempt_id)
                self._worker.say(Step.FINISHING)
                return
            self._worker.say(Step.RESUMED)
            bad.update(missing)
        raise AgentError("slots keep missing", reason="SLOTS_KEEP_MISSING")

    def _parent(self, grant: BackupGrant) -> Root | None:
        if grant.parent is None:
            return None
        try:
            return parent_root(grant.parent, self._transfer)
        except RepositoryError:
            return None

    def _write(
        self, grant: BackupGrant, source: MemorySource, parent: Root | None, bad: set[tuple[bytes, int]]
    ) -> WrittenPoint:
        settings = WriteSettings(
            grant.lineage_id,
            grant.tenant,
            grant.key_epoch,
            grant.k_dedup,
            grant.cut_key,
            grant.repository_public_key,
            grant.chunk_nominal_bytes,
            1,
            grant.pack_target_bytes,
        )
        reader = PointReader(parent, grant.lineage_id, grant.k_dedup, self._packs) if parent else None
        how = "compare" if parent else "full"
        with PointWriter(settings, self._coordinator, parent=reader, bad=bad) as writer:
            writer.write_disk(DiskToWrite("vda", "raw", "/vda.raw", 512, how, "", source))
            instant_us = self._host.clock.now_us()
            return writer.finish(PointFacts(grant.vm_id, "guest", grant.run_id, instant_us, False, None))

    def _complete(self, point: WrittenPoint) -> tuple[tuple[bytes, int], ...]:
        """Missing slots."""
        root_hash, refmap_hash = self._hand_in(point.root_object, root=True), self._hand_in(point.refmap, root=False)
        self._worker.phase("committing", TRANSFERRING, 100)
        self._worker.say(Step.COMMITTING)
        disks = tuple(
            FinishedDisk(
                one.disk, one.virtual_bytes, "raw", one.read_bytes, one.new_bytes, one.stored_bytes, "full", "", 1
            )
            for one in point.disks
        )
        completion = Completion(root_hash, refmap_hash, point.root.instant_us, False, disks)
        return self._client.complete(completion, self._worker.progress).missing

    def _hand_in(self, body: bytes, *, root: bool) -> bytes:
        digest = blake3(body).digest()
        item = HandIn(root, len(body), md5_of(body), digest)
        self._coordinator.put_signed(lambda: self._client.seal_hand_in(item), body)
        return digest

    def _restore(self, grant: RestoreGrant) -> None:
        self._worker.phase("reading the point", PREPARING)
        root = signed_root(grant.point, grant.signing_public_key, self._transfer)
        reader = PointReader(root, grant.lineage_id, grant.k_dedup, self._packs)
        manifest = reader.disk("vda")
        if manifest is None:
            raise AssertionError("every point has its disk")
        self._worker.phase("writing", TRANSFERRING)
        self._worker.say(Traffic(self._rng.randrange(MOST_BYTES_PER_SECOND), self._rng.random() < 0.5))
        self._worker.pause(self._rng.uniform(1.0, 60.0))
        sink = MemorySink(manifest.size_bytes)
        restore_disk(reader, manifest, sink)
        self._host.world.truth.restored(grant.point.point_id, sink.content())
        vm_id = str(UUID(int=self._rng.getrandbits(128), version=4))
        self._worker.say(Step.COMMITTING)
        self._client.complete(Completion(restored_vm_id=vm_id), self._worker.progress)
        self._worker.say(Step.FINISHING)
