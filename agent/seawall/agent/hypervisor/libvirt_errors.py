"""libvirt's errors as ours. It has few codes, so some are told by their words."""

import re

import libvirt

from seawall.agent.errors import AgentError, CheckpointBroken, HypervisorError, VmBusy, VmNotFound, VmNotRunning
from seawall.agent.hypervisor.port import AGENT_DISCONNECTED, UNREACHABLE

_AGENT_GONE = ("is not connected", "disappeared while")
_DISK_IN_MESSAGE = re.compile(r"disk '([^']+)'")


def mapped(error: libvirt.libvirtError) -> AgentError:
    """libvirt's error as ours, by its code."""
    code, message = error.get_error_code(), str(error.get_error_message() or error)
    if code == libvirt.VIR_ERR_NO_DOMAIN:
        return VmNotFound(f"The VM is not on this host: {message}.", next_step="See `seawall vm list` for where it is.")
    if code == libvirt.VIR_ERR_OPERATION_TIMEOUT:
        return VmBusy(
            f"Something else holds the VM: {message}.",
            next_step="See `virsh domjobinfo` on that host; another backup, a snapshot or a migration runs or was left behind.",
        )
    if code in (libvirt.VIR_ERR_CHECKPOINT_INCONSISTENT, libvirt.VIR_ERR_NO_DOMAIN_CHECKPOINT):
        found = _DISK_IN_MESSAGE.search(message)
        return CheckpointBroken(f"{message}.", disk=found.group(1) if found else "")
    if "domain is not running" in message:
        return VmNotRunning(f"The VM is paused or powered off: {message}.")
    if code == libvirt.VIR_ERR_AGENT_UNRESPONSIVE and any(words in message for words in _AGENT_GONE):
        return HypervisorError(f"libvirt: {message} (error {code}).", reason=AGENT_DISCONNECTED)
    if error.get_error_domain() == libvirt.VIR_FROM_RPC:
        return HypervisorError(
            f"libvirt does not run, or stopped meanwhile: {message}.",
            reason=UNREACHABLE,
            next_step="See that libvirtd (or virtqemud) runs on that host; it is tried again.",
        )
    return HypervisorError(f"libvirt: {message} (error {code}).")


def never_obeyed(error: AgentError) -> bool:
    """Whether no guest agent took the order: there is none, or it refused, as one does whose guest somebody else froze."""
    cause = error.__cause__
    return isinstance(error, VmNotRunning) or (
        isinstance(cause, libvirt.libvirtError)
        and (
            cause.get_error_code() == libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED
            or "is not connected" in str(cause)
            or "has been disabled" in str(cause)
        )
    )


_REFUSED = (libvirt.VIR_ERR_INTERNAL_ERROR, libvirt.VIR_ERR_OPERATION_UNSUPPORTED, libvirt.VIR_ERR_NO_SUPPORT)


def silent(error: libvirt.libvirtError) -> bool:
    """Whether nobody in the guest answers: no agent is there, it hangs, or the VM does not run. One that refuses has answered."""
    return error.get_error_code() not in _REFUSED


def bitmap_absent(error: libvirt.libvirtError) -> bool:
    """libvirt has no code of its own for it."""
    return error.get_error_code() == libvirt.VIR_ERR_INTERNAL_ERROR and "not found in backing chain" in str(error)
