"""Opening a restore: checks, files to fill, and at the end the VM. Called by the restore worker; plans come from restore.planner."""

import os
import secrets
import uuid
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

import structlog

from seawall.agent.disk.target import DiskTarget, create_target
from seawall.agent.disk.unwritable import unwritable
from seawall.agent.errors import AgentError, RestoreRefused, VmNotFound
from seawall.agent.hypervisor.port import Capabilities, Hypervisor
from seawall.agent.members.names import NVRAM
from seawall.agent.members.writing import write_member
from seawall.agent.restore.clash import Clash
from seawall.agent.restore.domain import Identity, machine_of
from seawall.agent.restore.members import MemberFacts, PlannedMember, member_places, needs_firmware
from seawall.agent.restore.placing import put_in_place
from seawall.agent.restore.planner import HostFacts, PlannedDisk, RestorePlan, choose_disks, plan_restore
from seawall.agent.restore.port import RestoreRequest, TargetDisk
from seawall.agent.restore.settings import RestoreSettings
from seawall.agent.restore.swtpm_owner import swtpm_owner
from seawall.agent.restore.unfinished import (
    RestoreList,
    UnfinishedDisk,
    forget,
    inode_of,
    note,
    restores_dir,
    unfinished_path,
)
from seawall.repository.clock import Clock, SystemClock

logger = structlog.get_logger(__name__)

QEMU_MAC_PREFIX = "52:54:00"


def open_target(
    request: RestoreRequest,
    hypervisor: Hypervisor,
    settings: RestoreSettings | None = None,
    clock: Clock | None = None,
) -> "LibvirtTarget":
    """Plan, and make the empty disks. Raises RestoreRefused before anything is made, DiskUnwritable, HypervisorError."""
    settings = settings or RestoreSettings()
    plan = make_plan(request, hypervisor, settings)
    if not isinstance(plan, RestorePlan):
        raise _refused(plan)
    target = LibvirtTarget(request, hypervisor, settings, clock or SystemClock(), plan)
    try:
        target.open()
    except BaseException:
        target.roll_back()
        raise
    return target


def make_plan(
    request: RestoreRequest, hypervisor: Hypervisor, settings: RestoreSettings
) -> RestorePlan | tuple[Clash, ...]:
    """The plan for this host, or what is in its way. Makes nothing."""
    disks, identity = choose_disks(request, settings), _identity(request)
    facts = HostFacts(
        capabilities=hypervisor.capabilities(),
        domains=hypervisor.domains(),
        existing={one.path for one in disks if os.path.lexists(one.path)},
        free_bytes={one.path.parent: _free_bytes(one.path.parent) for one in disks},
    )
    if not request.disks:
        facts = replace(facts, members=_member_facts(request, identity, hypervisor, facts.capabilities, settings))
    return plan_restore(request, disks, identity, facts, settings, _new_mac)


def _member_facts(
    request: RestoreRequest,
    identity: Identity,
    hypervisor: Hypervisor,
    host: Capabilities,
    settings: RestoreSettings,
) -> MemberFacts:
    arch, machine = machine_of(request.domain_xml)
    places = member_places(request, identity.name, identity.vm_id, settings)
    known = not machine or machine in host.machines.get(arch, ())
    can_run = known and arch in host.emulators  # else that is the clash
    return MemberFacts(
        offer=hypervisor.firmware(arch, machine) if can_run and needs_firmware(request) else None,
        existing={path for name, path in places.items() if _is_taken(path, own_folder=name != NVRAM)},
        qemu_owner=host.qemu_owner,
        tpm_owner=swtpm_owner(settings.qemu_conf),
    )


def _is_taken(path: Path, *, own_folder: bool) -> bool:
    """A TPM's folder with anything in it is a TPM's; libvirt leaves empty ones."""
    if own_folder and path.parent.is_dir():
        return any(not one.name.startswith(".") for one in path.parent.iterdir())
    return os.path.lexists(path)


