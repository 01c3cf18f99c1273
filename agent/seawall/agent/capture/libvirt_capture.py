"""Opening a capture: all disks of a running VM at one instant, through libvirt's pull-mode job. Called by the backup worker."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from types import TracebackType
from typing import Self

import structlog

from seawall.agent.capture.ending import end_job_at
from seawall.agent.capture.freeze import GuestFreeze
from seawall.agent.capture.guard.process import GuardLost, GuardProcess
from seawall.agent.capture.guard.protocol import Setup
from seawall.agent.capture.leftovers import make_places, remove_places, thaw_marked
from seawall.agent.capture.limits import Limits, free_bytes, limits_for, refuse_without_room
from seawall.agent.capture.names import Places, checkpoint_name, places
from seawall.agent.capture.old_checkpoints import delete_old_checkpoints
from seawall.agent.capture.plan import CaptureFacts, CapturePlan, DiskPlan, demote, plan_capture
from seawall.agent.capture.port import CapturedDisk, CaptureRequest
from seawall.agent.capture.settings import CaptureSettings
from seawall.agent.capture.sweep import sweep_vm
from seawall.agent.disk import qcow2
from seawall.agent.disk.identity import source_id
from seawall.agent.disk.nbd_source import NbdSource, bitmap_context
from seawall.agent.errors import AgentError, CheckpointBroken, FailureKind, VmBusy, VmNotFound, VmNotRunning
from seawall.agent.hypervisor.port import BackupDisk, Domain, DomainDisk, Hypervisor
from seawall.agent.hypervisor.xml import checkpoint_targets, parse, state_outside_disks
from seawall.repository.clock import Clock
from seawall.repository.format.manifest import Checkpoint

logger = structlog.get_logger(__name__)

BACKABLE_STATES = ("running", "paused")


class NothingToBackUp(AgentError):
    """Every disk of the VM is left out."""

    reason = "NO_DISKS"
    kind = FailureKind.PERMANENT
    next_step = "See the VM's disks with `seawall vm show`; a VM without data of its own needs no backup."


def open_capture(
    request: CaptureRequest, hypervisor: Hypervisor, settings: CaptureSettings, clock: Clock
) -> "LibvirtCapture":
    """Capture the VM now. Cleans up after itself when it fails.

    Raises VmNotFound, VmNotRunning, VmBusy, FreezeFailed, NothingToBackUp, ScratchFull, GuardLost, DiskUnreadable, HypervisorError.
    """
    for sentence in sweep_vm(hypervisor, request.vm_id, settings.run_dir, request.attempt_id):
        logger.info("capture.leftover_removed", attempt_id=request.attempt_id, what=sentence)
    domain = hypervisor.domain(request.vm_id)
    _refuse(hypervisor, domain)
    where = places(settings.run_dir, settings.scratch_dir, request.attempt_id)
    make_places(where, hypervisor.capabilities().qemu_owner)
    capture = LibvirtCapture(request, hypervisor, settings, clock, where)
    try:
        capture.start_guard()  # which takes as long to start as the plan takes to make
        capture.begin(_plan(request, hypervisor, domain))
    except BaseException:
        capture.close()
        raise
    return capture


class LibvirtCapture:
    """A running job; see Capture for the contract."""

    def __init__(
        self,
        request: CaptureRequest,
        hypervisor: Hypervisor,
        settings: CaptureSettings,
        clock: Clock,
        where: Places,
    ) -> None:
        self._request, self._hypervisor, self._settings, self._clock = request, hypervisor, settings, clock
        self._where = where
        self._name = checkpoint_name(request.repository_id, request.attempt_id)
        self._sources: list[NbdSource] = []
        self._guard: GuardProcess | None = None
        self._born = False
        self._keep = False
        self.disks: Sequence[CapturedDisk] = ()
        self.instant_us = 0
        self.guest_frozen = False
        self.warnings: Sequence[tuple[str, str]] = ()
        self.domain_xml = ""
        self.checkpoint: Checkpoint | None = None

    def start_guard(self) -> None:
        """From here on somebody else ends what this process may not live to end. Called once, by open_capture. Raises GuardLost."""
        setup = Setup(
            uri=self._settings.hypervisor,
            vm_id=self._request.vm_id,
            socket=self._where.socket,
            scratch=self._where.scratch,
            mark=self._where.frozen_mark,
            freeze_seconds=self._settings.freeze_seconds,
            look_seconds=self._settings.watch_seconds,
        )
        self._guard = GuardProcess(
            self._settings.guard_command, setup, self._where.guard_log, self._hypervisor, self._clock
        )

    def begin(self, plan: CapturePlan) -> None:
        """Take the instant and connect. Called once, by open_capture."""
        guard = self._started_guard()
        guard.await_ready()
        refuse_without_room(_virtual_bytes(plan), free_bytes(self._where.scratch))
        self.domain_xml = self._hypervisor.domain_xml(self._request.vm_id)
        guard.begin(self._limits(plan))
        plan, freeze_warnings = self._begin_until_it_holds(plan)
        guard.begun()
        self.warnings = (*plan.warnings, *freeze_warnings, *state_outside_disks(parse(self.domain_xml)))
        self.disks = tuple(self._connect(one) for one in plan.disks)
        self.checkpoint = self._described(plan)
        logger.info(
            "capture.begun",
            attempt_id=self._request.attempt_id,
            vm_id=self._request.vm_id,
            frozen=self.guest_frozen,
            disks={one.disk.target: one.how for one in plan.disks},
        )

    def check(self) -> None:
        """See Capture."""
        self._started_guard().check()

    def keep_checkpoint(self) -> None:
        """See Capture."""
        self._keep = True

    def delete_older_checkpoints(self) -> None:
        """See Capture. A failure is logged alone: the point is committed, and the next backup deletes them."""
        try:
            delete_old_checkpoints(self._hypervisor, self._request, self._name)
        except AgentError as error:
            logger.warning("capture.checkpoint_stays", vm_id=self._request.vm_id, error=str(error))

    def close(self) -> None:
        """End the job and remove what it left; never raises, as every step is repeated by the sweep.

        The folders go last, and only when all else went: the supervisor sweeps after a worker that leaves them. A guard that still
        has something to end stays.
        """
        if self._guard is not None:
            self._guard.let_end()
        for source in self._sources:
            source.close()
        done = self._trying("end_job", lambda: end_job_at(self._hypervisor, self._request.vm_id, self._where.socket))
        if self._born and not self._keep:
            deleted = self._trying(
                "delete_checkpoint", lambda: self._hypervisor.delete_checkpoint(self._request.vm_id, self._name)
            )
            done &= deleted or self._vm_is_off()
        guarded = self._guard is not None and not self._guard.close(job_ended=done)
        if not guarded:
            thaw_marked(self._hypervisor, self._where.frozen_mark)
        if done and not guarded and not self._where.frozen_mark.exists():
            remove_places(self._where)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _begin_until_it_holds(self, plan: CapturePlan) -> tuple[CapturePlan, list[tuple[str, str]]]:
        """Begin; each broken bitmap demotes its disk and begins again, so this ends after as many tries as there are disks."""
        while True:
            freeze = GuestFreeze(self._started_guard(), self._request.freeze, self._settings.freeze_seconds)
            try:
                with freeze:
                    self._begin_once(plan)
            except CheckpointBroken as error:
                if plan.base is None:
                    raise
                plan = self._without_broken(plan, error)
                continue
            self.guest_frozen = freeze.frozen
            return plan, [freeze.warning] if freeze.warning else []

    def _begin_once(self, plan: CapturePlan) -> None:
        tracked = any(one.tracked for one in plan.disks)
        disks = [
            BackupDisk(
                target=one.disk.target,
                scratch=self._where.scratch_file(one.disk.target),
                incremental_from=plan.base if one.how == "bitmap" else None,
                checkpoint=one.tracked,
            )
            for one in plan.disks
        ]
        self._born = tracked  # from here on it may exist, whatever the answer
        self._hypervisor.begin_backup(self._request.vm_id, disks, self._where.socket, self._name if tracked else None)
        self.instant_us = self._clock.now_us()

    def _without_broken(self, plan: CapturePlan, error: CheckpointBroken) -> CapturePlan:
        """Demote the disk; once nothing reads from the broken checkpoint, delete it: it would break every later backup."""
        base = plan.base or ""
        target = error.disk if any(one.disk.target == error.disk and one.how == "bitmap" for one in plan.disks) else ""
        logger.warning("capture.bitmap_lost", vm_id=self._request.vm_id, disk=target or "all", error=str(error))
        reason = f"The dirty bitmap since {base} is missing or inconsistent, as after a power loss or a killed QEMU."
        plan = demote(plan, target, reason)
        if plan.base is None:
            with suppress(AgentError):  # what stays is left to delete_older_checkpoints and the sweep
                self._hypervisor.delete_checkpoint(self._request.vm_id, base)
        return plan

    def _started_guard(self) -> GuardProcess:
        if self._guard is None:
            raise GuardLost("No guard was started for this capture.")
        return self._guard

    def _limits(self, plan: CapturePlan) -> Limits:
        return limits_for(
            self._settings.scratch_quota_bytes,
            self._settings.scratch_stop_percent,
            _virtual_bytes(plan),
            free_bytes(self._where.scratch),
            self._settings.owner_silence_seconds,
        )

    def _connect(self, plan: DiskPlan) -> CapturedDisk:
        source = self._source(plan)
        if plan.how == "bitmap" and source.size_bytes != plan.disk.capacity_bytes:
            plan = replace(plan, how="compare", why="The disk's size changed while the backup began.")
            source = self._source(plan)
        return CapturedDisk(
            target=plan.disk.target,
            size_bytes=source.size_bytes,
            format=plan.disk.format,
            source_path=plan.disk.source,
            sector_bytes=plan.disk.sector_bytes,
            how=plan.how,
            why=plan.why,
            source=source,
            source_id=source_id(plan.disk.source),
        )

    def _source(self, plan: DiskPlan) -> NbdSource:
        target = plan.disk.target
        source = NbdSource(
            self._where.socket,
            target,
            self._clock,
            bitmap=bitmap_context(target) if plan.how == "bitmap" else None,
            connections=self._settings.nbd_connections,
            timeout_seconds=self._settings.nbd_timeout_seconds,
        )
        self._sources.append(source)
        return source

    def _described(self, plan: CapturePlan) -> Checkpoint | None:
        tracked = tuple(one.disk.target for one in plan.disks if one.tracked)
        if not tracked:
            return None
        text = self._hypervisor.checkpoint_xml(self._request.vm_id, self._name)
        return Checkpoint(name=self._name, agent_id=self._request.agent_id, xml=text, disks=tracked)

    def _vm_is_off(self) -> bool:
        """Then libvirt deletes no checkpoint of it; a sweep does once it runs again."""
        try:
            return self._hypervisor.domain(self._request.vm_id).state == "shut off"
        except AgentError:
            return False

    def _trying(self, what: str, step: Callable[[], object]) -> bool:
        """Whether it could be done. A VM that is gone or off has no job."""
        try:
            step()
        except (VmNotFound, VmNotRunning) as error:
            logger.info("capture.cleanup_needless", attempt_id=self._request.attempt_id, step=what, error=str(error))
        except AgentError as error:
            logger.warning("capture.cleanup_failed", attempt_id=self._request.attempt_id, step=what, error=str(error))
            return False
        return True


def _refuse(hypervisor: Hypervisor, domain: Domain) -> None:
    if domain.state not in BACKABLE_STATES:
        raise VmNotRunning(f"The VM {domain.name!r} is {domain.state}; only a running VM is backed up.")
    if hypervisor.has_job(domain.vm_id):
        raise VmBusy(
            f"A job that is not Seawall's runs on the VM {domain.name!r}.",
            next_step="See `virsh domjobinfo` on that host: another backup tool, a migration or a snapshot; it is tried again.",
        )


def _virtual_bytes(plan: CapturePlan) -> int:
    return sum(one.disk.capacity_bytes for one in plan.disks)


def _plan(request: CaptureRequest, hypervisor: Hypervisor, domain: Domain) -> CapturePlan:
    bases = {one.name: checkpoint_targets(one.xml) for one in hypervisor.checkpoints(domain.vm_id)}
    plan = plan_capture(
        CaptureFacts(
            domain=domain,
            keeps_bitmaps={disk.target: _keeps_bitmaps(disk) for disk in domain.disks},
            parent=request.parent,
            bases=bases,
            agent_id=request.agent_id,
            exclude=request.exclude_disks,
            no_parent=request.no_parent,
            source_ids={disk.source: source_id(disk.source) for disk in request.parent.disks} if request.parent else {},
        )
    )
    if not plan.disks:
        why = (
            " ".join(message for _, message in plan.warnings)
            or "It has no disk, or drives with exchangeable media alone."
        )
        raise NothingToBackUp(f"The VM {domain.name!r} has no disk that can be backed up. {why}")
    return plan


def _keeps_bitmaps(disk: DomainDisk) -> bool:
    return disk.format == "qcow2" and disk.source_type in ("file", "block") and qcow2.keeps_bitmaps(disk.source)
