"""A restore: prove one committed point, fill fresh disks with it, define the VM, say so. Called by `main`."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import structlog

from seawall.agent.control.messages import TRANSFERRING, Completion, DiskProgress, FinishedDisk, RestoreGrant
from seawall.agent.errors import AgentError, FailureKind
from seawall.agent.members.names import DOMAIN, KNOWN
from seawall.agent.restore.port import RestoreRequest, RestoreTarget, TargetDisk
from seawall.agent.worker.pipe import Step
from seawall.agent.worker.point import signed_root
from seawall.agent.worker.task import Task
from seawall.repository.errors import IntegrityError
from seawall.repository.format.manifest import DiskManifest
from seawall.repository.reading.point import PointReader
from seawall.repository.reading.restore import RestoreCounters, restore_disk

_log = structlog.get_logger("seawall.agent.worker")


FINISHED_EARLIER = (
    "FINISHED_EARLIER",
    "An earlier attempt had restored everything when its worker was killed. If the VM was to be started and does not run, "
    "`virsh start` it.",
)
"""A warning: nothing was done twice."""


class DiskNotInPoint(AgentError):
    """The target asks for a disk that the point does not have."""

    reason = "DISK_UNKNOWN"
    kind = FailureKind.PERMANENT
    next_step = "See the point's disks with `seawall point show`."


@dataclass(slots=True)
class _Disk:
    """One disk on its way."""

    target: TargetDisk
    manifest: DiskManifest
    counters: RestoreCounters = field(default_factory=RestoreCounters)
    milliseconds: int = 0
    done: bool = False

    def report(self) -> DiskProgress:
        return DiskProgress(
            disk=self.target.target,
            size_bytes=self.manifest.size_bytes,
            planned_bytes=self.manifest.size_bytes,
            read_bytes=self.counters.done_bytes,
            new_bytes=self.counters.written_bytes,
            stored_bytes=self.counters.fetched_bytes,
            why=self._where,
            done=self.done,
        )

    def finished(self) -> FinishedDisk:
        return FinishedDisk(
            disk=self.target.target,
            size_bytes=self.manifest.size_bytes,
            format=self.manifest.format,
            read_bytes=self.counters.done_bytes,
            new_bytes=self.counters.written_bytes,
            stored_bytes=self.counters.fetched_bytes,
            how="",
            why=self._where,
            milliseconds=self.milliseconds,
        )

    @property
    def _where(self) -> str:
        """Who restores to a folder of the host's choosing must be told which."""
        return f"Written to {self.target.path}."


def restore(task: Task, grant: RestoreGrant) -> None:
    """Returns once the controller knows that it is done. Raises AgentError and RepositoryError; then nothing stays on the host.

    A VM that was defined (and started) stays when only the answer is missing: OutcomeUnknown. One that does not start stays too: a warning.
    """
    earlier = task.journal.restored(task.job.assignment.run_id)
    if earlier is not None:
        _hand_in(task, Completion(warnings=(FINISHED_EARLIER,), restored_vm_id=earlier))
        return
    task.reporter.phase("reading the point")
    root = signed_root(grant.point, grant.signing_public_key, task.coordinator.transfer)
    reader = PointReader(root, grant.lineage_id, grant.k_dedup, task.packs)
    members = {member.name: reader.member(member.name) or b"" for member in root.members if member.name in KNOWN}
    if DOMAIN not in members:
        raise IntegrityError(f"point {root.point_id} has no {DOMAIN}")
    task.reporter.phase("preparing the host")
    with task.adapters.open_target(_request(task, grant, reader, members)) as target:
        disks = _disks(reader, target)
        task.reporter.watch(tuple(disk.report for disk in disks))
        for disk in disks:
            _fill(task, reader, disk)
        task.stop.check()
        task.reporter.phase("defining the VM" if not grant.spec.disks else "finishing")
        vm_id = target.finish()
        task.journal.note_restored(task.attempt_id, vm_id)
        target.keep()
        for altered in reader.passed_over.sentences():
            _log.warning("altered_object_passed_over", point=root.point_id, object=altered)
        _log.info("restored", vm=vm_id, point=root.point_id)
    finished = tuple(disk.finished() for disk in disks)
    _hand_in(task, Completion(disks=finished, warnings=tuple(target.warnings), restored_vm_id=vm_id))


def _hand_in(task: Task, completion: Completion) -> None:
    task.reporter.step(Step.COMMITTING)
    task.client.complete(completion, task.reporter.now())
    task.reporter.step(Step.FINISHING)


def _request(task: Task, grant: RestoreGrant, reader: PointReader, members: Mapping[str, bytes]) -> RestoreRequest:
    spec = grant.spec
    return RestoreRequest(
        attempt_id=task.attempt_id,
        root=reader.root,
        domain_xml=members[DOMAIN].decode(errors="replace"),
        vm_name=spec.vm_name,
        new_identity=spec.new_identity,
        start=spec.start,
        directory=spec.directory,
        disks=spec.disks,
        members=members,
    )


def _disks(reader: PointReader, target: RestoreTarget) -> list[_Disk]:
    disks = []
    for one in target.disks:
        manifest = reader.disk(one.target)
        if manifest is None:
            raise DiskNotInPoint(f"point {reader.root.point_id} has no disk {one.target}")
        disks.append(_Disk(one, manifest))
    return disks


def _fill(task: Task, reader: PointReader, disk: _Disk) -> None:
    task.reporter.phase(f"writing {disk.target.target}", TRANSFERRING)
    start = task.clock.monotonic_seconds()
    restore_disk(reader, disk.manifest, disk.target.sink, disk.counters, task.stop.check)
    disk.milliseconds = round((task.clock.monotonic_seconds() - start) * 1000)
    disk.done = True
