"""The hypervisor port: what capture, restore and the supervisor ask of libvirt. Adapter: hypervisor/libvirt.py; errors: agent.errors."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

UNREACHABLE = "HYPERVISOR_UNREACHABLE"
"""Reason of the HypervisorError when the daemon does not run, or stopped during the call."""
AGENT_DISCONNECTED = "AGENT_DISCONNECTED"
"""The same where it says that no agent of the guest is connected. While a job runs it does not notice that one is again."""


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
    sector_bytes: int = 512  # the logical block size that the guest sees
    backing: tuple[str, ...] = ()  # sources of its backing files, nearest first; not always known of a VM that is off
    storages: tuple[str, ...] = ()  # what holds these (disk/storage_names.py); (): nobody looked


LeftMs = Callable[[], Mapping[str, int]]
"""VM id -> milliseconds since it left this host by migration, of those that did so lately."""

OFF = "shut off"
"""The state of a VM without a QEMU, however it came to lack one."""

UNTOLD = "?"
"""A backing file that is no file of this host."""


@dataclass(frozen=True, slots=True)
class Domain:
    """A VM as libvirt sees it now."""

    vm_id: str  # UUID, lower case with hyphens
    name: str
    state: str  # "running", "paused", OFF, ...
    disks: tuple[DomainDisk, ...]
    saved: bool = False  # off, and its memory is kept by libvirt for the next start
    tags: tuple[str, ...] = ()  # words from its metadata, for policies


Located = Callable[[Sequence[Domain]], tuple[Domain, ...]]
"""The same VMs with the storages of their disks looked up. May block."""


@dataclass(frozen=True, slots=True, repr=False)
class DiskImage:
    """A disk of a VM that is off, as QEMU's tools open it to read, without the locks that would refuse the VM's start."""

    target: str
    options: Mapping[str, object]  # of QEMU's block layer, as JSON
    path: str  # of its file or device; "" for one on the network
    secrets: tuple[tuple[str, bytes], ...] = ()  # ids that `options` names -> what they hold
    laid_upon: tuple[str, ...] = ()  # files below it as far as its definition says, nearest first; "": no more; UNTOLD


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
    scratch_made: bool = (
        False  # the file is there, an empty qcow2 of the disk's size, and stays; else libvirt makes and removes it
    )


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What restore's planner must know of a host. Names of machine types include their aliases."""

    host_arch: str  # "x86_64"
    kvm_arches: frozenset[str]  # those that this host runs with hardware help; others are emulated
    emulators: Mapping[str, str]  # arch -> path
    machines: Mapping[str, frozenset[str]]  # arch -> machine types, aliases included
    networks: frozenset[str]  # libvirt networks, active or not
    bridges: frozenset[str]  # bridge interfaces of the host
    mac_owners: Mapping[str, str]  # MAC address in lower case -> name of the VM that has it
    qemu_owner: tuple[int, int] | None  # uid and gid that QEMU runs as; None when libvirt does not say


@dataclass(frozen=True, slots=True)
class Loader:
    """A UEFI firmware of the host, as libvirt offers it."""

    path: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class FirmwareOffer:
    """Of one architecture and machine type."""

    uefi: bool
    loaders: tuple[Loader, ...]
    emulated_tpm: bool  # swtpm is installed
    secrets: frozenset[str] = frozenset()  # UUIDs of libvirt's secrets


