"""What happens to disks between two backups of a running VM: each change is exact afterwards, and says why it was read as it was."""

import subprocess
from pathlib import Path

import pytest

from seawall.agent.capture.opening import open_capture
from seawall.agent.capture.settings import CaptureSettings
from seawall.agent.errors import VmStopped
from seawall.repository.clock import SystemClock
from seawall.repository.format.manifest import Root
from support.captured_vm import MIB, QCOW2_BYTES, Vm, a_request, capture, committed, content, overlaid, root_of
from support.libvirt_host import await_true, disk_xml

pytestmark = pytest.mark.system
pytest_plugins = ["support.libvirt_fixtures", "support.captured_vm_fixtures"]


def assert_exact(vm: Vm, settings: CaptureSettings, attempt: str, parent: Root, before: bytes, how: str) -> Root:
    """vda is read in this way, and what its point would hold is what the guest sees."""
    truth = vm.truth()
    with capture(vm, settings, attempt, parent) as taken:
        vda = taken.disks[0]
        assert vda.how == how, vda.why
        assert (overlaid(before, vda) if how == "bitmap" else content(vda)) == truth["vda"]
        taken.keep_checkpoint()
        taken.delete_older_checkpoints()
        return root_of(vm, list(taken.disks), taken.checkpoint)


def attach(vm: Vm, path: Path, target: str) -> None:
    text = vm.host.folder / f"{target}.xml"
    text.write_text(disk_xml(path, target, "qcow2"))
    vm.host.virsh("attach-device", vm.name, str(text), "--live", "--config")


def detach(vm: Vm, target: str) -> None:
    """By a stop: the guest's firmware never answers a hot unplug."""
    vm.hypervisor.stop(vm.vm_id)
    vm.host.virsh("detach-disk", vm.name, target, "--config")
    vm.hypervisor.start(vm.vm_id)


@pytest.mark.slow
def test_a_disk_that_is_added_taken_away_and_given_back(vm: Vm, settings: CaptureSettings) -> None:
    vm.io("vda", "write -P 1 0 8M")
    first, before = committed(vm, settings, "a1")
    added = vm.host.image(f"{vm.name}-added.qcow2", "qcow2", 8 * MIB)
    attach(vm, added, "vdc")
    vm.io("vdc", "write -P 2 0 1M")
    vm.io("vda", "write -P 3 2M 64k")
    with capture(vm, settings, "a2", first) as taken:
        assert {one.target: one.how for one in taken.disks} == {"vda": "bitmap", "vdb": "compare", "vdc": "full"}
        assert "new" in taken.disks[2].why and content(taken.disks[2]) == b"\2" * MIB + bytes(7 * MIB)
        vda = overlaid(before["vda"], taken.disks[0])
        taken.keep_checkpoint()
        taken.delete_older_checkpoints()
        second = root_of(vm, list(taken.disks), taken.checkpoint)
    vm.io("vdc", "write -P 4 4M 64k")
    with capture(vm, settings, "a3", second) as taken:
        assert taken.disks[2].how == "bitmap"
        assert overlaid(b"\2" * MIB + bytes(7 * MIB), taken.disks[2])[4 * MIB : 4 * MIB + 65536] == b"\4" * 65536
    detach(vm, "vdc")
    third = assert_exact(vm, settings, "a4", second, vda, "bitmap")
    assert [one.disk for one in third.disks] == ["vda", "vdb"]
    attach(vm, added, "vdc")
    with capture(vm, settings, "a5", third) as taken:
        assert {one.target: one.how for one in taken.disks} == {"vda": "bitmap", "vdb": "compare", "vdc": "full"}
        taken.keep_checkpoint()
        taken.delete_older_checkpoints()
    assert vm.checkpoint_names() == ["seawall-23456789-a4", "seawall-23456789-a5"]


def snapshot(vm: Vm, name: str) -> Path:
    """An external one of vda alone; its overlay."""
    overlay = vm.host.images / f"{vm.name}-{name}.qcow2"
    specs = ["--diskspec", f"vda,file={overlay}", "--diskspec", "vdb,snapshot=no"]
    vm.host.virsh("snapshot-create-as", vm.name, name, "--disk-only", "--no-metadata", *specs)
    return overlay


