"""Where the disks of real VMs lie, as the inventory tells it: the kernel's own answer is what the names are held against."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from seawall.agent.disk.host_storages import MOUNTS, HostStorages
from seawall.agent.hypervisor.libvirt import LibvirtHypervisor
from support.libvirt_host import LibvirtHost, disk_xml, domain_xml

pytestmark = pytest.mark.system
pytest_plugins = ["support.libvirt_fixtures"]

MIB = 1024 * 1024
MEMORY = Path("/dev/shm")
NAS = "999999 {root} 0:999 / {folder} rw,relatime shared:9 - nfs4 nas:/vol1 rw,vers=4.2,hard\n"


@pytest.fixture
def elsewhere() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        yield Path(folder)


def storages(hypervisor: LibvirtHypervisor, host: HostStorages, name: str) -> list[tuple[str, ...]]:
    (vm,) = (vm for vm in host.located(hypervisor.domains()) if vm.name == name)
    return [disk.storages for disk in vm.disks]


def test_running_vms_tell_of_their_backing_files_and_others_of_their_images(
    host: LibvirtHost, hypervisor: LibvirtHypervisor, elsewhere: Path, tmp_path: Path
) -> None:
    (host.images / "web").mkdir()
    (host.images / "link").symlink_to(elsewhere)
    base = elsewhere / host.image("link/base.qcow2", "qcow2", 8 * MIB).name
    top = host.image("web/top.qcow2", "qcow2", 8 * MIB, "-b", str(base), "-F", "qcow2")
    plain = host.image("link/plain.raw", "raw", 8 * MIB)
    device = "<disk type='block' device='disk'><source dev='/dev/loop-seawall'/><target dev='vdc' bus='virtio'/></disk>"
    network = (
        "<disk type='network' device='disk'><source protocol='rbd' name='pool/image'><host name='mon'/></source>"
        "<target dev='vdd' bus='virtio'/></disk>"
    )
    off = hypervisor.define(domain_xml("others", device + network))
    vm_id = hypervisor.define(domain_xml("web", disk_xml(top, "vda", "qcow2") + disk_xml(plain, "vdb", "raw")))
    try:
        real = HostStorages()
        ((own,), through) = storages(hypervisor, real, "web")
        assert os.stat(own).st_dev == os.stat(top).st_dev
        assert Path(own).is_mount()
        assert through == (str(MEMORY),), "a link is followed"
        assert storages(hypervisor, real, "others") == [("/dev/loop-seawall",), ("rbd:pool",)]

        hypervisor.start(vm_id)
        assert storages(hypervisor, real, "web") == [(own, str(MEMORY)), (str(MEMORY),)]

        table = tmp_path / "mountinfo"
        text = MOUNTS.read_text()
        root = [line.split()[0] for line in text.splitlines() if line.split()[4] == own]
        table.write_text(text + NAS.format(root=root[-1], folder=host.images))
        assert storages(hypervisor, HostStorages(table), "web") == [("nfs:nas:/vol1", str(MEMORY)), ("nfs:nas:/vol1",)]
    finally:
        hypervisor.stop(vm_id)
        hypervisor.undefine(vm_id)
        hypervisor.undefine(off)
