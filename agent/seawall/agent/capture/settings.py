"""Settings of captures: one frozen value, built by the agent's composition root."""

import sys
from dataclasses import dataclass, replace
from pathlib import Path

USUAL_SHARE = 0.2
SHORTEST_FREEZE_SECONDS = 2.0
"""libvirt counts the time of a guest's agent in whole seconds: one for the freeze, one for the thaw."""
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

    scratch_share: float = USUAL_SHARE
    """Of the disks' virtual size: the default quota."""

    scratch_stop_percent: int = 80
    """The backup is ended when this much of the quota is used."""

    freeze_seconds: float = 10
    """The longest time for which a guest is frozen, whatever happens to worker and agent; the thaw is sent after four fifths of it."""

    owner_silence_seconds: float = 900.0
    """The job is ended when its owner has not called check() for so long."""

    hold_seconds: float = 0.0
    """How long the job of a worker that was killed is kept, within the limits of scratch, for the next worker of the same run."""

    watch_seconds: float = 1.0
    """How often the guard looks at scratch and job, and the capture at its guard."""

    nbd_timeout_seconds: float = 60.0
    """The longest wait for one answer of QEMU's NBD server."""

    nbd_connections: int = 3
    """Per disk."""

    swtpm_dir: Path = Path("/var/lib/libvirt/swtpm")
    """Where libvirt keeps the contents of emulated TPMs, by the UUIDs of their VMs."""

    guard_command: tuple[str, ...] = GUARD_COMMAND
    """Executed with the capture's folder as its only argument."""

    def wanted(self, freeze_limit_ms: int, scratch_quota_bytes: int, scratch_share: float) -> "CaptureSettings":
        """The same, but for what one backup wants otherwise; 0: it does not care. What the host allows is not widened."""
        quotas = [one for one in (scratch_quota_bytes, self.scratch_quota_bytes) if one]
        limit = max(freeze_limit_ms / 1000, SHORTEST_FREEZE_SECONDS) if freeze_limit_ms else self.freeze_seconds
        return replace(
            self,
            freeze_seconds=min(limit, self.freeze_seconds),
            scratch_quota_bytes=min(quotas, default=None),
            scratch_share=scratch_share or self.scratch_share,
        )
