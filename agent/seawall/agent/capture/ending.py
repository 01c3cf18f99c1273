"""Ending what may never go on without us: a freeze, known by its mark, and a job, known by its socket.

Called by the guard, by a capture's end and by the sweep; every step may be repeated. Nothing is logged here: a log may block, and the guest
stands still meanwhile. Imports little, as the guard starts with it.
"""

import os
import stat
from contextlib import suppress
from pathlib import Path

from seawall.agent.capture.names import SCRATCH_SUFFIX
from seawall.agent.errors import VmNotFound, VmNotRunning
from seawall.agent.hypervisor.port import Hypervisor

OFF = ("shut off", "crashed")
MARK_BYTES = 64


def end_job_at(hypervisor: Hypervisor, vm_id: str, socket: Path) -> bool:
    """End the VM's backup job if it is the one that serves this socket; whether there was one.

    A VM that QEMU paused for an I/O error goes on then: where scratch was full, its write is repeated and succeeds.
    """
    try:
        if not hypervisor.owns_active_job(vm_id, socket):
            return False
        hypervisor.end_backup(vm_id)
        hypervisor.resume_stalled(vm_id)
    except VmNotFound:
        return False
    return True


def empty_scratch(folder: Path) -> None:
    """Remove the scratch files of a job that is over: who shares the file system needs the room. Never raises."""
    with suppress(OSError):
        for file in folder.glob(f"*{SCRATCH_SUFFIX}"):
            file.unlink(missing_ok=True)


def thaw(hypervisor: Hypervisor, vm_id: str) -> None:
    """Returns once the guest is not frozen, as one that is off or gone. Raises AgentError when that cannot be said."""
    try:
        hypervisor.thaw(vm_id)
    except VmNotFound:
        return
    except VmNotRunning:  # libvirt says so of a paused VM too, and that one goes on frozen when it is resumed
        if not _is_off(hypervisor, vm_id):
            raise


def try_thaw(hypervisor: Hypervisor, mark: Path) -> str | None:
    """Thaw the VM that the mark names and remove the mark; the VM's id, None without a mark. Raises AgentError when the guest is silent."""
    vm_id = _read(mark)
    if vm_id is None:
        return None
    if vm_id:  # else its writer died before it asked for the freeze
        thaw(hypervisor, vm_id)
    with suppress(OSError):
        mark.unlink(missing_ok=True)
    return vm_id or None


def set_mark(mark: Path, vm_id: str) -> None:
    """Note down that the VM may be frozen. Raises OSError.

    The folder belongs to QEMU's user, who may have laid a link or a pipe there: nothing of that name is followed or waited for.
    """
    mark.unlink(missing_ok=True)
    descriptor = os.open(mark, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        os.write(descriptor, vm_id.encode())
    finally:
        os.close(descriptor)


def is_marked_elsewhere(mark: Path, vm_id: str) -> bool:
    """Whether an earlier attempt's mark names the VM: whoever thaws it for that one would do so in the midst of another freeze."""
    others = (one for one in mark.parent.parent.glob(f"*/{mark.name}") if one != mark)
    return any(_read(one) == vm_id for one in others)


def _read(mark: Path) -> str | None:
    """None: there is none."""
    try:
        descriptor = os.open(mark, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        is_ours = stat.S_ISREG(os.fstat(descriptor).st_mode)
        return os.read(descriptor, MARK_BYTES).decode(errors="replace") if is_ours else ""
    finally:
        os.close(descriptor)


def _is_off(hypervisor: Hypervisor, vm_id: str) -> bool:
    try:
        return hypervisor.domain(vm_id).state in OFF
    except VmNotFound:
        return True
