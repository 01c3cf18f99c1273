"""What operators order: backups, restores, cancellations. Each is one transaction and returns ids of runs; no wire types here.

Backups of more VMs than one transaction should have: `services/many_backups.py`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from pathlib import PurePosixPath

from seawall.controller.admission.caps import Caps
from seawall.controller.errors import ControllerError, FailedPrecondition, InvalidArgument, NotFound
from seawall.controller.policies.tenancy import tenants_by_hand
from seawall.controller.records.catalogue import Point, PointState, RepositoryRecord
from seawall.controller.records.fleet import Vm
from seawall.controller.records.maintenance import Pin, PinKind
from seawall.controller.records.runs import (
    OPEN_RUN_STATES,
    BackupSpec,
    RestoreSpec,
    Run,
    RunFilter,
    RunKind,
    RunState,
)
from seawall.controller.records.settings import NO_SETTINGS, CaptureSettings, VmSettings
from seawall.controller.records.uuid7 import uuid7
from seawall.controller.runs import ready
from seawall.controller.runs.events import CancelAsked, Moment
from seawall.controller.runs.making import ready_run
from seawall.controller.runs.steady import SteadyClock
from seawall.controller.scheduler.executions import Change
from seawall.controller.services.grouping import as_one_of, check_group, check_room, refuse_open
from seawall.controller.services.naming import find_host, find_point, find_repository, find_run, find_vm, find_vms
from seawall.controller.settings.bounds import check, merged
from seawall.controller.settings.resolve import resolve
from seawall.controller.store.transaction import Transaction
from seawall.controller.timings import Timings

LONGEST_PATH_BYTES = 3072  # Linux takes 4,096, and the names of the disks' files follow
LONGEST_NAME = 100
NO_DISKS = "NO_DISKS"
OF_ONE_VM = (NotFound, InvalidArgument, FailedPrecondition)
"""What may be wrong with one of several VMs."""


class Canceled(Enum):
    """What came of one run that was to be canceled; named as in CancelOutcome."""

    CANCELED = auto()
    STOPPING = auto()
    OVER = auto()
    UNDER_WAY = auto()


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A VM that cannot be backed up: as it was named, and what an error of its own would say."""

    vm: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class _Planned:
    """A backup that may be ordered."""

    vm: Vm
    spec: BackupSpec
    tenant: str


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
        target = repository_for(change.transaction, repository)
        found = find_vms(change.transaction, vms)
        check_excluded([disk.disk for vm in found for disk in vm.disks], command)
        if together:
            command = check_group(found, command)
            check_room(found, Caps.of(change.transaction.limits.limits()))
        planned = _planned(change.transaction, found, target, command)
        if together:
            return self._made(change, self._together(change, planned, target), target)
        return self._ordered(change, planned, target)

    def check_backups(
        self, transaction: Transaction, vms: Sequence[str], repository: str, command: CaptureSettings
    ) -> frozenset[str]:
        """What `backup` would say to these VMs, but for `check_excluded`; returns the names of their disks."""
        check(command)
        target = repository_for(transaction, repository)
        found = find_vms(transaction, vms)
        _planned(transaction, found, target, command)
        return frozenset(disk.disk for vm in found for disk in vm.disks)

    def backup_those_that_can(
        self, change: Change, vms: Sequence[str], repository: str, command: CaptureSettings
    ) -> tuple[list[str], list[LeftOut]]:
        """(ids of runs, who was left out). What is wrong with one VM is no reason for the others. Raises what is wrong with all of them."""
        check(command)
        return self._those_that_can(change, vms, repository_for(change.transaction, repository), command)

    def _those_that_can(
        self, change: Change, vms: Sequence[str], target: RepositoryRecord, command: CaptureSettings
    ) -> tuple[list[str], list[LeftOut]]:
        try:
            planned = _planned(change.transaction, find_vms(change.transaction, vms), target, command)
        except OF_ONE_VM as error:
            if len(vms) == 1:
                return [], [_left_out(vms[0], error)]
            middle = len(vms) // 2
            (first, out), (second, more) = (
                self._those_that_can(change, some, target, command) for some in (vms[:middle], vms[middle:])
            )
            return first + second, out + more
        return self._ordered(change, planned, target), []

    def _ordered(self, change: Change, planned: Sequence[_Planned], repository: RepositoryRecord) -> list[str]:
        """Ids of their runs, in this order; new ones where a VM has none that is open."""
        found = change.transaction.runs.open_backups([each.vm.id for each in planned], repository.id)
        for opened in found.values():
            change.save_ready(opened, ready.brought_forward(opened, self._now()))
        without = {each.vm.id: each for each in planned if each.vm.id not in found}
        made = self._made(change, list(without.values()), repository)
        run_ids = {vm_id: opened.id for vm_id, opened in found.items()} | dict(zip(without, made, strict=True))
        return [run_ids[each.vm.id] for each in planned]

    def _made(self, change: Change, planned: Sequence[_Planned], repository: RepositoryRecord) -> list[str]:
        """Ids of new runs, one each. No VM twice."""
        runs = [self._run(RunKind.BACKUP, each.vm.id, each.vm.name, each.tenant, repository.id) for each in planned]
        backups = [replace(run, point_id=run.id, backup=each.spec) for run, each in zip(runs, planned, strict=True)]
        change.transaction.runs.add_runs(backups)
        return [run.id for run in runs]

    def _together(
        self, change: Change, planned: Sequence[_Planned], repository: RepositoryRecord
    ) -> Sequence[_Planned]:
        """The same as one group. Raises FailedPrecondition/RUN_OPEN."""
        vms, group_id = [each.vm for each in planned], uuid7(self.clock)
        for vm in vms:
            opened = change.transaction.runs.runs(RunFilter(vm_id=vm.id, states=OPEN_RUN_STATES))
            refuse_open(vm, [run for run in opened if run.repository_id == repository.id])
        return [replace(each, spec=as_one_of(each.spec, group_id, vms)) for each in planned]

    def protect(self, change: Change, text: str, said: VmSettings, unset: Sequence[str]) -> str:
        """The VM's id. Runs that exist keep what they began with. Raises NotFound/VM_UNKNOWN; InvalidArgument/BAD_SETTING, DISK_UNKNOWN."""
        vm = find_vm(change.transaction, text)
        check_excluded([disk.disk for disk in vm.disks], said.capture)
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
        if self._canceled(change, run) is Canceled.OVER:
            raise FailedPrecondition("RUN_OVER", f"Run {run.id} is over: {run.state.replace('_', ' ').lower()}.")
        return run.id

    def cancel_those_that_can(self, change: Change, runs: Sequence[Run], *, waiting_only: bool) -> list[Canceled]:
        """What came of each, as they were read in this transaction. One may be named twice."""
        came: dict[str, Canceled] = {}
        for run in runs:
            if run.id not in came:
                left_alone = waiting_only and run.state is RunState.ACTIVE
                came[run.id] = Canceled.UNDER_WAY if left_alone else self._canceled(change, run)
        return [came[run.id] for run in runs]

    def _canceled(self, change: Change, run: Run) -> Canceled:
        if run.state.over:
            return Canceled.OVER
        execution = change.of_run(run) if run.state is RunState.ACTIVE else None
        if execution is None:
            change.save_ready(run, ready.canceled(run, self._now()))
            return Canceled.CANCELED
        after = change.take(execution, CancelAsked(), self._now()).after
        return Canceled.CANCELED if after.run.state.over else Canceled.STOPPING

    def _now(self) -> Moment:
        return Moment(self.clock.now_us(), self.timings)

    def _run(self, kind: RunKind, vm_id: str, vm_name: str, tenant: str, repository_id: str) -> Run:
        return ready_run(kind, vm_id, vm_name, tenant, repository_id, clock=self.clock, timings=self.timings)


