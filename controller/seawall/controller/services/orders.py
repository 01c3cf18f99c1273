"""What operators order: backups, restores, cancellations. Each is one transaction and returns ids of runs; no wire types here."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from seawall.controller.admission.caps import Caps
from seawall.controller.errors import FailedPrecondition, InvalidArgument
from seawall.controller.policies.tenancy import tenants_by_hand
from seawall.controller.records.catalogue import Point, PointState, RepositoryRecord
from seawall.controller.records.fleet import Vm
from seawall.controller.records.maintenance import Pin, PinKind
from seawall.controller.records.runs import BackupSpec, RestoreSpec, Run, RunKind, RunState
from seawall.controller.records.settings import CaptureSettings, VmSettings
from seawall.controller.records.uuid7 import uuid7
from seawall.controller.runs import ready
from seawall.controller.runs.events import CancelAsked, Moment
from seawall.controller.runs.making import ready_run
from seawall.controller.runs.steady import SteadyClock
from seawall.controller.scheduler.executions import Change
from seawall.controller.services.grouping import as_one_of, check_group, check_room, refuse_open
from seawall.controller.services.naming import find_host, find_point, find_repository, find_run, find_vm
from seawall.controller.settings.bounds import check, merged
from seawall.controller.settings.resolve import resolve
from seawall.controller.store.transaction import Transaction
from seawall.controller.timings import Timings

LONGEST_PATH_BYTES = 3072  # Linux takes 4,096, and the names of the disks' files follow
LONGEST_NAME = 100


@dataclass(frozen=True, slots=True)
class Orders:
    """Pure but for the transactions that it is given."""

    clock: SteadyClock
    timings: Timings

    def backup(
        self, change: Change, vms: Sequence[str], repository: str, command: CaptureSettings, *, together: bool = False
    ) -> list[str]:
        """One run a VM; an open one into the same repository is returned instead of a second. What the command leaves open is the VM's.

        Raises NotFound/VM_UNKNOWN, REPOSITORY_UNKNOWN; FailedPrecondition/NO_REPOSITORY, SEVERAL_REPOSITORIES, NO_DISKS, SEVERAL_TENANTS;
        InvalidArgument/NO_VMS, DISK_UNKNOWN, BAD_SETTING. And `together`: FailedPrecondition/NOT_ON_ONE_HOST, NO_ROOM, RUN_OPEN;
        InvalidArgument/BAD_GROUP.
        """
        if not vms:
            raise InvalidArgument("NO_VMS", "Name at least one VM.")
        check(command)
        target = _repository(change.transaction, repository)
        found = [find_vm(change.transaction, text) for text in vms]
        _check_excluded(found, command)
        if together:
            command = check_group(found, command)
            check_room(found, Caps.of(change.transaction.limits.limits()))
        group = (uuid7(self.clock), found) if together else None
        tenants = tenants_by_hand(change.transaction, found, target.id)
        return [self._backup(change, vm, target, command, tenants[vm.id], group) for vm in found]

    def _backup(
        self,
        change: Change,
        vm: Vm,
        repository: RepositoryRecord,
        command: CaptureSettings,
        tenant: str,
        group: tuple[str, Sequence[Vm]] | None = None,
    ) -> str:
        spec = resolve(command, change.transaction.settings.of_vm(vm.id).capture)
        _check_disks(vm, spec)
        opened = change.transaction.runs.open_backup(vm.id, repository.id)
        if group is not None:
            if opened is not None:
                raise refuse_open(vm, opened.id)
            spec = as_one_of(spec, *group)
        if opened is not None:
            change.save_ready(opened, ready.brought_forward(opened, self._now()))
            return opened.id
        run = self._run(RunKind.BACKUP, vm.id, vm.name, tenant, repository.id)
        change.transaction.runs.add_run(replace(run, point_id=run.id, backup=spec))
        return run.id

    def protect(self, change: Change, text: str, said: VmSettings, unset: Sequence[str]) -> str:
        """The VM's id. Runs that exist keep what they began with. Raises NotFound/VM_UNKNOWN; InvalidArgument/BAD_SETTING, DISK_UNKNOWN."""
        vm = find_vm(change.transaction, text)
        _check_excluded([vm], said.capture)
        settings = merged(change.transaction.settings.of_vm(vm.id), said, unset)
        change.transaction.settings.save(vm.id, settings, self.clock.now_us())
        return vm.id

    def restore(self, change: Change, spec: RestoreSpec) -> str:
        """Raises NotFound/POINT_UNKNOWN, HOST_UNKNOWN; FailedPrecondition/POINT_NOT_AVAILABLE;
        InvalidArgument/DISK_UNKNOWN, BAD_NAME, FILES_ONLY, BAD_DIRECTORY.
        """
        point = find_point(change.transaction, spec.point_id)
        host = find_host(change.transaction, spec.host_id)
        _check_restore(point, spec)
        run = self._run(RunKind.RESTORE, point.vm_id, spec.vm_name or point.vm_name, point.tenant, point.repository_id)
        exact = replace(spec, point_id=point.id, host_id=host.id)
        change.transaction.runs.add_run(replace(run, point_id=point.id, restore=exact))
        # In the transaction that looked at the point's state: it stays until the run is over.
        pin = Pin(uuid7(self.clock), point.repository_id, point.id, run.id, PinKind.RESTORE, run.created_us)
        change.transaction.pins.pin(pin)
        return run.id

    def cancel(self, change: Change, text: str) -> str:
        """A desired flag; a run that nobody works on is over at once. Raises NotFound/RUN_UNKNOWN, FailedPrecondition/RUN_OVER."""
        run = find_run(change.transaction, text)
        if run.state.over:
            raise FailedPrecondition("RUN_OVER", f"Run {run.id} is over: {run.state.replace('_', ' ').lower()}.")
        execution = change.of_run(run) if run.state is RunState.ACTIVE else None
        if execution is None:
            change.save_ready(run, ready.canceled(run, self._now()))
        else:
            change.take(execution, CancelAsked(), self._now())
        return run.id

    def _now(self) -> Moment:
        return Moment(self.clock.now_us(), self.timings)

    def _run(self, kind: RunKind, vm_id: str, vm_name: str, tenant: str, repository_id: str) -> Run:
        return ready_run(kind, vm_id, vm_name, tenant, repository_id, clock=self.clock, timings=self.timings)


