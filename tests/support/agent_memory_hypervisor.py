"""A hypervisor in memory for the supervisor's tests: VMs, their backup jobs and checkpoints."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from seawall.agent.errors import CheckpointBroken, HypervisorError, VmNotFound
from seawall.agent.hypervisor.port import (
    BackupDisk,
    Capabilities,
    CheckpointInfo,
    DiskImage,
    Domain,
    DomainDisk,
    FirmwareOffer,
)


def vm(vm_id: str, name: str, state: str = "running") -> Domain:
    disk = DomainDisk("vda", "disk", "file", f"/var/lib/{name}.qcow2", "qcow2", 1 << 30, False, False, False)
    return Domain(vm_id, name, state, (disk,))


@dataclass
class MemoryHypervisor:
    """Thread-safe enough for tests: each call reads or writes one dict."""

    vms: dict[str, Domain] = field(default_factory=dict)
    jobs: dict[str, Path] = field(default_factory=dict)
    marks: dict[str, list[str]] = field(default_factory=dict)
    broken: bool = False
    silent_guests: set[str] = field(default_factory=set)
    stuck_jobs: set[str] = field(default_factory=set)

    def add(self, domain: Domain) -> None:
        self.vms[domain.vm_id] = domain

    def version(self) -> str:
        self._answer()
        return "memory 1.0"

    def domains(self) -> Sequence[Domain]:
        self._answer()
        return tuple(self.vms.values())

    def domain(self, vm_id: str) -> Domain:
        self._answer()
        if vm_id not in self.vms:
            raise VmNotFound(f"no VM {vm_id} on this host")
        return self.vms[vm_id]

    def domain_xml(self, vm_id: str) -> str:
        return f"<domain><name>{self.domain(vm_id).name}</name></domain>"

    def live_xml(self, vm_id: str) -> str:
        return self.domain_xml(vm_id)

    def firmware(self, arch: str, machine: str) -> FirmwareOffer:
        return FirmwareOffer(uefi=False, loaders=(), emulated_tpm=False)

    def disk_targets(self, vm_id: str) -> Sequence[str]:
        return [disk.target for disk in self.domain(vm_id).disks]

    def begin_backup(
        self,
        vm_id: str,
        disks: Sequence[BackupDisk],
        socket: Path,
        checkpoint: str | None,
        targets: Sequence[str] | None = None,
    ) -> None:
        self.domain(vm_id)
        if vm_id in self.jobs:
            raise HypervisorError(f"VM {vm_id} has a job already")
        self.jobs[vm_id] = socket
        if checkpoint is not None:
            self.marks.setdefault(vm_id, []).append(checkpoint)

    def create_checkpoint(self, vm_id: str, name: str, disks: Sequence[BackupDisk], targets: Sequence[str]) -> None:
        self.domain(vm_id)
        self.marks.setdefault(vm_id, []).append(name)

    def end_backup(self, vm_id: str) -> None:
        if vm_id in self.stuck_jobs:
            raise HypervisorError("QEMU does not answer")
        self.jobs.pop(vm_id, None)

    def resume_stalled(self, vm_id: str) -> bool:
        return False

    def has_job(self, vm_id: str) -> bool:
        return vm_id in self.jobs

    def is_active(self, vm_id: str) -> bool:
        return self.domain(vm_id).state != "shut off"

    def is_migrating(self, vm_id: str) -> bool:
        return False

    def disk_images(self, vm_id: str, targets: Sequence[str]) -> Sequence[DiskImage]:
        raise HypervisorError("VMs of this host have no disks that can be read")

    def owns_active_job(self, vm_id: str, socket: Path) -> bool:
        return self.jobs.get(vm_id) == socket

    def active_backup_socket(self, vm_id: str) -> Path | None:
        return self.jobs.get(vm_id)

    def checkpoints(self, vm_id: str) -> Sequence[CheckpointInfo]:
        self.domain(vm_id)
        return tuple(
            CheckpointInfo(name, f"<domaincheckpoint><name>{name}</name></domaincheckpoint>")
            for name in self.marks.get(vm_id, [])
        )

    def checkpoint_xml(self, vm_id: str, name: str) -> str:
        return next(info.xml for info in self.checkpoints(vm_id) if info.name == name)

    def redefine_checkpoint(self, vm_id: str, name: str, targets: Sequence[str]) -> None:
        raise CheckpointBroken(f"VM {vm_id} has no bitmap {name}", disk=targets[0])

    def delete_checkpoint(self, vm_id: str, name: str) -> None:
        if name in self.marks.get(vm_id, []):
            self.marks[vm_id].remove(name)

    def delete_bitmaps(self, vm_id: str, checkpoint: str, targets: Sequence[str]) -> None:
        self.domain(vm_id)

    def freeze(self, vm_id: str, timeout_seconds: int) -> int:
        raise HypervisorError("no guest agent")

    def thaw(self, vm_id: str) -> None:
        self.domain(vm_id)
        if vm_id in self.silent_guests:
            raise HypervisorError("the guest agent does not answer")

    def wake_agent(self, vm_id: str, timeout_seconds: int) -> bool:
        raise HypervisorError("no guest agent")

    def press_thaw_keys(self, vm_id: str) -> None:
        self.domain(vm_id)

    def agent_socket(self, vm_id: str) -> Path | None:
        self.domain(vm_id)
        return None

    def define(self, xml: str) -> str:
        raise HypervisorError("VMs of this host come from the test")

    def undefine(self, vm_id: str) -> None:
        self.vms.pop(vm_id, None)

    def start(self, vm_id: str) -> None:
        self.domain(vm_id)

    def stop(self, vm_id: str) -> None:
        self.domain(vm_id)

    def capabilities(self) -> Capabilities:
        none: frozenset[str] = frozenset()
        return Capabilities("x86_64", none, {}, {}, none, none, {}, None)

    def _answer(self) -> None:
        if self.broken:
            raise HypervisorError("libvirt does not answer")
