"""Removing what one attempt left on the host. Called by a capture's end and by the sweep; every step may be repeated."""

import shutil
import stat
from contextlib import suppress
from pathlib import Path

import structlog

from seawall.agent.capture.ending import try_thaw
from seawall.agent.capture.names import SCRATCH_SUFFIX, SOCKET_SUFFIX, Places
from seawall.agent.errors import AgentError
from seawall.agent.hypervisor.port import Hypervisor

logger = structlog.get_logger(__name__)


def make_places(where: Places, owner: tuple[int, int] | None) -> None:
    """Folders that QEMU may write to and nobody else reads. Those above are ours, and QEMU may pass through."""
    for folder in (where.run, where.scratch):
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        for ours in (folder.parent, folder.parent.parent) if folder is where.run else (folder.parent,):
            ours.chmod(stat.S_IMODE(ours.stat().st_mode) | stat.S_IXGRP | stat.S_IXOTH)
        if owner is not None:
            shutil.chown(folder, *owner)


def remove_places(where: Places) -> None:
    """Sockets, mark, the guard's log and scratch of one attempt; a folder with anything else in it stays. Never raises."""
    ours = [where.frozen_mark, where.guard_log, *where.run.glob(f"*{SOCKET_SUFFIX}")]
    ours += where.scratch.glob(f"*{SCRATCH_SUFFIX}")
    with suppress(OSError):
        for path in ours:
            path.unlink(missing_ok=True)
    for folder in (where.run, where.scratch):
        with suppress(OSError):
            folder.rmdir()


def thaw_marked(hypervisor: Hypervisor, mark: Path) -> str | None:
    """Thaw the VM that the mark names and remove the mark; the VM's id. None when there is no mark, or the guest is silent."""
    try:
        return try_thaw(hypervisor, mark)
    except AgentError as error:
        logger.warning("guest.thaw_failed", mark=str(mark), error=str(error))
        return None