def _repository(transaction: Transaction, text: str) -> RepositoryRecord:
    if text:
        return find_repository(transaction, text)
    every = transaction.repositories.repositories()
    if not every:
        raise FailedPrecondition("NO_REPOSITORY", "There is no repository yet; add one: seawall repo add.")
    if len(every) > 1:
        names = ", ".join(record.name for record in every)
        raise FailedPrecondition("SEVERAL_REPOSITORIES", f"There are several repositories; name one of {names}.")
    return every[0]


def _check_excluded(vms: Sequence[Vm], said: CaptureSettings) -> None:
    """A disk that none of the VMs has was mistyped; the one that was meant would be backed up."""
    unknown = sorted(set(said.exclude_disks or ()) - {disk.disk for vm in vms for disk in vm.disks})
    if unknown:
        known = ", ".join(sorted({disk.disk for vm in vms for disk in vm.disks})) or "none"
        raise InvalidArgument("DISK_UNKNOWN", f"No VM named here has a disk {', '.join(unknown)}; there is {known}.")


def _check_disks(vm: Vm, spec: BackupSpec) -> None:
    if not vm.disks_without(spec.exclude_disks):
        has = [f"{disk.disk} ({'excluded' if disk.disk in spec.exclude_disks else disk.device})" for disk in vm.disks]
        raise FailedPrecondition("NO_DISKS", f"VM {vm.name} has no disk to back up; it has {', '.join(has) or 'none'}.")


def _check_restore(point: Point, spec: RestoreSpec) -> None:
    if point.state is not PointState.AVAILABLE:
        raise FailedPrecondition("POINT_NOT_AVAILABLE", f"Point {point.id} is still being published.")
    unknown = sorted(set(spec.disks) - {disk.disk for disk in point.disks})
    if unknown:
        known = ", ".join(disk.disk for disk in point.disks)
        raise InvalidArgument("DISK_UNKNOWN", f"The point has no disk {', '.join(unknown)}; it has {known}.")
    if spec.vm_name and not is_vm_name(spec.vm_name):
        raise InvalidArgument(
            "BAD_NAME",
            "A VM's name begins with a letter or digit of any script and goes on with printable characters but slashes, "
            f"{LONGEST_NAME} at most, the last one no blank.",
        )
    if spec.disks and (spec.vm_name or spec.new_identity or spec.start):
        raise InvalidArgument(
            "FILES_ONLY",
            "Single disks become files, and no VM is defined: --disk takes neither --as nor --new-identity nor --start.",
        )
    path = PurePosixPath(spec.directory)
    usable = path.is_absolute() and ".." not in path.parts and spec.directory.isprintable()
    if spec.directory and not (usable and len(spec.directory.encode()) <= LONGEST_PATH_BYTES):
        raise InvalidArgument(
            "BAD_DIRECTORY", "The directory must be an absolute path on the target host, in one line and without '..'."
        )


def is_vm_name(name: str) -> bool:
    """Whether libvirt, a file system and a command line take it: VMs have names with blanks and in all scripts.

    200 bytes leave room for the rest of the names of its files.
    """
    return (
        name[0].isalnum()
        and name.isprintable()
        and not set(name) & set("/\\")
        and name == name.rstrip()
        and len(name) <= LONGEST_NAME
        and len(name.encode()) <= 2 * LONGEST_NAME
    )
