"""The libvirt adapter and the NBD source against the real things: names, errors, a daemon that restarts, a QEMU that hangs."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from seawall.agent.disk.nbd_source import NbdSource
from seawall.agent.errors import (
    CheckpointBroken,
    DiskUnreadable,
    HypervisorError,
    RestoreRefused,
    VmNotFound,
    VmNotRunning,
)
from seawall.agent.hypervisor.libvirt import LibvirtHypervisor
from seawall.agent.hypervisor.port import BackupDisk
from seawall.repository.clock import SystemClock
from support.libvirt_host import LibvirtHost, disk_xml, domain_xml

pytestmark = pytest.mark.system
pytest_plugins = ["support.libvirt_fixtures"]

MIB = 1024 * 1024
NOBODY = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def hypervisor(host: LibvirtHost) -> Iterator[LibvirtHypervisor]:
    hypervisor = LibvirtHypervisor(host.uri)
    yield hypervisor
    for domain in hypervisor.domains():
        hypervisor.stop(domain.vm_id)
        hypervisor.undefine(domain.vm_id)
    hypervisor.close()


@pytest.mark.parametrize("name", ["plain", "with space", 'it\'s "quoted"', "größe 東京", "a&b<c>;$(x)"])
def test_names_survive(host: LibvirtHost, hypervisor: LibvirtHypervisor, name: str) -> None:
    vm_id = hypervisor.define(domain_xml(name, ""))
    assert hypervisor.domain(vm_id).name == name
    assert [one.name for one in hypervisor.domains()] == [name]
    with pytest.raises(RestoreRefused):
        hypervisor.define(domain_xml(name, ""))


def test_errors_are_ours(host: LibvirtHost, hypervisor: LibvirtHypervisor) -> None:
    with pytest.raises(VmNotFound):
        hypervisor.domain(NOBODY)
    image = host.image("e.qcow2", "qcow2", MIB)
    vm_id = hypervisor.define(domain_xml("errors", disk_xml(image, "vda", "qcow2")))
    disk = BackupDisk("vda", host.folder / "e.scratch", "never-made", True)
    with pytest.raises(VmNotRunning):
        hypervisor.begin_backup(vm_id, [disk], host.folder / "e.sock", "c")
    hypervisor.end_backup(vm_id)
    hypervisor.delete_checkpoint(vm_id, "never-made")
    hypervisor.start(vm_id)
    with pytest.raises(CheckpointBroken) as caught:
        hypervisor.begin_backup(vm_id, [disk], host.folder / "e.sock", "c")
    assert caught.value.disk == "vda"
    assert hypervisor.active_backup_socket(vm_id) is None


def test_unreachable_daemon_and_one_that_comes_back(host: LibvirtHost, hypervisor: LibvirtHypervisor) -> None:
    with pytest.raises(HypervisorError):
        LibvirtHypervisor("qemu+unix:///system?socket=/nowhere").version()
    assert hypervisor.version().startswith("libvirt ")
    host.restart_daemon()
    assert hypervisor.domains() == []


def test_hung_qemu_does_not_hang_us(host: LibvirtHost, hypervisor: LibvirtHypervisor) -> None:
    image = host.image("h.qcow2", "qcow2", 8 * MIB)
    vm_id = hypervisor.define(domain_xml("hung", disk_xml(image, "vda", "qcow2")))
    hypervisor.start(vm_id)
    socket = host.folder / "h.sock"
    hypervisor.begin_backup(vm_id, [BackupDisk("vda", host.folder / "h.scratch", None, False)], socket, None)
    source = NbdSource(socket, "vda", SystemClock(), timeout_seconds=1)
    buffer = memoryview(bytearray(1000))
    source.read_into(500, buffer)  # any offset, any length
    host.signal_qemu("hung", signal.SIGSTOP)
    try:
        with pytest.raises(DiskUnreadable, match="within 1 seconds"):
            source.read_into(0, buffer)
        with pytest.raises(DiskUnreadable):  # the failed connection is not used again
            source.read_into(0, buffer)
    finally:
        host.signal_qemu("hung", signal.SIGCONT)
    source.read_into(0, buffer)
    with pytest.raises(DiskUnreadable, match="ends at"):
        source.read_into(8 * MIB - 1, buffer)
    with pytest.raises(DiskUnreadable, match="lacks"):
        NbdSource(socket, "vda", SystemClock(), bitmap="qemu:dirty-bitmap:backup-vda")
    source.close()
    hypervisor.end_backup(vm_id)


def test_missing_socket_is_unreadable(tmp_path: Path) -> None:
    with pytest.raises(DiskUnreadable):
        NbdSource(tmp_path / "none.sock", "vda", SystemClock())