class Hypervisor(Protocol):
    """One host's hypervisor. Thread-safe. Every call has a deadline; all raise HypervisorError, VmNotFound, VmBusy, VmNotRunning."""

    def version(self) -> str:
        """ "libvirt 9.0.0, QEMU 7.2.19"."""

    def domains(self) -> Sequence[Domain]:
        """All VMs, running or not."""

    def domain(self, vm_id: str) -> Domain: ...

    def domain_xml(self, vm_id: str) -> str:
        """The persistent definition (of a transient VM: the live one), with the passwords of its displays: for a point's member alone."""

    def live_xml(self, vm_id: str) -> str:
        """The definition of the running VM, without passwords; the persistent one of a VM that is off."""

    def firmware(self, arch: str, machine: str) -> FirmwareOffer:
        """What the host has for UEFI and TPMs of such VMs. Raises HypervisorError, as where there is no QEMU for them."""

    def disk_targets(self, vm_id: str) -> Sequence[str]:
        """Of all its disks and drives, whatever they are."""

    def begin_backup(
        self,
        vm_id: str,
        disks: Sequence[BackupDisk],
        socket: Path,
        checkpoint: str | None,
        targets: Sequence[str] | None = None,
    ) -> None:
        """Start the pull-mode job with the new checkpoint in one transaction: one instant for all disks.

        Disks of the VM that are not listed take no part: `targets` are all that it has, where that is known already. Raises
        CheckpointBroken when a bitmap is missing or inconsistent, VmBusy.
        """

    def create_checkpoint(self, vm_id: str, name: str, disks: Sequence[BackupDisk], targets: Sequence[str]) -> None:
        """From here on it is known what is written to those of the disks that want a checkpoint. Raises CheckpointBroken."""

    def end_backup(self, vm_id: str) -> None:
        """Abort our job; success when there is none."""

    def resume_stalled(self, vm_id: str) -> bool:
        """Let a VM go on that QEMU paused for an I/O error; whether it was. The failed request is repeated: a new error pauses it again."""

    def has_job(self, vm_id: str) -> bool:
        """Whether a job of whatever kind holds the VM: a backup, a migration, a snapshot."""

    def is_active(self, vm_id: str) -> bool:
        """Whether the VM has a QEMU, be it one that is just being started."""

    def is_migrating(self, vm_id: str) -> bool:
        """Whether the VM is on its way to or from this host, or off since it left; libvirt forgets the last when it is restarted."""

    def disk_images(self, vm_id: str, targets: Sequence[str]) -> Sequence[DiskImage]:
        """Those disks of a VM that is off, in that order. Raises DiskNeedsRunningVm."""

    def owns_active_job(self, vm_id: str, socket: Path) -> bool:
        """Whether the active backup job of the VM is the one that serves this socket (its backup XML names it)."""

    def active_backup_socket(self, vm_id: str) -> Path | None:
        """The unix socket of the VM's present pull-mode job; None when no backup job runs."""

    def checkpoints(self, vm_id: str) -> Sequence[CheckpointInfo]:
        """Oldest first."""

    def checkpoint_xml(self, vm_id: str, name: str) -> str:
        """What can redefine it elsewhere."""

    def redefine_checkpoint(self, vm_id: str, name: str, targets: Sequence[str]) -> None:
        """Make known here a checkpoint of a running VM that another host made: of its bitmaps those on these disks, which QEMU has.

        Raises CheckpointBroken, naming the disk where it can, when one is missing or inconsistent: then nothing is made known.
        """

    def delete_checkpoint(self, vm_id: str, name: str) -> None:
        """With its bitmaps; success when it is gone already."""

    def delete_bitmaps(self, vm_id: str, checkpoint: str, targets: Sequence[str]) -> None:
        """Those of a checkpoint that the hypervisor does not list any more, on these disks; success where there is none."""

    def freeze(self, vm_id: str, timeout_seconds: int) -> int:
        """Freeze the guest's file systems through its agent; returns how many."""

    def thaw(self, vm_id: str) -> None: ...

    def wake_agent(self, vm_id: str, timeout_seconds: int) -> bool:
        """Returns once the guest's agent has answered, so that it answers a freeze at once. Whether it runs beside a kernel like Linux.

        Raises FreezeFailed when nobody answers: nothing was asked then that could freeze it later.
        """

    def press_thaw_keys(self, vm_id: str) -> None:
        """Ask a Linux kernel, by the VM's keyboard, to thaw its file systems (SysRq J), where it takes such orders: nobody answers."""

    def agent_socket(self, vm_id: str) -> Path | None:
        """The unix socket of the guest agent's channel, served by QEMU; None when the VM is off or has no such channel."""

    def define(self, xml: str) -> str:
        """Define a persistent VM; returns its UUID. Refuses to redefine an existing one: RestoreRefused."""

    def undefine(self, vm_id: str) -> None:
        """Remove the definition, checkpoints' metadata and NVRAM; never the disks."""

    def start(self, vm_id: str) -> None: ...

    def stop(self, vm_id: str) -> None:
        """Pull the plug; success when it is off already."""

    def capabilities(self) -> Capabilities:
        """What restore's planner needs, and who QEMU runs as."""
