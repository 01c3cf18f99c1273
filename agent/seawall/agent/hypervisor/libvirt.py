"""The hypervisor port over libvirt: the one module that imports it. Calls run with deadlines; libvirt's errors become ours here."""

import re
import threading
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import libvirt

from seawall.agent.errors import (
    AgentError,
    CheckpointBroken,
    FreezeFailed,
    HypervisorError,
    RestoreRefused,
    VmBusy,
    VmNotFound,
    VmNotRunning,
)
from seawall.agent.hypervisor import capabilities as host
from seawall.agent.hypervisor import xml
from seawall.agent.hypervisor.deadline import DeadlineRunner
from seawall.agent.hypervisor.port import (
    UNREACHABLE,
    BackupDisk,
    Capabilities,
    CheckpointInfo,
    Domain,
    DomainDisk,
)
from seawall.repository.clock import Clock, SystemClock

T = TypeVar("T")

QUERY_TIMEOUT_SECONDS = 20.0
CHANGE_TIMEOUT_SECONDS = 75.0  # libvirt itself waits 30 s for a busy VM's lock, for some calls twice
THAW_ANSWER_SECONDS = 5
POLL_SECONDS = 0.05

_STATES = {
    libvirt.VIR_DOMAIN_RUNNING: "running",
    libvirt.VIR_DOMAIN_BLOCKED: "running",
    libvirt.VIR_DOMAIN_PAUSED: "paused",
    libvirt.VIR_DOMAIN_SHUTDOWN: "in shutdown",
    libvirt.VIR_DOMAIN_SHUTOFF: "shut off",
    libvirt.VIR_DOMAIN_CRASHED: "crashed",
    libvirt.VIR_DOMAIN_PMSUSPENDED: "suspended",
}
_DISK_IN_MESSAGE = re.compile(r"disk '([^']+)'")
_UNDEFINE = (
    libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
    | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
    | libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
    | libvirt.VIR_DOMAIN_UNDEFINE_NVRAM
)


