"""The hypervisor port over libvirt. Calls run with deadlines; libvirt's errors become ours here. Only this and libvirt_* import it."""

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import libvirt

from seawall.agent.errors import AgentError, FreezeFailed, HypervisorError, VmNotFound
from seawall.agent.hypervisor import libvirt_domain as vm
from seawall.agent.hypervisor import libvirt_host as host
from seawall.agent.hypervisor import libvirt_images as images
from seawall.agent.hypervisor import xml
from seawall.agent.hypervisor.deadline import DeadlineRunner
from seawall.agent.hypervisor.libvirt_errors import mapped, never_obeyed
from seawall.agent.hypervisor.port import BackupDisk, Capabilities, CheckpointInfo, DiskImage, Domain, FirmwareOffer
from seawall.agent.throttle.latency import Look
from seawall.repository.clock import Clock, SystemClock

T = TypeVar("T")

QUERY_TIMEOUT_SECONDS = 20.0
CHANGE_TIMEOUT_SECONDS = 75.0  # libvirt itself waits 30 s for a busy VM's lock, for some calls twice
COUNT_TIMEOUT_SECONDS = 2.0
THAW_ANSWER_SECONDS = 5
POLL_SECONDS = 0.05
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
        return self._query("version", host.version)

    def domains(self) -> Sequence[Domain]:
        return self._query("domains", lambda connection: host.present(connection.listAllDomains()))

    def domain(self, vm_id: str) -> Domain:
        return self._on_domain("domain", vm_id, vm.described)

    def domain_xml(self, vm_id: str) -> str:
        return self._on_domain("domain_xml", vm_id, vm.persistent_xml)

    def live_xml(self, vm_id: str) -> str:
        return self._on_domain("live_xml", vm_id, lambda domain: str(domain.XMLDesc(0)))

    def firmware(self, arch: str, machine: str) -> FirmwareOffer:
        return self._query("firmware", lambda connection: host.firmware(connection, arch, machine))

    def disk_targets(self, vm_id: str) -> Sequence[str]:
        return self._on_domain("disk_targets", vm_id, vm.disk_targets)

    def begin_backup(
        self,
        vm_id: str,
        disks: Sequence[BackupDisk],
        socket: Path,
        checkpoint: str | None,
        targets: Sequence[str] | None = None,
    ) -> None:
        targets = self.disk_targets(vm_id) if targets is None else targets
        backup = xml.backup_xml(disks, targets, socket)
        born = xml.checkpoint_xml(checkpoint, disks, targets) if checkpoint else None
        scratch_made = all(disk.scratch_made for disk in disks)
        self._on_domain(
            "begin_backup",
            vm_id,
            lambda domain: vm.begin_backup(domain, backup, born, scratch_made=scratch_made),
            timeout_seconds=CHANGE_TIMEOUT_SECONDS,
        )

    def create_checkpoint(self, vm_id: str, name: str, disks: Sequence[BackupDisk], targets: Sequence[str]) -> None:
        text = xml.checkpoint_xml(name, disks, targets)
        self._on_domain(
            "create_checkpoint",
            vm_id,
            lambda domain: vm.create_checkpoint(domain, text),
            timeout_seconds=CHANGE_TIMEOUT_SECONDS,
        )

    def end_backup(self, vm_id: str) -> None:
        self._on_domain("end_backup", vm_id, vm.abort_backup, timeout_seconds=CHANGE_TIMEOUT_SECONDS)
        deadline = self._clock.monotonic_seconds() + CHANGE_TIMEOUT_SECONDS
        while self._on_domain("end_backup", vm_id, vm.backup_xml) is not None:
            if self._clock.monotonic_seconds() > deadline:
                raise HypervisorError(f"The backup job of VM {vm_id} did not end after it was aborted.")
            self._clock.sleep_seconds(POLL_SECONDS)

    def resume_stalled(self, vm_id: str) -> bool:
        return self._on_domain("resume_stalled", vm_id, vm.resume_stalled, timeout_seconds=CHANGE_TIMEOUT_SECONDS)

    def has_job(self, vm_id: str) -> bool:
        return self._on_domain("has_job", vm_id, vm.has_job)

    def is_active(self, vm_id: str) -> bool:
        return self._on_domain("is_active", vm_id, lambda domain: bool(domain.isActive()))

    def is_migrating(self, vm_id: str) -> bool:
        return self._on_domain("is_migrating", vm_id, vm.is_migrating)

    def disk_images(self, vm_id: str, targets: Sequence[str]) -> Sequence[DiskImage]:
        return self._on_domain("disk_images", vm_id, lambda domain: images.disk_images(domain, targets))

    def owns_active_job(self, vm_id: str, socket: Path) -> bool:
        return self.active_backup_socket(vm_id) == socket

    def active_backup_socket(self, vm_id: str) -> Path | None:
        text = self._on_domain("active_backup_socket", vm_id, vm.backup_xml)
        return None if text is None else xml.backup_socket(text)

    def checkpoints(self, vm_id: str) -> Sequence[CheckpointInfo]:
        return self._on_domain("checkpoints", vm_id, vm.checkpoints)

    def checkpoint_xml(self, vm_id: str, name: str) -> str:
        return self._on_domain("checkpoint_xml", vm_id, lambda domain: vm.checkpoint_xml(domain, name))

    def redefine_checkpoint(self, vm_id: str, name: str, targets: Sequence[str]) -> None:
        self._on_domain(
            "redefine_checkpoint",
            vm_id,
            lambda domain: vm.redefine_checkpoint(domain, name, targets),
            timeout_seconds=CHANGE_TIMEOUT_SECONDS,
        )

    def delete_checkpoint(self, vm_id: str, name: str) -> None:
        self._on_domain(
            "delete_checkpoint",
            vm_id,
            lambda domain: vm.delete_checkpoint(domain, name),
            timeout_seconds=CHANGE_TIMEOUT_SECONDS,
        )

    def delete_bitmaps(self, vm_id: str, checkpoint: str, targets: Sequence[str]) -> None:
        self._on_domain(
            "delete_bitmaps",
            vm_id,
            lambda domain: vm.delete_bitmaps(domain, checkpoint, targets),
            timeout_seconds=CHANGE_TIMEOUT_SECONDS,
        )

    def freeze(self, vm_id: str, timeout_seconds: int) -> int:
        try:
            return self._on_domain(
                "freeze", vm_id, lambda domain: vm.freeze(domain, timeout_seconds), timeout_seconds + 1
            )
        except VmNotFound:
            raise
        except AgentError as error:  # VmNotRunning too: libvirt says that of a paused VM, whose agent cannot answer
            raise _not_frozen(error, may_be_frozen=not never_obeyed(error)) from error

    def thaw(self, vm_id: str) -> None:
        self._on_domain(
            "thaw",
            vm_id,
            lambda domain: vm.thaw(domain, THAW_ANSWER_SECONDS),
            timeout_seconds=CHANGE_TIMEOUT_SECONDS,
        )

    def wake_agent(self, vm_id: str, timeout_seconds: int) -> bool:
        try:
            return self._on_domain(
                "wake_agent", vm_id, lambda domain: vm.wake_agent(domain, timeout_seconds), timeout_seconds + 1
            )
        except VmNotFound:
            raise
        except AgentError as error:
            raise _not_frozen(error, may_be_frozen=False) from error

    def press_thaw_keys(self, vm_id: str) -> None:
        self._on_domain("press_thaw_keys", vm_id, vm.press_thaw_keys, timeout_seconds=COUNT_TIMEOUT_SECONDS)

    def block_counts(self, vm_id: str) -> Look:
        """What the guest's own requests to its disks took, since the VM started. Raises HypervisorError soon: it is asked all the time."""
        return self._on_domain("block_counts", vm_id, vm.block_counts, timeout_seconds=COUNT_TIMEOUT_SECONDS)

    def agent_socket(self, vm_id: str) -> Path | None:
        return self._on_domain(
            "agent_socket", vm_id, lambda domain: xml.agent_socket(xml.parse(str(domain.XMLDesc(0))))
        )

    def define(self, text: str) -> str:
        name, vm_id = host.identity(text)
        return self._query("define", lambda connection: host.define(connection, text, name, vm_id))

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
        return self._query("capabilities", host.capabilities)

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


def _not_frozen(error: AgentError, *, may_be_frozen: bool) -> FreezeFailed:
    return FreezeFailed(
        f"The guest did not freeze: {error}",
        may_be_frozen=may_be_frozen,
        next_step="See that qemu-guest-agent runs in the guest, or set the policy's freeze to `try`.",
    )
