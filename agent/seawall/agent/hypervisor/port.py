"""The hypervisor port: what capture, restore and the supervisor ask of libvirt. Adapter: hypervisor/libvirt.py; errors: agent.errors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class DomainDisk:
    """A block device of a VM. `capacity_bytes` is 0 where it cannot be known."""

    target: str
    device: str  # "disk", "cdrom", "floppy", "lun"
    source_type: str  # "file", "block", "network", ...
    source: str  # path or URI, "" for an empty drive
    format: str  # driver type: "qcow2", "raw"
    capacity_bytes: int
    read_only: bool
    transient: bool
    shareable: bool


@dataclass(frozen=True, slots=True)
class Domain:
    """A VM as libvirt sees it now."""

    vm_id: str  # UUID, lower case with hyphens
    name: str
    state: str  # "running", "paused", "shut off", ...
    disks: tuple[DomainDisk, ...]


@dataclass(frozen=True, slots=True)
class CheckpointInfo:
    """A libvirt checkpoint of a VM."""

    name: str
    xml: str


@dataclass(frozen=True, slots=True)
class BackupDisk:
    """A disk's part in a pull-mode job."""

    target: str
    scratch: Path
    incremental_from: str | None  # checkpoint name; None = full
    checkpoint: bool  # make a bitmap for it (qcow2 v3 only)


@dataclass(frozen=True, slots=True)
class JobStatus:
    """The present job of a VM. `scratch_used_bytes` is libvirt's disk_temp_used."""

    active: bool
    scratch_used_bytes: int


class Hypervisor(Protocol):
    """One host's hypervisor. Thread-safe. Every call has a deadline; all raise HypervisorError, VmNotFound, VmBusy."""

    def version(self) -> str:
        """ "libvirt 9.0.0, QEMU 7.2.19"."""

    def domains(self) -> Sequence[Domain]:
        """All VMs, running or not."""

    def domain(self, vm_id: str) -> Domain: ...

    def domain_xml(self, vm_id: str) -> str:
        """The inactive (persistent) definition with what a restore needs; security-sensitive parts included."""

    def begin_backup(self, vm_id: str, disks: Sequence[BackupDisk], socket: Path, checkpoint: str | None) -> None:
        """Start the pull-mode job with the new checkpoint in one transaction: one instant for all disks."""

    def end_backup(self, vm_id: str) -> None:
        """Abort our job; success when there is none."""

    def job_status(self, vm_id: str) -> JobStatus: ...

    def owns_active_job(self, vm_id: str, socket: Path) -> bool:
        """Whether the active backup job of the VM is the one that serves this socket (its backup XML names it)."""

    def active_backup_socket(self, vm_id: str) -> Path | None:
        """The unix socket of the VM's present pull-mode job; None when no backup job runs."""

    def checkpoints(self, vm_id: str) -> Sequence[CheckpointInfo]:
        """Oldest first."""

    def checkpoint_xml(self, vm_id: str, name: str) -> str:
        """What can redefine it elsewhere."""

    def delete_checkpoint(self, vm_id: str, name: str) -> None:
        """With its bitmaps; success when it is gone already."""

    def freeze(self, vm_id: str, timeout_seconds: int) -> int:
        """Freeze the guest's file systems through its agent; returns how many."""

    def thaw(self, vm_id: str) -> None: ...

    def define(self, xml: str) -> str:
        """Define a persistent VM; returns its UUID. Refuses to redefine an existing one: RestoreRefused."""

    def undefine(self, vm_id: str) -> None:
        """Remove the definition, checkpoints' metadata and NVRAM; never the disks."""

    def start(self, vm_id: str) -> None: ...

    def capabilities(self) -> Mapping[str, object]:
        """What restore's planner needs: machine types, emulator, networks, bridges, domain type ("kvm" or "qemu")."""
