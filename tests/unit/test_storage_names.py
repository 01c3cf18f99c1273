"""Names of what holds a disk: volume groups, devices, pools, file systems, of images and their backing files; and asking the host."""

from dataclasses import replace
from pathlib import Path

import pytest

from seawall.agent.control.convert import vm_to
from seawall.agent.disk.host_storages import HostStorages, read_mapped
from seawall.agent.disk.mounts import Mounts, parse_mounts
from seawall.agent.disk.storage_names import MappedDevice, StorageNames, volume_group
from seawall.agent.hypervisor.port import Domain, DomainDisk

MOUNTS = """1 0 8:1 / / rw - ext4 /dev/sda1 rw
2 1 0:5 / /dev rw - devtmpfs udev rw
3 2 0:6 / /dev/shm rw - tmpfs tmpfs rw
4 1 0:7 / /nas rw - nfs4 nas:/vol1 rw
5 1 8:2 / /srv rw - xfs /dev/sdb rw
"""
MAPPED = {
    "dm-0": MappedDevice("vg--fast-web--1", "LVM-abcdef"),
    "dm-1": MappedDevice("mpath-a", "mpath-36001405"),
    "dm-2": MappedDevice("luks-1f2e", "CRYPT-LUKS2-1f2e"),
    "dm-3": MappedDevice("vg0-tp-real", "LVM-abcdef-tpool"),
}
LINKS = {
    "/dev/vg-fast": "",
    "/dev/vg-fast/web-1": "../dm-0",
    "/dev/mapper/vg--fast-web--1": "../dm-0",
    "/dev/mapper/mpath-a": "../dm-1",
    "/dev/mapper/luks-1f2e": "../dm-2",
    "/dev/disk/by-id/wwn-1": "../../sdc",
    "/dev/disk/by-id/dm-name-vg--fast-web--1": "../../dm-0",
    "/dev/md/data": "../md127",
    "/srv/link": "/dev/vg-fast/web-1",
    "/dev/zvol/tank/vms/a": "../../../zd0",
    "/dev/rbd/pool/image": "../../rbd0",
}


@pytest.fixture
def names() -> StorageNames:
    return StorageNames(Mounts(parse_mounts(MOUNTS)), MAPPED, lambda path: LINKS.get(path, ""))


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("/dev/vg-fast/web-1", "/dev/vg-fast"),
        ("/dev/mapper/vg--fast-web--1", "/dev/vg-fast"),
        ("/dev/disk/by-id/dm-name-vg--fast-web--1", "/dev/vg-fast"),
        ("/dev/dm-0", "/dev/vg-fast"),
        ("/dev/dm-3", "/dev/vg0"),
        ("/srv/link", "/dev/vg-fast"),
        ("/dev/mapper/mpath-a", "/dev/mapper/mpath-a"),
        ("/dev/dm-1", "/dev/mapper/mpath-a"),
        ("/dev/mapper/luks-1f2e", "/dev/mapper/luks-1f2e"),
        ("/dev/vg-off/lv", "/dev/vg-off"),  # not active: there is no link yet
        ("/dev/mapper/vg--off-lv", "/dev/vg-off"),
        ("/dev/sdc", "/dev/sdc"),
        ("/dev/disk/by-id/wwn-1", "/dev/disk/by-id/wwn-1"),
        ("/dev/md/data", "/dev/md/data"),
        ("/dev/zvol/tank/vms/a", "/dev/zvol/tank"),
        ("/dev/rbd/pool/image", "rbd:pool"),
        ("/dev/rbd0", "/dev/rbd0"),
        ("/dev/shm/a.raw", "/dev/shm"),
        ("rbd:pool/image", "rbd:pool"),
        ("rbd:pool/namespace/image", "rbd:pool"),
        ("pool:default/a.qcow2", "pool:default"),
        ("iscsi:iqn.2026-01.example:disks/1", "iscsi:iqn.2026-01.example:disks"),
        ("/srv/web/a.raw", "/srv"),
        ("/nas/web/a.raw", "nfs:nas:/vol1"),
    ],
)
def test_what_holds_a_source(names: StorageNames, source: str, name: str) -> None:
    assert names.of(source) == name


@pytest.mark.parametrize(
    ("name", "group"),
    [("vg-lv", "vg"), ("a--b-c--d", "a-b"), ("vg-lv_cdata", "vg"), ("swap", ""), ("a--b", ""), ("", "")],
)
def test_volume_groups_by_the_names_of_device_mapper(name: str, group: str) -> None:
    assert volume_group(name) == group


def test_an_image_and_its_backing_files_count_once_each(names: StorageNames) -> None:
    chain = ("/srv/web/top.qcow2", "/srv/base/a.qcow2", "/nas/base/b.qcow2", "", "rbd:golden/c")
    assert names.of_chain(chain) == ("/srv", "nfs:nas:/vol1", "rbd:golden")
    assert names.of_chain(("",)) == ()


def test_a_name_that_is_no_text_can_be_sent() -> None:
    odd = parse_mounts("1 0 8:1 / / rw - ext4 a rw\n2 1 0:7 / /n rw - nfs nas:/v\udcff rw\n")
    (name,) = StorageNames(Mounts(odd), {}, lambda _: "").of_chain(("/n/a",))
    assert name == "nfs:nas:/v?"


def a_vm(*disks: DomainDisk) -> Domain:
    return Domain("11111111-1111-4111-8111-111111111111", "web", "running", disks)


def a_disk(source: str, *backing: str) -> DomainDisk:
    return DomainDisk("vda", "disk", "file", source, "qcow2", 1 << 30, False, False, False, backing=backing)


def test_an_inventory_reads_the_kernels_lists_once_and_tells_what_it_found(tmp_path: Path) -> None:
    table, devices = tmp_path / "mountinfo", tmp_path / "block"
    mapped = devices / "dm-0/dm"
    mapped.mkdir(parents=True)
    (mapped / "name").write_text("vg0-web\n")
    (mapped / "uuid").write_text("LVM-abc\n")
    (devices / "dm-1").mkdir()  # gone while we look
    (devices / "sda").mkdir()
    host = HostStorages(table, devices)
    vm = a_vm(a_disk("/nas/web/a.qcow2", "/elsewhere/base.qcow2"), a_disk("/dev/dm-0"), a_disk(""))
    assert host.located([vm]) == (vm,), "no list of mounts: nothing is said"
    table.write_text(MOUNTS)
    (told,) = host.located([vm])
    assert [disk.storages for disk in told.disks] == [("nfs:nas:/vol1", "/"), ("/dev/vg0",), ()]
    assert [list(disk.storages) for disk in vm_to(told).disks] == [["nfs:nas:/vol1", "/"], ["/dev/vg0"], []]
    assert replace(told, disks=tuple(replace(disk, storages=()) for disk in told.disks)) == vm
    table.write_text(MOUNTS.replace("nas:/vol1", "nas:/vol2"))
    assert host.located([vm])[0].disks[0].storages == ("nfs:nas:/vol2", "/")
    assert read_mapped(tmp_path / "none") == {}


def test_links_of_this_host_are_followed_and_its_own_mounts_read(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("/proc")
    (inside, through) = HostStorages().located(
        [a_vm(a_disk(str(tmp_path / "real/a"))), a_vm(a_disk(f"{tmp_path}/link/a"))]
    )
    assert inside.disks[0].storages != through.disks[0].storages == ("/proc",)