class LibvirtTarget:
    """The files of one restore, then its VM; see RestoreTarget for the contract."""

    def __init__(
        self,
        request: RestoreRequest,
        hypervisor: Hypervisor,
        settings: RestoreSettings,
        clock: Clock,
        plan: RestorePlan,
    ) -> None:
        self._request, self._hypervisor, self._clock, self._plan = request, hypervisor, clock, plan
        self._settings = settings
        self._run = restores_dir(settings.run_dir) / request.attempt_id
        self._sinks: list[DiskTarget] = []
        self._made: list[Path] = []
        self._folders: list[Path] = []
        self._vm_id = ""
        self._maybe_defined = False
        self._kept = False
        self.disks: Sequence[TargetDisk] = ()
        self.warnings: Sequence[tuple[str, str]] = plan.warnings

    def open(self) -> None:
        """Make the empty disks under their unfinished names. Called once, by open_target."""
        note(self._settings.state_dir, self._list(self._missing_folders()))
        self._run.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.disks = tuple(self._create(one) for one in self._plan.disks)

    def finish(self) -> str:
        """See RestoreTarget."""
        for sink in self._sinks:
            sink.close()
        for member in self._plan.members:
            self._make_member(member)
        note(self._settings.state_dir, self._list(self._folders, about_to_be_placed=True))
        for one in self._plan.files:
            put_in_place(self._unfinished(one), one.path)
            self._made.append(one.path)
        if self._plan.xml:
            self._define()
            if self._request.start:
                self._start()
        return self._vm_id

    def keep(self) -> None:
        """See RestoreTarget."""
        self._kept = True
        forget(self._settings.state_dir, self._settings.run_dir, self._request.attempt_id)
        logger.info("restore.finished", attempt_id=self._request.attempt_id, vm_id=self._vm_id)

    def roll_back(self) -> None:
        """Remove everything that was made, and nothing else. Never raises: what cannot be removed now is left to the sweep."""
        for sink in self._sinks:
            sink.abandon()
        if not self._vm_is_gone():
            return
        try:
            for path in reversed(self._made):
                path.unlink(missing_ok=True)
        except OSError as error:
            logger.error("restore.file_stays", attempt_id=self._request.attempt_id, error=str(error))
            return
        for folder in reversed(self._folders):
            _remove_empty(folder)
        forget(self._settings.state_dir, self._settings.run_dir, self._request.attempt_id)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._kept:
            self.roll_back()

    def _create(self, disk: PlannedDisk) -> TargetDisk:
        self._make_folder(disk.path.parent)
        path = self._unfinished(disk)
        try:
            path.unlink(missing_ok=True)  # of this very attempt, whose first worker died
        except OSError as error:
            raise unwritable(f"Nothing can be made in {disk.path.parent}", error) from error
        self._made.append(path)
        sink = create_target(path, disk.format, disk.size_bytes, self._run / f"{len(self._sinks)}.sock", self._clock)
        self._sinks.append(sink)
        return TargetDisk(disk.target, str(disk.path), sink)

    def _make_member(self, member: PlannedMember) -> None:
        """Whole under its unfinished name: of its owner, and for nobody else."""
        self._make_folder(member.path.parent)
        path = self._unfinished(member)
        self._made.append(path)
        try:
            write_member(path, self._request.members[member.name], member.owner, own_folder=member.own_folder)
        except OSError as error:
            raise unwritable(f"{member.path} could not be made", error) from error

    def _unfinished(self, file: PlannedDisk | PlannedMember) -> Path:
        return unfinished_path(file.path, self._request.attempt_id)

    def _list(self, folders: Sequence[Path], *, about_to_be_placed: bool = False) -> RestoreList:
        disks = [(self._unfinished(one), one.path) for one in self._plan.files]
        return RestoreList(
            self._request.attempt_id,
            self._plan.identity.vm_id if self._plan.xml else "",
            tuple(UnfinishedDisk(*pair, inode_of(pair[0]) if about_to_be_placed else None) for pair in disks),
            tuple(folders),
        )

    def _missing_folders(self) -> list[Path]:
        """Outermost first."""
        wanted = [
            folder for one in self._plan.files for folder in (*reversed(one.path.parent.parents), one.path.parent)
        ]
        return [folder for folder in dict.fromkeys(wanted) if not folder.exists()]

    def _make_folder(self, folder: Path) -> None:
        missing = [one for one in (folder, *folder.parents) if not one.exists()]
        try:
            for one in reversed(missing):
                one.mkdir(mode=0o711)
                self._folders.append(one)
        except OSError as error:
            raise unwritable(f"The folder {folder} could not be made", error) from error

    def _define(self) -> None:
        """A definition whose answer is lost may be there all the same, on disks that are complete."""
        self._maybe_defined = True
        try:
            self._vm_id = self._hypervisor.define(self._plan.xml)
        except RestoreRefused:  # somebody else's VM has the identity
            self._maybe_defined = False
            raise

    def _start(self) -> None:
        """A VM that does not start stays: its disks are complete, and its operator can mend what hinders it."""
        try:
            self._hypervisor.start(self._vm_id)
        except AgentError as error:
            logger.warning("restore.not_started", vm_id=self._vm_id, error=str(error))
            message = f"The VM is restored and defined, but did not start: {error} Mend that, then `virsh start` it."
            self.warnings = (*self.warnings, ("NOT_STARTED", message))

    def _vm_is_gone(self) -> bool:
        """Whether no VM uses the disks, after removing the one that was defined on them."""
        if not self._maybe_defined:
            return True
        vm_id = self._plan.identity.vm_id
        try:
            if self._is_on_our_files(vm_id):
                self._hypervisor.stop(vm_id)
                self._hypervisor.undefine(vm_id)
        except VmNotFound:
            return True
        except AgentError as error:
            logger.error("restore.vm_stays", vm_id=vm_id, error=str(error))
            return False
        return True

    def _is_on_our_files(self, vm_id: str) -> bool:
        """Else somebody defined the VM of this identity meanwhile, and ours was not."""
        return any(Path(disk.source) in self._made for disk in self._hypervisor.domain(vm_id).disks)


def _refused(clashes: Sequence[Clash]) -> RestoreRefused:
    return RestoreRefused(
        " ".join(one.message for one in clashes),
        reason=clashes[0].reason if len(clashes) == 1 else None,
        next_step=" ".join(dict.fromkeys(one.fix for one in clashes)),
    )


def _identity(request: RestoreRequest) -> Identity:
    vm_id = str(uuid.uuid4()) if request.new_identity else request.root.vm_id
    return Identity(request.vm_name or request.root.vm_name, vm_id, request.new_identity)


def _new_mac() -> str:
    return ":".join([QEMU_MAC_PREFIX, *(f"{byte:02x}" for byte in secrets.token_bytes(3))])


def _free_bytes(folder: Path) -> int:
    """Of the file system where the folder is, or will be. Raises RestoreRefused when something else lies at its path."""
    there = next(one for one in (folder, *folder.parents) if os.path.lexists(one))
    if not there.is_dir():
        raise RestoreRefused(
            f"{there} is not a folder.", reason="DIRECTORY_UNUSABLE", next_step="Give another folder: --directory DIR."
        )
    state = os.statvfs(there)
    return state.f_bavail * state.f_frsize


def _remove_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:  # somebody else put something in
        logger.info("restore.folder_stays", folder=str(folder))
