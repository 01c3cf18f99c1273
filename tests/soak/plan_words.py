"""What a round of the soak is made of: frozen values that can be printed, compared, and carried out. Seconds and MiB."""

from dataclasses import dataclass
from enum import StrEnum

BOOT_MIB = 32
"""What the first disk of a VM boots from lies in front of its data."""


class Victim(StrEnum):
    """Who a fault happens to."""

    QEMU = "qemu"
    LIBVIRTD = "libvirtd"
    WORKER = "worker"
    SUPERVISOR = "supervisor"
    CONTROLLER = "controller"
    S3 = "s3"


class How(StrEnum):
    """What happens to it: kill -9 and later back; SIGSTOP and SIGCONT; no network; a tenth of its speed."""

    KILLED = "killed"
    STOPPED = "stopped"
    CUT = "cut"
    SLOWED = "slowed"


APPLICABLE = {
    Victim.QEMU: (How.KILLED, How.STOPPED, How.SLOWED),
    Victim.LIBVIRTD: (How.KILLED, How.STOPPED, How.SLOWED),
    Victim.WORKER: (How.KILLED, How.STOPPED, How.SLOWED),
    Victim.SUPERVISOR: (How.KILLED, How.STOPPED, How.CUT, How.SLOWED),
    Victim.CONTROLLER: (How.KILLED, How.STOPPED, How.CUT, How.SLOWED),
    Victim.S3: (How.KILLED, How.STOPPED, How.CUT, How.SLOWED),
}
"""QEMU, libvirtd and the worker have no network of their own: QEMU and libvirtd are spoken to over sockets, the worker is cut with S3."""


@dataclass(frozen=True)
class Fault:
    """`at_seconds` after its operation was ordered, undone `for_seconds` later."""

    victim: Victim
    how: How
    at_seconds: float
    for_seconds: float

    def __str__(self) -> str:
        return f"{self.victim} {self.how} at {self.at_seconds:.1f} s for {self.for_seconds:.1f} s"


class EventKind(StrEnum):
    """What the VM's owner does while the operation goes on. libvirt may refuse it then."""

    POWER_CUT = "power cut"
    SHUTDOWN = "shutdown"
    SUSPEND = "suspend"
    GROW = "grow"


@dataclass(frozen=True)
class Event:
    """On the step's VM; a VM that is off or paused goes on `for_seconds` later."""

    kind: EventKind
    at_seconds: float
    for_seconds: float
    target: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.target}".strip() + f" at {self.at_seconds:.1f} s for {self.for_seconds:.1f} s"


@dataclass(frozen=True)
class DiskPlan:
    """A disk: its target, format ("qcow2" or "raw"), MiB and sectors more, and the id that its content follows from (hexadecimal).

    `operations` are done before its guest begins: about 22 KiB each.
    """

    target: str
    format: str
    mib: int
    sectors: int
    disk_id: str
    operations: int = 0

    @property
    def boots(self) -> bool:
        return self.target == "vda"

    @property
    def length_bytes(self) -> int:
        return (self.mib << 20) + self.sectors * 512


class ChangeKind(StrEnum):
    """What is done to a VM in peace, before an operation."""

    ADD_DISK = "add disk"
    REMOVE_DISK = "remove disk"
    GROW_DISK = "grow disk"
    SNAPSHOT = "snapshot"
    POWER_OFF = "power off"
    POWER_ON = "power on"
    LOSE_CHECKPOINTS = "lose checkpoints"


@dataclass(frozen=True)
class Change:
    """To the VM of that number. `disk`: the one to add. `target`, `mib`: which one to remove, to grow by how much.

    `while_running`: without a stop of the VM.
    """

    kind: ChangeKind
    vm: int
    disk: DiskPlan | None = None
    target: str = ""
    mib: int = 0
    while_running: bool = True

    def __str__(self) -> str:
        what = f"{self.disk.target} ({self.disk.format}, {self.disk.mib} MiB)" if self.disk else self.target
        return f"{self.kind} vm{self.vm} {what}".strip() + ("" if self.while_running else ", off")


class OperationKind(StrEnum):
    """What Seawall is asked for."""

    BACKUP = "backup"
    TOGETHER = "together"
    RESTORE = "restore"
    DELETE = "delete"
    CANCEL = "cancel"


@dataclass(frozen=True)
class Operation:
    """`vm` is its number. `freeze`, `repository`: of a backup. `choice` (0 to 1) picks one of the points there are.

    `to`, `start`: of a restore. `after_seconds`: until it is canceled.
    """

    kind: OperationKind
    vm: int
    freeze: str = "try"
    repository: int = 0
    choice: float = 0.0
    to: str = "beta"
    start: bool = False
    after_seconds: float = 0.0

    def __str__(self) -> str:
        more = {
            OperationKind.BACKUP: f"--freeze {self.freeze} into {self.repository}",
            OperationKind.TOGETHER: "",
            OperationKind.RESTORE: f"to {self.to}" + (", started" if self.start else ""),
            OperationKind.DELETE: "and collect",
            OperationKind.CANCEL: f"after {self.after_seconds:.1f} s",
        }
        return f"{self.kind} vm{self.vm} {more[self.kind]}".strip()


@dataclass(frozen=True)
class Step:
    """Changes in peace, then an operation with what happens to it."""

    operation: Operation
    changes: tuple[Change, ...] = ()
    faults: tuple[Fault, ...] = ()
    event: Event | None = None

    def __str__(self) -> str:
        with_it = [*(str(one) for one in self.faults), *([str(self.event)] if self.event else [])]
        before = f"[{'; '.join(str(one) for one in self.changes)}] " if self.changes else ""
        return before + str(self.operation) + (f" under {', '.join(with_it)}" if with_it else "")


@dataclass(frozen=True)
class VmPlan:
    """A VM as it is made, running, on alpha. `rate`: operations a second that its guest writes."""

    name: str
    disks: tuple[DiskPlan, ...]
    rate: int


@dataclass(frozen=True)
class RoundPlan:
    """`seed` is the round's own ("7/12"); `megabits`: of alpha's way to S3, 0 for as fast as the machine."""

    seed: str
    vms: tuple[VmPlan, ...]
    steps: tuple[Step, ...]
    megabits: int = 0

    def lines(self) -> list[str]:
        disks = [
            f"{vm.name}: " + ", ".join(f"{one.target} {one.format} {one.mib} MiB + {one.sectors}" for one in vm.disks)
            for vm in self.vms
        ]
        return [
            f"round {self.seed}, {self.megabits or 'unlimited'} Mbit/s",
            *disks,
            *(str(step) for step in self.steps),
        ]
