"""Scratch files, made before the guest is frozen: libvirt would make them meanwhile, and waits for the file system each time."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from seawall.agent.disk.qcow2 import create_for
from seawall.agent.errors import AgentError, HypervisorError
from seawall.agent.hypervisor.port import BackupDisk

SECTOR_BYTES = 512
"""QEMU rounds a disk's size up to it."""


def made_before(disks: Sequence[BackupDisk], sizes: Sequence[int]) -> list[BackupDisk]:
    """The same, with their files: empty, of the disks' virtual sizes, of the user who owns their folder. Those of an earlier try go.

    Where a size is not known (0) libvirt makes all of them, as ever. Raises HypervisorError (SCRATCH_UNUSABLE).
    """
    for disk in disks:
        disk.scratch.unlink(missing_ok=True)
    if not all(sizes):
        return list(disks)
    for disk, size in zip(disks, sizes, strict=True):
        _make(disk.scratch, size)
    return [replace(disk, scratch_made=True) for disk in disks]


def _make(path: Path, size_bytes: int) -> None:
    try:
        folder = path.parent.stat()
        create_for(path, -(-size_bytes // SECTOR_BYTES) * SECTOR_BYTES, (folder.st_uid, folder.st_gid))
    except (AgentError, OSError) as error:
        raise HypervisorError(
            f"A scratch file could not be made: {error}",
            reason="SCRATCH_UNUSABLE",
            next_step="See that the agent may write to its scratch folder on that host; it is tried again.",
        ) from error