class LibvirtHypervisor:
    """One libvirt daemon. Opens its connection at the first call and again when the daemon was restarted."""

    def __init__(self, uri: str = "qemu:///system", clock: Clock | None = None) -> None:
        libvirt.registerErrorHandler(lambda _context, _error: None, None)  # else libvirt prints every error to stderr
        self._uri = uri
        self._clock = clock or SystemClock()
        self._runner = DeadlineRunner()
        self._lock = threading.Lock()
        self._connection: Any = None

    def close(self) -> None:
        """Let the connection go; the next call opens another."""
        with self._lock:
            connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(libvirt.libvirtError):
                connection.close()

    def version(self) -> str:
        return self._query("version", _version)

    def domains(self) -> Sequence[Domain]:
        return self._query("domains", lambda connection: _present(connection.listAllDomains()))

    def domain(self, vm_id: str) -> Domain:
        return self._on_domain("domain", vm_id, _domain)

    def domain_xml(self, vm_id: str) -> str:
        return self._on_domain("domain_xml", vm_id, _persistent_xml)

    def begin_backup(self, vm_id: str, disks: Sequence[BackupDisk], socket: Path, checkpoint: str | None) -> None:
        targets = [disk.target for disk in self.domain(vm_id).disks]
        backup = xml.backup_xml(disks, targets, socket)
        born = xml.checkpoint_xml(checkpoint, disks, targets) if checkpoint else None
        self._on_domain(
            "begin_backup", vm_id, lambda domain: _begin(domain, backup, born), timeout_seconds=CHANGE_TIMEOUT_SECONDS
        )

    def end_backup(self, vm_id: str) -> None:
        self._on_domain("end_backup", vm_id, _abort_backup, timeout_seconds=CHANGE_TIMEOUT_SECONDS)
        deadline = self._clock.monotonic_seconds() + CHANGE_TIMEOUT_SECONDS
        while self._on_domain("end_backup", vm_id, _backup_xml) is not None:
            if self._clock.monotonic_seconds() > deadline:
                raise HypervisorError(f"The backup job of VM {vm_id} did not end after it was aborted.")
            self._clock.sleep_seconds(POLL_SECONDS)

    def resume_stalled(self, vm_id: str) -> bool:
        return self._on_domain("resume_stalled", vm_id, _resume_stalled, timeout_seconds=CHANGE_TIMEOUT_SECONDS)

    def has_job(self, vm_id: str) -> bool:
        return self._on_domain("has_job", vm_id, _has_job)

    def owns_active_job(self, vm_id: str, socket: Path) -> bool:
        return self.active_backup_socket(vm_id) == socket

    def active_backup_socket(self, vm_id: str) -> Path | None:
        text = self._on_domain("active_backup_socket", vm_id, _backup_xml)
        return None if text is None else xml.backup_socket(text)

    def checkpoints(self, vm_id: str) -> Sequence[CheckpointInfo]:
        return self._on_domain("checkpoints", vm_id, _checkpoints)

    def checkpoint_xml(self, vm_id: str, name: str) -> str:
        return self._on_domain("checkpoint_xml", vm_id, lambda domain: _checkpoint_xml(domain, name))

    def delete_checkpoint(self, vm_id: str, name: str) -> None:
        self._on_domain(
            "delete_checkpoint",
            vm_id,
            lambda domain: _delete_checkpoint(domain, name),
            timeout_seconds=CHANGE_TIMEOUT_SECONDS,
        )

    def freeze(self, vm_id: str, timeout_seconds: int) -> int:
        def run(domain: Any) -> int:
            domain.agentSetResponseTimeout(timeout_seconds, 0)
            try:
                return int(domain.fsFreeze())
            finally:
                _wait_as_before(domain)

        try:
            return self._on_domain("freeze", vm_id, run, timeout_seconds=timeout_seconds + 1)
        except VmNotFound:
            raise
        except AgentError as error:  # VmNotRunning too: libvirt says that of a paused VM, whose agent cannot answer
            raise FreezeFailed(
                f"The guest did not freeze: {error}",
                may_be_frozen=not _never_obeyed(error),
                next_step="See that qemu-guest-agent runs in the guest, or set the policy's freeze to `try`.",
            ) from error

    def thaw(self, vm_id: str) -> None:
        def run(domain: Any) -> None:
            domain.agentSetResponseTimeout(THAW_ANSWER_SECONDS, 0)
            try:
                domain.fsThaw()
            finally:
                _wait_as_before(domain)

        self._on_domain("thaw", vm_id, run, timeout_seconds=CHANGE_TIMEOUT_SECONDS)

    def agent_socket(self, vm_id: str) -> Path | None:
        return self._on_domain(
            "agent_socket", vm_id, lambda domain: xml.agent_socket(xml.parse(str(domain.XMLDesc(0))))
        )

    def define(self, text: str) -> str:
        name, vm_id = _identity(text)
        return self._query("define", lambda connection: _define(connection, text, name, vm_id))

    def undefine(self, vm_id: str) -> None:
        self._on_domain("undefine", vm_id, lambda domain: domain.undefineFlags(_UNDEFINE))

    def start(self, vm_id: str) -> None:
        self._on_domain("start", vm_id, lambda domain: domain.create(), timeout_seconds=CHANGE_TIMEOUT_SECONDS)

    def stop(self, vm_id: str) -> None:
        def run(domain: Any) -> None:
            if domain.isActive():
                domain.destroy()

        self._on_domain("stop", vm_id, run, timeout_seconds=CHANGE_TIMEOUT_SECONDS)

    def capabilities(self) -> Capabilities:
        return self._query("capabilities", _capabilities)

    def _on_domain(
        self, what: str, vm_id: str, function: Callable[[Any], T], timeout_seconds: float = QUERY_TIMEOUT_SECONDS
    ) -> T:
        return self._query(
            what, lambda connection: function(connection.lookupByUUIDString(vm_id)), timeout_seconds=timeout_seconds
        )

    def _query(self, what: str, function: Callable[[Any], T], timeout_seconds: float = QUERY_TIMEOUT_SECONDS) -> T:
        """Run it on the connection, with a deadline, libvirt's errors mapped."""
        try:
            return self._runner.run(what, lambda: function(self._connected()), timeout_seconds)
        except libvirt.libvirtError as error:
            raise mapped(error) from error

    def _connected(self) -> Any:
        """The connection; a new one when the daemon went away since the last call, which only asking it can tell."""
        with self._lock:
            if self._connection is not None:
                with suppress(libvirt.libvirtError):
                    self._connection.getLibVersion()
                    return self._connection
            self._connection = libvirt.open(self._uri)
            return self._connection


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
    if error.get_error_domain() == libvirt.VIR_FROM_RPC:
        return HypervisorError(
            f"libvirt does not run, or stopped meanwhile: {message}.",
            reason=UNREACHABLE,
            next_step="See that libvirtd (or virtqemud) runs on that host; it is tried again.",
        )
    return HypervisorError(f"libvirt: {message} (error {code}).")