def repository_for(transaction: Transaction, text: str) -> RepositoryRecord:
    """The one that is named, or the only one.

    Raises NotFound/REPOSITORY_UNKNOWN; FailedPrecondition/NO_REPOSITORY, SEVERAL_REPOSITORIES.
    """
    if text:
        return find_repository(transaction, text)
    every = transaction.repositories.repositories()
    if not every:
        raise FailedPrecondition("NO_REPOSITORY", "There is no repository yet; add one: seawall repo add.")
    if len(every) > 1:
        names = ", ".join(record.name for record in every)
        raise FailedPrecondition("SEVERAL_REPOSITORIES", f"There are several repositories; name one of {names}.")
    return every[0]


def _planned(
    transaction: Transaction, vms: Sequence[Vm], repository: RepositoryRecord, command: CaptureSettings
) -> list[_Planned]:
    """Raises FailedPrecondition/NO_DISKS, SEVERAL_TENANTS. Writes nothing."""
    settings = transaction.settings.of_vms([vm.id for vm in vms])
    specs = [resolve(command, settings.get(vm.id, NO_SETTINGS).capture) for vm in vms]
    for vm, spec in zip(vms, specs, strict=True):
        _check_disks(vm, spec)
    tenants = tenants_by_hand(transaction, vms, repository.id)
    return [_Planned(vm, spec, tenants[vm.id]) for vm, spec in zip(vms, specs, strict=True)]


def _left_out(vm: str, error: ControllerError) -> LeftOut:
    return LeftOut(vm, error.reason, str(error))


def check_excluded(disks: Iterable[str], said: CaptureSettings) -> None:
    """A disk that none of the VMs has was mistyped; the one that was meant would be backed up. Raises InvalidArgument/DISK_UNKNOWN."""
    there = set(disks)
    unknown = sorted(set(said.exclude_disks or ()) - there)
    if unknown:
        known = ", ".join(sorted(there)) or "none"
        raise InvalidArgument("DISK_UNKNOWN", f"No VM named here has a disk {', '.join(unknown)}; there is {known}.")


def _check_disks(vm: Vm, spec: BackupSpec) -> None:
    if not vm.disks_without(spec.exclude_disks):
        has = [f"{disk.disk} ({'excluded' if disk.disk in spec.exclude_disks else disk.device})" for disk in vm.disks]
        raise FailedPrecondition(NO_DISKS, f"VM {vm.name} has no disk to back up; it has {', '.join(has) or 'none'}.")


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
