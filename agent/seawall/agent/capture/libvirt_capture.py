"""All disks of a running VM at one instant, through libvirt's pull-mode job. Called by `opening`."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, fields, replace
from types import TracebackType
from typing import Self

import structlog

from seawall.agent.capture.doubts import broken_why
from seawall.agent.capture.ending import end_job_at
from seawall.agent.capture.freeze import GuestFreeze
from seawall.agent.capture.frozen_time import FrozenTime
from seawall.agent.capture.guard.process import GuardLost, GuardProcess
from seawall.agent.capture.guard.protocol import Setup
from seawall.agent.capture.guard.stale import end_guards
from seawall.agent.capture.held import HeldCapture, HeldDisk, hold, let_go
from seawall.agent.capture.leftovers import make_places, remove_places, thaw_marked
from seawall.agent.capture.limits import JOB_GONE, Limits, free_bytes, limits_for, refuse_without_room, used_bytes
from seawall.agent.capture.names import Places, checkpoint_name, places
from seawall.agent.capture.old_checkpoints import delete_old_checkpoints
from seawall.agent.capture.plan import SIZE_CHANGED_WHY, CapturePlan, DiskPlan, demote
from seawall.agent.capture.planning import planned, virtual_bytes
from seawall.agent.capture.port import CapturedDisk, CaptureRequest
from seawall.agent.capture.scratch_files import made_before
from seawall.agent.capture.settings import CaptureSettings
from seawall.agent.capture.together import BEGUN, FROZEN, GroupIncomplete, rendezvous
from seawall.agent.disk.explained_source import ExplainedSource
from seawall.agent.disk.identity import source_id
from seawall.agent.disk.nbd_source import NbdSource, bitmap_context
from seawall.agent.errors import AgentError, CheckpointBroken, VmNotFound, VmNotRunning, VmStopped
from seawall.agent.hypervisor.port import OFF, BackupDisk, Domain, Hypervisor
from seawall.agent.members.taking import MemberTaking
from seawall.repository.clock import Clock
from seawall.repository.format.manifest import Checkpoint

logger = structlog.get_logger(__name__)

EXPLAIN_PAUSE_SECONDS = 0.05


def capture_running(
    request: CaptureRequest, hypervisor: Hypervisor, settings: CaptureSettings, clock: Clock, domain: Domain
) -> "LibvirtCapture":
    """In any state that has a QEMU: paused stays paused.

    Raises VmNotFound, VmNotRunning, VmBusy, FreezeFailed, NothingToBackUp, ScratchFull, GuardLost, DiskUnreadable, HypervisorError.
    """
    where = places(settings.run_dir, settings.scratch_dir, request.attempt_id)
    make_places(where, hypervisor.capabilities().qemu_owner)
    capture = LibvirtCapture(request, hypervisor, settings, clock, where)
    try:
        capture.start_guard()  # which takes as long to start as the plan takes to make
        capture.begin(planned(request, hypervisor, domain))
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
        resumed_from: str = "",
    ) -> None:
        self._request, self._hypervisor, self._settings, self._clock = request, hypervisor, settings, clock
        self._where, self.resumed_from = where, resumed_from
        self._began = resumed_from or request.attempt_id
        self._name = checkpoint_name(request.repository_id, self._began)
        self._sources: list[NbdSource] = []
        self._guard: GuardProcess | None = None
        self._group = rendezvous(request, settings.run_dir, clock)
        self._born = self._tracks = False
        self._keep = False
        self._noted = False
        self._left = False
        self.disks: Sequence[CapturedDisk] = ()
        self.instant_us = 0
        self.guest_frozen = False
        self.warnings: Sequence[tuple[str, str]] = ()
        self.members: Mapping[str, bytes] = {}
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
            hold_seconds=self._settings.hold_seconds,
        )
        self._where.guard_log.unlink(missing_ok=True)  # of the guard that this one takes over from
        self._guard = GuardProcess(
            self._settings.guard_command, setup, self._where.guard_log, self._hypervisor, self._clock
        )

    def begin(self, plan: CapturePlan) -> None:
        """Take the instant and connect. Called once, by open_capture."""
        guard = self._started_guard()
        guard.await_ready()
        refuse_without_room(virtual_bytes(plan), free_bytes(self._where.scratch))
        if self._group is not None:
            self._group.gather()
        members = MemberTaking(self._hypervisor, self._request.vm_id, self._settings.swtpm_dir)
        guard.begin(self._limits(virtual_bytes(plan)))
        plan, freeze_warnings = self._begin_until_it_holds(plan)
        guard.begun()
        taken = members.taken()
        self.members = taken.files
        self.warnings = (*plan.warnings, *freeze_warnings, *taken.warnings)
        self.disks = tuple(self._connect(one) for one in plan.disks)
        self.checkpoint = self._described(plan)
        self._note()
        logger.info(
            "capture.begun",
            attempt_id=self._request.attempt_id,
            vm_id=self._request.vm_id,
            frozen=self.guest_frozen,
            disks={one.disk.target: one.how for one in plan.disks},
        )

    def resume(self, held: HeldCapture) -> None:
        """Go on with the job of a worker that was killed. Called once, by `resuming`, instead of `begin`.

        This capture's own guard looks after the job before the older one is ended: it is never without one.
        """
        guard = self._started_guard()
        guard.await_ready()
        self._born = held.checkpoint is not None
        guard.begin(self._limits(sum(one.size_bytes for one in held.disks)))
        guard.begun()
        end_guards(self._where.run, but=guard.pid)
        if not self._hypervisor.owns_active_job(self._request.vm_id, self._where.socket):
            raise VmStopped("The backup job was ended at the moment when another worker took it over.")
        self.instant_us, self.guest_frozen, self.warnings = held.instant_us, held.guest_frozen, held.warnings
        self.members, self.checkpoint = held.members, held.checkpoint
        self.disks = tuple(self._reconnected(one) for one in held.disks)
        self._note()
        logger.info(
            "capture.resumed",
            attempt_id=self._request.attempt_id,
            vm_id=self._request.vm_id,
            begun_by=self._began,
            instant_us=self.instant_us,
        )

    @property
    def frozen(self) -> FrozenTime:
        """See Capture."""
        return self._guard.longest_frozen if self._guard is not None else FrozenTime()

    def check(self) -> None:
        """See Capture."""
        self._started_guard().check()

    def keep_checkpoint(self) -> None:
        """See Capture."""
        self._keep = True

    def handing_in(self, now: bool) -> None:
        """See Capture."""
        self._note(is_open=not now)
        self._noted = self._noted and not now

    def leave(self) -> None:
        """See Capture. Without a note nobody could go on: then it ends as ever."""
        self._left = self._noted

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
        if self._left:
            return self._hand_over()
        let_go(self._settings.run_dir, self._began)
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
        if self._group is not None:
            self._group.close()

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
                begin = self._ready_to_begin(plan)
                with freeze:
                    self._begin_with_group(begin)
            except CheckpointBroken as error:
                if plan.base is None:
                    raise
                plan = self._without_broken(plan, error)
                if self._group is not None:
                    raise GroupIncomplete(
                        "A dirty bitmap was lost, so this VM has to begin again: and with it the group."
                    ) from error
                continue
            self.guest_frozen = freeze.frozen
            return plan, [freeze.warning] if freeze.warning else []

    def _begin_with_group(self, begin: Callable[[], None]) -> None:
        """No guest of a group writes from before the first job begins until after the last one has."""
        if self._group is None:
            return begin()
        try:
            self._group.meet(FROZEN)
            begin()
            self._group.meet(BEGUN)
        except BaseException:
            self._group.fail()
            raise

    def _ready_to_begin(self, plan: CapturePlan) -> Callable[[], None]:
        """What can be done and known before the guest stands still, is: what is left begins the job.

        The checkpoint is made first: its bitmaps hold what the guest writes until the instant, too, so the next point reads a little that
        this one has. In one order with the job libvirt would read its schema of checkpoints meanwhile, which is half of what begin takes.
        """
        wanted = [
            BackupDisk(
                target=one.disk.target,
                scratch=self._where.scratch_file(one.disk.target),
                incremental_from=plan.base if one.how == "bitmap" else None,
                checkpoint=one.tracked,
            )
            for one in plan.disks
        ]
        disks = made_before(wanted, [one.disk.capacity_bytes for one in plan.disks])
        targets = self._hypervisor.disk_targets(self._request.vm_id)
        if any(disk.checkpoint for disk in disks) and not self._tracks:
            self._born = True  # from here on it may exist, whatever the answer
            self._hypervisor.create_checkpoint(self._request.vm_id, self._name, disks, targets)
            self._tracks = True

        def begin() -> None:
            self._hypervisor.begin_backup(self._request.vm_id, disks, self._where.socket, None, targets)
            self.instant_us = self._clock.now_us()

        return begin

    def _without_broken(self, plan: CapturePlan, error: CheckpointBroken) -> CapturePlan:
        """Demote the disk; once nothing reads from the broken checkpoint, delete it: it would break every later backup.

        In a group at once: another attempt begins anew, and would meet the same bitmap without end.
        """
        base = plan.base or ""
        target = error.disk if any(one.disk.target == error.disk and one.how == "bitmap" for one in plan.disks) else ""
        logger.warning("capture.bitmap_lost", vm_id=self._request.vm_id, disk=target or "all", error=str(error))
        plan = demote(plan, target, broken_why(base))
        if plan.base is None or self._group is not None:
            with suppress(AgentError):  # what stays is left to delete_older_checkpoints and the sweep
                self._hypervisor.delete_checkpoint(self._request.vm_id, base)
        return plan

    def _started_guard(self) -> GuardProcess:
        if self._guard is None:
            raise GuardLost("No guard was started for this capture.")
        return self._guard

    def _limits(self, disks_bytes: int) -> Limits:
        """What scratch holds already, of a job that is taken over, counts as free: it was when the job began."""
        return limits_for(
            self._settings.scratch_quota_bytes,
            self._settings.scratch_stop_percent,
            disks_bytes,
            free_bytes(self._where.scratch) + used_bytes(self._where.scratch),
            self._settings.owner_silence_seconds,
            self._settings.scratch_share,
        )

    def _connect(self, plan: DiskPlan) -> CapturedDisk:
        source = self._source(plan.disk.target, by_bitmap=plan.how == "bitmap")
        if plan.how == "bitmap" and source.size_bytes != plan.disk.capacity_bytes:
            plan = plan.compared(SIZE_CHANGED_WHY)
            source = self._source(plan.disk.target, by_bitmap=False)
        return plan.captured(ExplainedSource(source, self._explain), source_id(plan.disk.source))

    def _reconnected(self, held: HeldDisk) -> CapturedDisk:
        """Raises VmStopped when it is not the disk that was noted down."""
        source = self._source(held.target, by_bitmap=held.how == "bitmap")
        if source.size_bytes != held.size_bytes:
            raise VmStopped(f"Disk {held.target} has {source.size_bytes} bytes, and had {held.size_bytes}.")
        return CapturedDisk(**asdict(held), source=ExplainedSource(source, self._explain))

    def _note(self, *, is_open: bool = True) -> None:
        """For another worker of this run, should this one be killed. A capture that cannot be noted down is worth its instant alone."""
        if not self._settings.hold_seconds:
            return
        try:
            hold(self._settings.run_dir, replace(self._held(), open=is_open))
            self._noted = True
        except OSError as error:
            logger.warning("capture.not_noted", attempt_id=self._request.attempt_id, error=str(error))

    def _hand_over(self) -> None:
        """Job and scratch stay, with a guard whose owner is gone."""
        for source in self._sources:
            source.close()
        if self._guard is not None:
            self._guard.close(job_ended=False)
        if self._group is not None:
            self._group.close()
        logger.info("capture.left_for_another_worker", attempt_id=self._request.attempt_id, begun_by=self._began)

    def _held(self) -> HeldCapture:
        request, names = self._request, [one.name for one in fields(HeldDisk)]
        return HeldCapture(
            attempt_id=self._began,
            owner=request.attempt_id,
            run_id=request.run_id,
            vm_id=request.vm_id,
            repository_id=request.repository_id,
            parent_point_id=request.parent.point_id if request.parent is not None else "",
            exclude_disks=tuple(request.exclude_disks),
            instant_us=self.instant_us,
            guest_frozen=self.guest_frozen,
            warnings=tuple(self.warnings),
            disks=tuple(HeldDisk(**{name: getattr(one, name) for name in names}) for one in self.disks),
            checkpoint=self.checkpoint,
            members=self.members,
        )

    def _source(self, target: str, *, by_bitmap: bool) -> NbdSource:
        source = NbdSource(
            self._where.socket,
            target,
            self._clock,
            bitmap=bitmap_context(target) if by_bitmap else None,
            connections=self._settings.nbd_connections,
            timeout_seconds=self._settings.nbd_timeout_seconds,
        )
        self._sources.append(source)
        return source

    def _explain(self) -> None:
        """After a read error: raises what ended the capture, where something did. The guard may find it a look later than the reader."""
        deadline = self._clock.monotonic_seconds() + 2 * self._settings.watch_seconds
        while True:
            self.check()
            if self._has_job():
                return
            if self._clock.monotonic_seconds() > deadline:
                raise VmStopped(JOB_GONE)
            self._clock.sleep_seconds(EXPLAIN_PAUSE_SECONDS)

    def _has_job(self) -> bool:
        """Where libvirt does not answer: as far as we know."""
        try:
            return self._hypervisor.owns_active_job(self._request.vm_id, self._where.socket)
        except VmNotFound:
            return False
        except AgentError:
            return True

    def _described(self, plan: CapturePlan) -> Checkpoint | None:
        tracked = tuple(one.disk.target for one in plan.disks if one.tracked)
        if not tracked:
            return None
        text = self._hypervisor.checkpoint_xml(self._request.vm_id, self._name)
        return Checkpoint(name=self._name, agent_id=self._request.agent_id, xml=text, disks=tracked)

    def _vm_is_off(self) -> bool:
        """Then libvirt deletes no checkpoint of it; a sweep does once it runs again."""
        try:
            return self._hypervisor.domain(self._request.vm_id).state == OFF
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
