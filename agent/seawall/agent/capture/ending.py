"""Ending what may never go on without us: a freeze, known by its mark, and a job, known by its socket.

Called by the guard, by a capture's end and by the sweep; every step may be repeated. Nothing is logged here: a log may block, and the guest
stands still meanwhile. Imports little, as the guard starts with it.
"""

from contextlib import suppress
from pathlib import Path

from seawall.agent.errors import VmNotFound, VmNotRunning
from seawall.agent.hypervisor.port import Hypervisor

OFF = ("shut off", "crashed")


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
    try:
        vm_id = mark.read_text()
    except OSError:
        return None
    if vm_id:  # else its writer died before it asked for the freeze
        thaw(hypervisor, vm_id)
    with suppress(OSError):
        mark.unlink(missing_ok=True)
    return vm_id or None


def _is_off(hypervisor: Hypervisor, vm_id: str) -> bool:
    try:
        return hypervisor.domain(vm_id).state in OFF
    except VmNotFound:
        return True