def _wait_as_before(domain: Any) -> None:
    """For the guest agent's answers: as long as it takes, which is where libvirt starts. It keeps what is set, for everybody."""
    with suppress(libvirt.libvirtError):
        domain.agentSetResponseTimeout(libvirt.VIR_DOMAIN_AGENT_RESPONSE_TIMEOUT_BLOCK, 0)


def _never_obeyed(error: AgentError) -> bool:
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


def _version(connection: Any) -> str:
    return f"libvirt {_dotted(connection.getLibVersion())}, QEMU {_dotted(connection.getVersion())}"


def _dotted(number: int) -> str:
    return f"{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}"


def _present(domains: Sequence[Any]) -> list[Domain]:
    """Those that are still there when asked."""
    found = []
    for domain in domains:
        try:
            found.append(_domain(domain))
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:
                raise
    return found


def _domain(domain: Any) -> Domain:
    state = _STATES.get(domain.state()[0], "unknown")
    disks = tuple(_with_capacity(domain, disk) for disk in xml.disks_of(xml.parse(domain.XMLDesc(0))))
    return Domain(vm_id=domain.UUIDString(), name=domain.name(), state=state, disks=disks)


def _with_capacity(domain: Any, disk: DomainDisk) -> DomainDisk:
    if not disk.source:
        return disk
    try:
        capacity = int(domain.blockInfo(disk.target)[0])
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            raise
        return disk  # a missing file, or a network disk of a VM that is off
    return replace(disk, capacity_bytes=capacity)


def _persistent_xml(domain: Any) -> str:
    return str(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE if domain.isPersistent() else 0))


def _begin(domain: Any, backup: str, checkpoint: str | None) -> None:
    if not domain.isActive():
        raise VmNotRunning(f"The VM {domain.name()!r} is powered off; libvirt backs up running VMs alone.")
    domain.backupBegin(backup, checkpoint, 0)


def _abort_backup(domain: Any) -> None:
    """Never aborts another kind of job: a migration is not ours to end."""
    if _backup_xml(domain) is None:
        return
    try:
        domain.abortJob()
    except libvirt.libvirtError:
        if _backup_xml(domain) is not None:  # else it ended meanwhile
            raise


def _resume_stalled(domain: Any) -> bool:
    if domain.state() != [libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_IOERROR]:
        return False
    domain.resume()
    return True


def _backup_xml(domain: Any) -> str | None:
    try:
        return str(domain.backupGetXMLDesc(0))
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN_BACKUP or not domain.isActive():
            return None
        raise


def _has_job(domain: Any) -> bool:
    return bool(domain.isActive()) and domain.jobStats().get("type") not in (None, libvirt.VIR_DOMAIN_JOB_NONE)


