"""A backup: capture the VM at one instant, write its disks as a point, hand the point in. Called by `main`.

A checkpoint is journalled before libvirt makes it, and counts once its point is committed; when that is not known, or the controller
waits for the store with it, it is kept as well.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from seawall.agent.capture.port import Capture, CapturedDisk, CaptureRequest
from seawall.agent.capture.scratch_plan import ScratchPlan
from seawall.agent.control.errors import OutcomeUnknown
from seawall.agent.control.messages import TRANSFERRING, BackupGrant, Completed, Completion
from seawall.agent.errors import AgentError
from seawall.agent.worker.backup_progress import WrittenDisk, watched
from seawall.agent.worker.continuity import continued
from seawall.agent.worker.hand_in import HandedIn, hand_in
from seawall.agent.worker.pacing import Pacing
from seawall.agent.worker.parent_death import has_parent
from seawall.agent.worker.pipe import Step
from seawall.agent.worker.point import parent_root
from seawall.agent.worker.stop import AgentStopping
from seawall.agent.worker.task import Task
from seawall.repository.disks import DiskSource
from seawall.repository.errors import RepositoryError
from seawall.repository.format.manifest import Checkpoint, Root
from seawall.repository.reading.point import PointReader
from seawall.repository.writing.facts import DiskToWrite, PointFacts, WriteSettings, WrittenPoint
from seawall.repository.writing.point import PointWriter

ROUNDS = 4
"""How often a point is written: once, and again for each answer that names missing slots."""

Warnings = Sequence[tuple[str, str]]

_log = structlog.get_logger("seawall.agent.worker")


class SlotsKeepMissing(AgentError):
    """The controller named missing chunks again and again."""

    reason = "SLOTS_KEEP_MISSING"
    next_step = "It is tried again; if this stays, check the repository's store."


@dataclass(frozen=True, slots=True)
class _Parent:
    """The point to compare with. No reader: there is none, or it cannot be used; `why` says which, and `warnings` what was wrong."""

    reader: PointReader | None
    why: str
    warnings: tuple[tuple[str, str], ...]

    @property
    def root(self) -> Root | None:
        return self.reader.root if self.reader is not None else None

    @property
    def base(self) -> Checkpoint | None:
        return self.root.checkpoint if self.root is not None else None


def back_up(task: Task, grant: BackupGrant) -> None:
    """Returns once the point is committed, or the controller's to commit once its store answers.

    Raises AgentError and RepositoryError; OutcomeUnknown when no answer came.
    """
    task.coordinator.spare_md5(grant.packs_without_md5)
    with Pacing(task, grant) as pacing:
        _back_up(task, grant, pacing)


def _back_up(task: Task, grant: BackupGrant, pacing: Pacing) -> None:
    parent = _open_parent(task, grant)
    name = task.adapters.checkpoint_name(grant.repository_id, task.attempt_id)
    task.journal.note_checkpoint(name, grant.vm_id, grant.repository_id, task.attempt_id)
    _keep_base(task, grant, parent)
    pacing.know_in_peace()
    task.reporter.phase("taking the snapshot")
    with task.adapters.open_capture(_request(task, grant, parent, pacing.plan)) as capture:
        pacing.begin(capture)
        if capture.resumed_from:
            name = task.adapters.checkpoint_name(grant.repository_id, capture.resumed_from)
            task.journal.adopt_checkpoint(name, grant.vm_id, grant.repository_id, task.attempt_id)
        task.reporter.phase("reading", TRANSFERRING)
        _log.info("captured", disks={disk.target: disk.how for disk in capture.disks}, frozen=capture.guest_frozen)
        try:
            committed = _commit(task, grant, capture, parent, name, pacing)
        except AgentStopping:
            if not has_parent(
                task.job.supervisor_pid
            ):  # the agent was killed: the next one's attempt goes on with this instant
                capture.leave()
            raise
        task.reporter.step(Step.FINISHING)
        capture.keep_checkpoint()
        if not committed:  # its base stays too: the next point is read by the one or the other
            _log.info("publishing_goes_on", point=grant.run_id)
            return
        task.journal.keep_checkpoint(name, committed=True)
        capture.delete_older_checkpoints()
        task.journal.forget_superseded(name, parent.base.name if parent.base is not None else "")


def _keep_base(task: Task, grant: BackupGrant, parent: _Parent) -> None:
    """Of a VM that moved here: its base is made known to libvirt here, and no sweep may take it for a leftover."""
    base = parent.base
    if base is not None and base.agent_id != task.job.agent_id:
        task.journal.note_checkpoint(base.name, grant.vm_id, grant.repository_id, task.attempt_id)
        task.journal.keep_checkpoint(base.name, committed=True)


def _open_parent(task: Task, grant: BackupGrant) -> _Parent:
    """A parent that cannot be read costs time, not the backup."""
    if grant.parent is None:
        return _Parent(None, grant.no_parent, ())
    task.reporter.phase("reading the parent point")
    try:
        root = parent_root(grant.parent, task.coordinator.transfer)
        return _Parent(PointReader(root, grant.lineage_id, grant.k_dedup, task.packs), "", ())
    except RepositoryError as error:
        _log.warning("parent_not_readable", point=grant.parent.point_id, error=str(error))
        message = f"the parent point {grant.parent.point_id} could not be read ({error}); everything was read anew"
        return _Parent(None, "The parent point could not be read.", (("PARENT_NOT_READABLE", message),))


def _request(task: Task, grant: BackupGrant, parent: _Parent, plan: ScratchPlan) -> CaptureRequest:
    return CaptureRequest(
        vm_id=grant.vm_id,
        attempt_id=task.attempt_id,
        agent_id=task.job.agent_id,
        repository_id=grant.repository_id,
        freeze=grant.freeze,
        parent=parent.root,
        exclude_disks=grant.exclude_disks,
        no_parent=parent.why,
        freeze_limit_ms=grant.freeze_limit_ms,
        scratch_quota_bytes=grant.scratch_quota_bytes,
        scratch_share=plan.share,
        run_id=grant.run_id,
        group_id=grant.group_id,
        group=grant.group,
    )


def _commit(task: Task, grant: BackupGrant, capture: Capture, parent: _Parent, checkpoint: str, pacing: Pacing) -> bool:
    """Write and hand in until the controller has everything. Whether the point is committed; else it will be, once its store answers."""
    disks = continued(capture.disks, parent.reader, grant.run_id)
    bad = set(grant.bad)
    progress: dict[str, WrittenDisk] = {}
    for _ in range(ROUNDS):
        point = _write(task, grant, capture, disks, parent, bad, progress, pacing)
        capture.check()
        task.stop.check()
        completed = _complete(task, capture, point, hand_in(task, point), checkpoint, progress)
        if not completed.missing:
            return not completed.publishing
        _log.warning("slots_missing", count=len(completed.missing))
        bad.update(completed.missing)
    raise SlotsKeepMissing(f"after {ROUNDS} rounds the repository still lacks chunks of this point")


def _write(
    task: Task,
    grant: BackupGrant,
    capture: Capture,
    disks: Sequence[CapturedDisk],
    parent: _Parent,
    bad: set[tuple[bytes, int]],
    progress: dict[str, WrittenDisk],
    pacing: Pacing,
) -> WrittenPoint:
    writing = PointWriter(_settings(grant), task.coordinator, parent=parent.reader, bad=bad, stop=_stop(task, capture))
    with writing as writer, pacing.reading():
        for disk in disks:
            progress[disk.target] = WrittenDisk(
                disk.target, disk.size_bytes, disk.format, disk.how, disk.why, task.clock
            )
        task.reporter.watch(watched(progress.values()), lambda: writer.waiting_for)
        for disk in disks:
            task.reporter.phase(f"reading {disk.target}")
            with progress[disk.target].timed() as counters:
                writer.write_disk(_to_write(disk, pacing.paced(disk.source)), counters)
        task.reporter.phase("writing the manifest")
        for name, body in sorted(capture.members.items()):
            writer.add_member(name, body)
        return writer.finish(_facts(task, grant, capture, parent.warnings))


def _stop(task: Task, capture: Capture) -> Callable[[], None]:
    def stop() -> None:
        task.stop.check()
        capture.check()

    return stop


def _settings(grant: BackupGrant) -> WriteSettings:
    return WriteSettings(
        lineage_id=grant.lineage_id,
        tenant=grant.tenant,
        key_epoch=grant.key_epoch,
        k_dedup=grant.k_dedup,
        cut_key=grant.cut_key,
        repository_public_key=grant.repository_public_key,
        chunk_nominal_bytes=grant.chunk_nominal_bytes,
        compression_level=grant.compression_level,
        pack_target_bytes=grant.pack_target_bytes,
    )


def _to_write(disk: CapturedDisk, source: DiskSource) -> DiskToWrite:
    return DiskToWrite(
        disk=disk.target,
        format=disk.format,
        source_path=disk.source_path,
        sector_bytes=disk.sector_bytes,
        how=disk.how,
        why=disk.why,
        source=source,
        source_id=disk.source_id,
    )


def _facts(task: Task, grant: BackupGrant, capture: Capture, warnings: Warnings) -> PointFacts:
    return PointFacts(
        vm_id=grant.vm_id,
        vm_name=task.job.assignment.vm_name,
        point_id=grant.run_id,
        instant_us=capture.instant_us,
        guest_frozen=capture.guest_frozen,
        checkpoint=capture.checkpoint,
        warnings=(*capture.warnings, *warnings),
    )


def _complete(
    task: Task,
    capture: Capture,
    point: WrittenPoint,
    handed_in: HandedIn,
    checkpoint: str,
    progress: dict[str, WrittenDisk],
) -> Completed:
    """The controller's answer. From the first call on, a death leaves the checkpoint in place."""
    task.reporter.phase("committing")
    task.reporter.step(Step.COMMITTING)
    capture.handing_in(True)
    task.journal.keep_checkpoint(checkpoint, committed=False)
    completion = Completion(
        root_hash=handed_in.root_hash,
        refmap_hash=handed_in.refmap_hash,
        instant_us=capture.instant_us,
        guest_frozen=capture.guest_frozen,
        disks=tuple(progress[stats.disk].finished(stats) for stats in point.disks),
        warnings=point.root.warnings,
        may_leave=True,
    )
    try:
        completed = task.client.complete(completion, task.reporter.now())
    except OutcomeUnknown:
        capture.keep_checkpoint()
        raise
    except AgentError:
        task.journal.doubt_checkpoint(checkpoint)
        raise
    if completed.missing:
        task.reporter.step(Step.RESUMED)
        capture.handing_in(False)
        task.journal.doubt_checkpoint(checkpoint)
    return completed