def commit(vm: Vm) -> None:
    vm.host.virsh("blockcommit", vm.name, "vda", "--active", "--pivot", "--wait")


def test_snapshots_and_commits_between_backups(vm: Vm, settings: CaptureSettings) -> None:
    base = vm.qcow2
    vm.io("vda", "write -P 1 0 8M")
    first, before = committed(vm, settings, "b1")
    vm.io("vda", "write -P 2 1M 64k")
    vm.qcow2 = snapshot(vm, "s1")
    vm.io("vda", "write -P 3 2M 64k")
    vm.io("vda", "discard 4M 64k")
    truth = vm.truth()["vda"]
    second = assert_exact(vm, settings, "b2", first, before["vda"], "bitmap")  # spans both layers
    vm.io("vda", "write -P 4 3M 64k")
    commit(vm)
    vm.qcow2 = base
    third = assert_exact(vm, settings, "b3", second, truth, "compare")  # the last point saw the overlay
    truth = vm.truth()["vda"]
    vm.io("vda", "write -P 5 5M 64k")
    snapshot(vm, "s2")
    vm.io("vda", "write -P 6 6M 64k")
    commit(vm)
    vm.io("vda", "write -P 7 7M 64k")
    assert_exact(vm, settings, "b4", third, truth, "bitmap")  # it never saw that one


@pytest.mark.slow
def test_a_revert_to_an_internal_snapshot(vm: Vm, settings: CaptureSettings) -> None:
    """QEMU refuses while bitmaps exist; once they are gone with their checkpoints, the next backup compares."""
    vm.hypervisor.stop(vm.vm_id)
    subprocess.run(["qemu-img", "snapshot", "-c", "before", str(vm.qcow2)], check=True)
    vm.hypervisor.start(vm.vm_id)
    vm.io("vda", "write -P 1 0 8M")
    first, _ = committed(vm, settings, "c1")
    vm.hypervisor.stop(vm.vm_id)
    refused = subprocess.run(["qemu-img", "snapshot", "-a", "before", str(vm.qcow2)], capture_output=True, text=True)
    assert refused.returncode != 0 and "bitmap" in refused.stderr
    for name in vm.checkpoint_names():
        subprocess.run(["qemu-img", "bitmap", "--remove", str(vm.qcow2), name], check=True)
    subprocess.run(["qemu-img", "snapshot", "-a", "before", str(vm.qcow2)], check=True)
    truth = vm.truth_of_files()["vda"]
    assert truth == bytes(QCOW2_BYTES)
    with capture(vm, settings, "c2", first) as taken:
        assert taken.disks[0].how == "compare" and content(taken.disks[0]) == truth
    vm.hypervisor.start(vm.vm_id)
    second = assert_exact(vm, settings, "c3", first, b"", "compare")
    vm.io("vda", "write -P 2 0 64k")
    assert_exact(vm, settings, "c4", second, truth, "bitmap")


@pytest.mark.slow
def test_a_disk_restored_in_place_is_compared(vm: Vm, settings: CaptureSettings) -> None:
    """Another file at the same path, without a bitmap; and the very file overwritten by an old copy of itself, bitmaps and all."""
    vm.io("vda", "write -P 1 0 8M")
    first, before = committed(vm, settings, "d1")
    vm.hypervisor.stop(vm.vm_id)
    copy = vm.host.folder / "copy.qcow2"
    subprocess.run(["cp", str(vm.qcow2), str(copy)], check=True)
    vm.hypervisor.start(vm.vm_id)
    vm.io("vda", "write -P 2 1M 64k")
    second = assert_exact(vm, settings, "d2", first, before["vda"], "bitmap")
    vm.io("vda", "write -P 3 2M 64k")
    vm.hypervisor.stop(vm.vm_id)
    subprocess.run(["cp", "--no-preserve=all", str(copy), str(vm.qcow2)], check=True)  # the same inode
    vm.hypervisor.start(vm.vm_id)
    third = assert_exact(vm, settings, "d3", second, b"", "compare")
    vm.hypervisor.stop(vm.vm_id)
    vm.qcow2.unlink()
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", str(copy), str(vm.qcow2)], check=True)
    vm.hypervisor.start(vm.vm_id)
    fourth = assert_exact(vm, settings, "d4", third, b"", "compare")
    truth = vm.truth()["vda"]
    vm.io("vda", "write -P 4 3M 64k")
    assert_exact(vm, settings, "d5", fourth, truth, "bitmap")


