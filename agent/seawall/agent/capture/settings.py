"""Settings of captures: one frozen value, built by the agent's composition root."""

import sys
from dataclasses import dataclass
from pathlib import Path

GUARD_COMMAND = (sys.executable, "-P", "-m", "seawall.agent.capture.guard")
"""-P: no module is taken from the folder that the agent happens to be started in."""


@dataclass(frozen=True, slots=True)
class CaptureSettings:
    """Both directories are made when missing; QEMU gets its own sub-directory in each and nothing else."""

    run_dir: Path
    """Sockets and the journal of captures in progress; emptied by a reboot. Short: a socket's path has 107 bytes."""

    scratch_dir: Path
    """Old content of blocks that guests overwrite during a backup. Not on a RAM disk, not beside precious data."""

    hypervisor: str = "qemu:///system"
    """libvirt connection URI, for the guard."""

    scratch_quota_bytes: int | None = None
    """Per capture; None = a fifth of the disks' virtual size. Free space always bounds it."""

    scratch_stop_percent: int = 80
    """The backup is ended when this much of the quota is used."""

    freeze_seconds: int = 10
    """The longest time for which a guest is frozen, whatever happens to worker and agent; the thaw is sent after four fifths of it."""

    owner_silence_seconds: float = 900.0
    """The job is ended when its owner has not called check() for so long."""

    watch_seconds: float = 1.0
    """How often the guard looks at scratch and job, and the capture at its guard."""

    nbd_timeout_seconds: float = 60.0
    """The longest wait for one answer of QEMU's NBD server."""

    nbd_connections: int = 3
    """Per disk."""

    guard_command: tuple[str, ...] = GUARD_COMMAND
    """Executed with the capture's folder as its only argument."""
