"""Errors of the agent. Each carries what the operator sees: a stable reason, a sentence, a next step, and whether to try again."""

from enum import Enum


class FailureKind(Enum):
    """What the controller does with a failed attempt."""

    TRANSIENT = "transient"  # another attempt, counted
    CONFLICT = "conflict"  # requeued, not counted
    PERMANENT = "permanent"  # the run fails


class AgentError(Exception):
    """Root. `reason` is UPPER_SNAKE and stable; the message says what happened and why; `next_step` what to do now."""

    reason = "AGENT_ERROR"
    kind = FailureKind.TRANSIENT
    next_step = "See the agent's log on that host."

    def __init__(self, message: str, *, reason: str | None = None, next_step: str | None = None) -> None:
        super().__init__(message)
        self.reason = reason or self.reason
        self.next_step = next_step or self.next_step


class HypervisorError(AgentError):
    """libvirt or QEMU said no, or did not answer."""

    reason = "HYPERVISOR_ERROR"


class VmNotFound(AgentError):
    """No such VM on this host any more."""

    reason = "VM_NOT_FOUND"
    kind = FailureKind.CONFLICT


class VmNotRunning(AgentError):
    """The VM is powered off, and this operation needs a running one."""

    reason = "VM_NOT_RUNNING"
    kind = FailureKind.CONFLICT
    next_step = "Nothing: it is tried again, and takes the VM as it is then, running or not."


class VmStopped(HypervisorError):
    """The VM was stopped during its backup, or somebody aborted the job. Another attempt takes it as it is then."""

    reason = "VM_STOPPED"
    kind = FailureKind.CONFLICT
    next_step = "Nothing: the VM is backed up in a moment as it is then, running or not."


class VmStarted(AgentError):
    """The VM was off when its backup began, and was started, or its disks written, meanwhile. It runs on as if nothing had been."""

    reason = "VM_STARTED"
    kind = FailureKind.CONFLICT
    next_step = "Nothing: the VM is backed up in a moment as it is then."


class DiskNeedsRunningVm(AgentError):
    """A disk of a VM that is off which only the VM's own QEMU can open."""

    reason = "DISK_NEEDS_RUNNING_VM"
    kind = FailureKind.PERMANENT
    next_step = "Start the VM and run the backup again, or leave that disk out of its backups."


class VmBusy(AgentError):
    """Another job, not ours, holds the VM."""

    reason = "VM_BUSY"
    kind = FailureKind.CONFLICT


class VmMigrating(AgentError):
    """The VM is on its way to or from another host, or was left behind here by a migration."""

    reason = "VM_MIGRATING"
    kind = FailureKind.CONFLICT
    next_step = "Nothing: the VM is backed up once it has arrived, on the host where it runs then."


class CheckpointBroken(HypervisorError):
    """A bitmap is missing or inconsistent (power loss, killed QEMU). `disk` is its target, "" when libvirt did not say."""

    reason = "CHECKPOINT_BROKEN"

    def __init__(self, message: str, *, disk: str = "") -> None:
        super().__init__(message)
        self.disk = disk


class FreezeFailed(AgentError):
    """The policy requires a freeze and the guest did not freeze."""

    reason = "FREEZE_FAILED"

    def __init__(self, message: str, *, may_be_frozen: bool = True, next_step: str | None = None) -> None:
        """`may_be_frozen`: the guest got the order and may still carry it out; False when nobody there could have."""
        super().__init__(message, next_step=next_step)
        self.may_be_frozen = may_be_frozen


class ScratchFull(AgentError):
    """The backup was ended before the guest's own writes could fail."""

    reason = "SCRATCH_FULL"


class DiskUnreadable(AgentError):
    """A disk could not be read at this instant."""

    reason = "DISK_UNREADABLE"


class DiskUnwritable(AgentError):
    """A restored disk could not be written."""

    reason = "DISK_UNWRITABLE"
    next_step = "See the free space and the health of the target's file system on that host."


class TargetUnusable(DiskUnwritable):
    """Nothing can be restored to that place as it is now: trying again would end the same way."""

    kind = FailureKind.PERMANENT


class RestoreRefused(AgentError):
    """The planner found a clash; nothing was copied."""

    reason = "RESTORE_REFUSED"
    kind = FailureKind.PERMANENT


class Fenced(AgentError):
    """The controller gave this attempt up: stop, clean up, report nothing."""

    reason = "FENCED"


class Canceled(AgentError):
    """The operator asked for it."""

    reason = "CANCELED"


class ControllerUnreachable(AgentError):
    """Retries towards the controller are used up."""

    reason = "CONTROLLER_UNREACHABLE"
