"""The main job through the public command line: back up a running VM, lose its host, restore it on another, byte for byte."""

from pathlib import Path

import pytest
from deploy.lab.guest_image import GuestImage
from deploy.lab.guest_vm import GuestVm
from deploy.lab.laboratory import Laboratory
from deploy.lab.truth import compare_point, take_point

pytest_plugins = ["support.laboratory"]
pytestmark = [pytest.mark.system, pytest.mark.timeout(280)]


def test_a_lost_vm_comes_back_on_another_host_as_it_was(
    fleet: Laboratory, guest: GuestVm, guest_image: GuestImage, tmp_path: Path
) -> None:
    fleet.await_vm(guest.name, "alpha")
    lies_on = {key for disk in fleet.seawall_json("vm", "show", guest.name)["disks"] for key in disk["storages"]}
    assert lies_on and all(key.startswith("alpha:/") for key in lies_on)
    assert "alpha:/var/lib/libvirt/images" not in lies_on, "a file system is told, not a directory"
    guest.await_writes(20)
    full = take_point(fleet, guest, guest_image, tmp_path / "full")
    guest.await_writes(60)
    for _ in range(2):
        guest.command("trim")
    incremental = take_point(fleet, guest, guest_image, tmp_path / "incremental")

    assert full.point.kind == "full"
    assert {disk.how for disk in full.point.disks} == {"full"}
    assert incremental.point.kind == "incremental"
    assert {disk.disk: disk.how for disk in incremental.point.disks} == {"vda": "bitmap", "vdb": "compare"}
    before, after = ({disk.disk: disk for disk in taken.point.disks} for taken in (full, incremental))
    assert after["vda"].read_bytes < before["vda"].read_bytes
    assert after["vdb"].read_bytes > after["vdb"].new_bytes, "a disk without a bitmap is read whole, its holes apart"
    assert all(after[disk].new_bytes < before[disk].new_bytes for disk in ("vda", "vdb"))
    assert guest.hypervisor.virsh("checkpoint-list", guest.name, "--name").split(), (
        "the next run starts from a checkpoint"
    )

    frozen = fleet.seawall_json("backup", guest.name, "--repo", "main", "--freeze", "require", "--wait")["runs"][0]
    assert fleet.seawall_json("point", "show", frozen["point_id"])["guest_frozen"]
    guest.await_writes(5)

    guest.destroy()
    guest.erase()
    restored = GuestVm(guest.name, fleet.hypervisors["beta"])
    assert fleet.restore(incremental.point.point_id, "--to", "beta", "--start").succeeded
    verdict = restored.await_verdict()
    assert verdict.ok, verdict
    assert verdict.seq == incremental.seq
    restored.await_writes(5)

    identical = {"vda": "", "vdb": ""}
    assert compare_point(fleet, "beta", full) == identical
    assert compare_point(fleet, "beta", incremental) == identical