@pytest.mark.slow
def test_a_point_of_the_vm_that_was_off_after_a_power_loss_is_no_dead_end(vm: Vm, settings: CaptureSettings) -> None:
    """Its bitmaps are inconsistent, and the point that was taken of it while it was off names no checkpoint."""
    vm.io("vda", "write -P 1 0 1M")
    first, _ = committed(vm, settings, "e1")
    vm.hypervisor.stop(vm.vm_id)
    vm.hypervisor.start(vm.vm_id)
    vm.io("vda", "write -P 2 0 64k")
    vm.host.kill_qemu(vm.name)
    with capture(vm, settings, "e2", first) as taken:
        assert taken.disks[0].how == "compare" and taken.checkpoint is None
        second = root_of(vm, list(taken.disks), taken.checkpoint)
    vm.hypervisor.start(vm.vm_id)
    third = assert_exact(vm, settings, "e3", second, b"", "compare")
    truth = vm.truth()["vda"]
    assert vm.checkpoint_names() == ["seawall-23456789-e3"]
    vm.io("vda", "write -P 3 512k 64k")
    assert_exact(vm, settings, "e4", third, truth, "bitmap")


@pytest.mark.slow
def test_a_reset_during_the_backup_changes_nothing(vm: Vm, settings: CaptureSettings) -> None:
    vm.io("vda", "write -P 1 0 4M")
    truth = vm.truth()
    with capture(vm, settings, "f1") as taken:
        vm.host.virsh("reset", vm.name)
        vm.io("vda", "write -P 9 0 1M")
        assert {one.target: content(one) for one in taken.disks} == truth
        taken.check()


@pytest.mark.slow
def test_a_vm_that_is_paused_stays_so_and_one_that_stops_is_taken_off(vm: Vm, settings: CaptureSettings) -> None:
    vm.io("vda", "write -P 1 0 4M")
    vm.host.virsh("suspend", vm.name)
    truth = vm.truth()
    with capture(vm, settings, "g1") as taken:
        assert {one.target: content(one) for one in taken.disks} == truth
        assert vm.hypervisor.domain(vm.vm_id).state == "paused"
    assert vm.hypervisor.domain(vm.vm_id).state == "paused"
    with capture(vm, settings, "g2") as taken:
        vm.hypervisor.stop(vm.vm_id)
        with pytest.raises(VmStopped):
            content(taken.disks[0])
    with capture(vm, settings, "g3") as taken:
        assert {one.target: content(one) for one in taken.disks} == truth
        taken.check()


def test_a_vm_that_goes_off_while_its_backup_begins_is_taken_off(vm: Vm, settings: CaptureSettings) -> None:
    """Between the look at it and the order to libvirt."""
    vm.io("vda", "write -P 1 0 1M")
    truth = vm.truth()

    class Stopping(type(vm.hypervisor)):  # type: ignore[misc]
        def begin_backup(self, *arguments: object, **keywords: object) -> None:
            self.stop(vm.vm_id)
            super().begin_backup(*arguments, **keywords)

    hypervisor = Stopping(vm.host.uri)
    with open_capture(a_request(vm, "h1"), hypervisor, settings, SystemClock()) as taken:
        assert {one.target: content(one) for one in taken.disks} == truth
        taken.check()
    hypervisor.close()
    await_true(lambda: vm.hypervisor.domain(vm.vm_id).state == "shut off", "it stays off")