def _checkpoints(domain: Any) -> list[CheckpointInfo]:
    flags = libvirt.VIR_DOMAIN_CHECKPOINT_LIST_TOPOLOGICAL
    return [CheckpointInfo(one.getName(), one.getXMLDesc(0)) for one in domain.listAllCheckpoints(flags)]


def _checkpoint_xml(domain: Any, name: str) -> str:
    return str(domain.checkpointLookupByName(name).getXMLDesc(0))


def _delete_checkpoint(domain: Any, name: str) -> None:
    try:
        checkpoint = domain.checkpointLookupByName(name)
        try:
            checkpoint.delete(0)
        except libvirt.libvirtError as error:
            if not _bitmap_absent(error):
                raise
            # Killed before QEMU ever wrote the bitmap to the file, or the file is another: on this disk there is nothing left to delete.
            _delete_disk_by_disk(domain, checkpoint)
    except libvirt.libvirtError as error:
        if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN_CHECKPOINT:
            raise


def _delete_disk_by_disk(domain: Any, checkpoint: Any) -> None:
    """Else the bitmaps of the other disks stay for ever: libvirt stops at the first that is absent."""
    text = str(checkpoint.getXMLDesc(0))
    checkpoint.delete(libvirt.VIR_DOMAIN_CHECKPOINT_DELETE_METADATA_ONLY)
    for target in sorted(xml.checkpoint_targets(text)):
        alone = domain.checkpointCreateXML(
            xml.checkpoint_of_one(text, target), libvirt.VIR_DOMAIN_CHECKPOINT_CREATE_REDEFINE
        )
        try:
            alone.delete(0)
        except libvirt.libvirtError as error:
            alone.delete(libvirt.VIR_DOMAIN_CHECKPOINT_DELETE_METADATA_ONLY)
            if not _bitmap_absent(error):
                raise


def _bitmap_absent(error: libvirt.libvirtError) -> bool:
    """libvirt has no code of its own for it."""
    return error.get_error_code() == libvirt.VIR_ERR_INTERNAL_ERROR and "not found in backing chain" in str(error)


def _identity(text: str) -> tuple[str, str]:
    """Name and UUID in a `<domain>`; the UUID is "" when libvirt shall make one."""
    root = xml.parse(text)
    vm_id = root.findtext("uuid", "").strip()
    try:
        return root.findtext("name", ""), str(uuid.UUID(vm_id)) if vm_id else ""
    except ValueError as error:
        raise RestoreRefused(f"The VM's definition has a malformed UUID: {vm_id!r}.") from error


def _define(connection: Any, text: str, name: str, vm_id: str) -> str:
    if _known(connection.lookupByName, name) or (vm_id and _known(connection.lookupByUUIDString, vm_id)):
        raise RestoreRefused(
            f"A VM named {name!r} or with UUID {vm_id} exists on this host; it is not redefined.",
            reason="VM_EXISTS",
            next_step="Restore under another name with a new identity.",
        )
    return str(connection.defineXML(text).UUIDString())


def _known(lookup: Callable[[str], Any], key: str) -> bool:
    try:
        lookup(key)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            return False
        raise
    return True


def _capabilities(connection: Any) -> Capabilities:
    text = connection.getCapabilities()
    return Capabilities(
        host_arch=host.host_arch(text),
        kvm_arches=host.kvm_arches(text),
        emulators=host.emulators(text),
        machines=host.machines(text),
        networks=frozenset(network.name() for network in connection.listAllNetworks()),
        bridges=frozenset(path.parent.name for path in Path("/sys/class/net").glob("*/bridge")),
        mac_owners=_mac_owners(connection),
        qemu_owner=host.qemu_owner(text),
    )


def _mac_owners(connection: Any) -> dict[str, str]:
    owners: dict[str, str] = {}
    for domain in connection.listAllDomains():
        try:
            text = domain.XMLDesc(0)
        except libvirt.libvirtError as error:
            if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
                continue
            raise
        owners.update(dict.fromkeys(xml.mac_addresses(xml.parse(text)), domain.name()))
    return owners
