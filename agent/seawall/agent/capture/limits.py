"""When a running capture must end: the guest's writes must never fail for want of scratch space, and no job may outlive its owner."""

import os
from dataclasses import dataclass
from pathlib import Path

from seawall.agent.capture.settings import USUAL_SHARE
from seawall.agent.errors import AgentError, HypervisorError, ScratchFull, VmStopped

SMALL_BYTES = 1024 * 1024 * 1024
"""Below it a fifth would end backups of busy small VMs and save nothing worth having."""
RESERVE_BYTES = 512 * 1024 * 1024
"""What a fast guest overwrites between the look that finds too much and the end of the job (measured: 6 MiB), on a loaded host too."""
FASTEST_BYTES_PER_SECOND = 2 * 1024 * 1024 * 1024
"""No guest is expected to overwrite more. Before half of the room could be gone at that rate, it is looked at again."""
SHORTEST_PAUSE_SECONDS = 0.02
JOB_GONE = "The backup job is gone: the VM was stopped, or somebody aborted the job."


@dataclass(frozen=True, slots=True)
class Limits:
    """When a capture must end."""

    scratch_stop_bytes: int
    free_floor_bytes: int  # the scratch file system may not fall below, unless scratch cannot grow by so much
    owner_silence_seconds: float
    most_bytes: int  # scratch never holds more


@dataclass(frozen=True, slots=True)
class Sight:
    """One look."""

    active: bool  # there is a job
    used_bytes: int
    free_bytes: int
    silence_seconds: float  # since the owner last called check()


def limits_for(
    quota_bytes: int | None,
    stop_percent: int,
    virtual_bytes: int,
    free_bytes: int,
    silence_seconds: float,
    share: float = USUAL_SHARE,
) -> Limits:
    """The default quota is a share (a fifth) of the disks, for small VMs up to all of them; what is free now bounds any quota.

    A fifth of that, and at least the reserve, stays free: a small quota does not make a guest slower.
    """
    default = max(int(virtual_bytes * share), min(virtual_bytes, SMALL_BYTES))
    quota = min(default if quota_bytes is None else quota_bytes, free_bytes)
    stop = quota * stop_percent // 100
    return Limits(stop, max(quota - stop, RESERVE_BYTES), silence_seconds, most_bytes(virtual_bytes))


def most_bytes(virtual_bytes: int) -> int:
    """What scratch can hold at most: each cluster of the disks once, and qcow2's tables."""
    return virtual_bytes + virtual_bytes // 4096 + 1024 * 1024


def refuse_without_room(virtual_bytes: int, free_bytes: int) -> None:
    """Before the job begins: the first look after it would come too late. Raises ScratchFull."""
    needed = min(most_bytes(virtual_bytes), 2 * RESERVE_BYTES)
    if free_bytes < needed:
        raise ScratchFull(
            f"Scratch has {free_bytes} bytes free, and a backup needs {needed} for what the guest overwrites meanwhile.",
            next_step="Free space there, or set another scratch folder for the agent on that host.",
        )


def room_bytes(used_bytes: int, free_bytes: int, limits: Limits) -> int:
    """By how much scratch may still grow; below 0: the capture must end."""
    return min(limits.scratch_stop_bytes - used_bytes, free_room_bytes(used_bytes, free_bytes, limits))


def free_room_bytes(used_bytes: int, free_bytes: int, limits: Limits) -> int:
    """The same as far as a guest's writes depend on it: a quota that is passed for a moment makes none fail."""
    return free_bytes - min(limits.free_floor_bytes, max(0, limits.most_bytes - used_bytes))


def pause_seconds(room: float, longest_seconds: float) -> float:
    """When to look at scratch again, with so much free room."""
    return max(SHORTEST_PAUSE_SECONDS, min(longest_seconds, room / 2 / FASTEST_BYTES_PER_SECOND))


def judge(sight: Sight, limits: Limits) -> AgentError | None:
    """Why the capture must end now; None when it may go on."""
    used = sight.used_bytes
    if not sight.active:
        return VmStopped(JOB_GONE)
    if room_bytes(used, sight.free_bytes, limits) < 0:
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
    """What an ordinary user may still write there. Raises OSError."""
    state = os.statvfs(folder)
    return state.f_bavail * state.f_frsize


def used_bytes(folder: Path) -> int:
    """What the files there hold. Raises OSError.

    Not what libvirt calls used (disk_temp_used): that counts zeroes too, which take no room, so a guest that fills a new disk would have
    no backup. By length: QEMU never makes a hole in scratch, and file systems tell of allocated blocks late, or of too many.
    """
    with os.scandir(folder) as files:
        return sum(_length(file) for file in files)


def _length(file: os.DirEntry[str]) -> int:
    try:
        return file.stat(follow_symlinks=False).st_size
    except FileNotFoundError:  # libvirt removes it at this moment: the job is over
        return 0
