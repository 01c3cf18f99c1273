"""When a running capture must end: the guest's writes must never fail for want of scratch space, and no job may outlive its owner. Pure."""

import os
from dataclasses import dataclass
from pathlib import Path

from seawall.agent.errors import AgentError, HypervisorError, ScratchFull
from seawall.agent.hypervisor.port import JobStatus

SMALL_BYTES = 1024 * 1024 * 1024  # below it a fifth would end backups of busy small VMs and save nothing worth having


LEAST_FREE_BYTES = 256 * 1024 * 1024  # what a busy guest overwrites between two looks


@dataclass(frozen=True, slots=True)
class Limits:
    """When a capture must end."""

    scratch_stop_bytes: int
    free_floor_bytes: int  # the scratch file system may not fall below
    owner_silence_seconds: float


@dataclass(frozen=True, slots=True)
class Sight:
    """One look."""

    status: JobStatus
    free_bytes: int
    silence_seconds: float  # since the owner last called check()


def limits_for(
    quota_bytes: int | None, stop_percent: int, virtual_bytes: int, free_bytes: int, silence_seconds: float
) -> Limits:
    """The default quota is a fifth of the disks, for small VMs up to all of them; what is free now bounds any quota."""
    default = max(virtual_bytes // 5, min(virtual_bytes, SMALL_BYTES))
    quota = min(default if quota_bytes is None else quota_bytes, free_bytes)
    stop = quota * stop_percent // 100
    return Limits(stop, quota - stop, silence_seconds)


def refuse_without_room(virtual_bytes: int, free_bytes: int) -> None:
    """Before the job begins: the first look after it would come too late. Raises ScratchFull."""
    needed = min(virtual_bytes, LEAST_FREE_BYTES)
    if free_bytes < needed:
        raise ScratchFull(
            f"Scratch has {free_bytes} bytes free, and a backup needs {needed} for what the guest overwrites meanwhile.",
            next_step="Free space there, or set another scratch folder for the agent on that host.",
        )


def judge(sight: Sight, limits: Limits) -> AgentError | None:
    """Why the capture must end now; None when it may go on."""
    used = sight.status.scratch_used_bytes
    if not sight.status.active:
        return HypervisorError(
            "The backup job is gone: the VM was stopped, or somebody aborted the job.",
            reason="VM_STOPPED",
            next_step="Start the VM if it should run; the next backup starts from the last committed point.",
        )
    if used > limits.scratch_stop_bytes or sight.free_bytes < limits.free_floor_bytes:
        return ScratchFull(
            f"The guest overwrote so much during the backup that scratch holds {used} bytes of the {limits.scratch_stop_bytes} "
            f"allowed ({sight.free_bytes} bytes are free there); it was ended before the guest's own writes could fail.",
            next_step="Give scratch more room, or back up when the VM writes less.",
        )
    if sight.silence_seconds > limits.owner_silence_seconds:
        return HypervisorError(
            f"The worker did not look after its backup job for {sight.silence_seconds:.0f} seconds.",
            reason="OWNER_SILENT",
        )
    return None


def free_bytes(folder: Path) -> int:
    """What an ordinary user may still write there."""
    state = os.statvfs(folder)
    return state.f_bavail * state.f_frsize
