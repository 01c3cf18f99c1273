"""Captures of VMs that are off, under a real libvirt and QEMU: exact, by bitmap where there is one, and in nobody's way."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from seawall.agent.capture.opening import open_capture
from seawall.agent.capture.plan import BITMAP_WHY, OFF_BITMAP_WHY
from seawall.agent.capture.port import Capture
from seawall.agent.capture.settings import CaptureSettings
from seawall.agent.capture.sweep import sweep
from seawall.agent.errors import DiskNeedsRunningVm, FreezeFailed, VmBusy, VmStarted
from seawall.repository.clock import SystemClock
from support import capture_holder
from support.captured_vm import (
    MIB,
    QCOW2_BYTES,
    RAW_BYTES,
    Vm,
    a_request,
    capture,
    committed,
    content,
    left_behind,
    overlaid,
    root_of,
)
from support.libvirt_host import await_true

pytestmark = pytest.mark.system
pytest_plugins = ["support.libvirt_fixtures", "support.captured_vm_fixtures"]


def raises_started(taken: Capture) -> bool:
    try:
        taken.check()
    except VmStarted:
        return True
    return False


def define(vm: Vm, definition: str) -> None:
    """The VM, which is off, is this one from now on."""
    path = vm.host.folder / "defined.xml"
    path.write_text(definition)
    vm.host.virsh("define", str(path))


def test_bitmaps_go_on_over_points_of_a_vm_that_is_off(vm: Vm, settings: CaptureSettings) -> None:
    """running → off → off by bitmap, each compared whole. Both points of the VM that is off keep the first's checkpoint.

    Once the VM ran again nothing tells that its file went on from what the last point saw: that costs one compare.
    """
    vm.io("vda", "write -P 1 0 8M")
    vm.io("vdb", "write -P 2 0 4M")
    first, before = committed(vm, settings, "a1")
    vm.io("vda", "write -P 3 2M 64k")
    vm.io("vda", "discard 4M 1M")
    vm.io("vdb", "write -P 4 1M 1M")
    vm.hypervisor.stop(vm.vm_id)
    truth = vm.truth_of_files()
    parent, contents = first, before
    for attempt in ("a2", "a3"):
        with capture(vm, settings, attempt, parent) as taken:
            vda, vdb = taken.disks
            assert (vda.how, vda.why, vdb.how) == ("bitmap", OFF_BITMAP_WHY, "compare")
            clean = sum(one.length for one in vda.source.extents(0, QCOW2_BYTES) if not one.dirty)
            assert clean >= 2 * MIB, "the bitmap spares reading"
            assert overlaid(contents["vda"], vda) == truth["vda"] and content(vdb) == truth["vdb"]
            assert taken.checkpoint is not None and first.checkpoint is not None
            assert (taken.checkpoint.name, taken.checkpoint.disks) == (first.checkpoint.name, ("vda",))
            assert b"<name>" in taken.members["domain.xml"] and taken.warnings == ()
            taken.check()
            taken.keep_checkpoint()
            taken.delete_older_checkpoints()
            parent, contents = root_of(vm, list(taken.disks), taken.checkpoint), truth
        assert left_behind(settings, attempt) == []
    assert vm.hypervisor.domain(vm.vm_id).state == "shut off" and vm.checkpoint_names() == ["seawall-23456789-a1"]
    vm.hypervisor.start(vm.vm_id)
    vm.io("vda", "write -P 5 6M 64k")
    truth = vm.truth()
    with capture(vm, settings, "a4", parent) as taken:
        assert taken.disks[0].how == "compare" and "was written since" in taken.disks[0].why
        assert content(taken.disks[0]) == truth["vda"]
        taken.keep_checkpoint()
        taken.delete_older_checkpoints()
        parent, contents = root_of(vm, list(taken.disks), taken.checkpoint), truth
    assert vm.checkpoint_names() == ["seawall-23456789-a1", "seawall-23456789-a4"]
    vm.io("vda", "write -P 6 7M 64k")
    truth = vm.truth()
    with capture(vm, settings, "a5", parent) as taken:
        assert (taken.disks[0].how, taken.disks[0].why) == ("bitmap", BITMAP_WHY)
        assert overlaid(contents["vda"], taken.disks[0]) == truth["vda"]


def test_a_copy_from_before_a_point_of_the_vm_that_is_off_is_put_back_in_place(
    vm: Vm, settings: CaptureSettings
) -> None:
    """The same inode, and in it the bitmap of the checkpoint that this point carried on: it knows nothing of what the point saw."""
    vm.io("vda", "write -P 1 0 8M")
    first, before = committed(vm, settings, "j1")
    vm.hypervisor.stop(vm.vm_id)
    copy = vm.host.folder / "copy.qcow2"
    subprocess.run(["cp", str(vm.qcow2), str(copy)], check=True)
    vm.hypervisor.start(vm.vm_id)
    vm.io("vda", "write -P 2 2M 64k")
    vm.hypervisor.stop(vm.vm_id)
    with capture(vm, settings, "j2", first) as taken:
        assert taken.disks[0].how == "bitmap"
        second, contents = root_of(vm, list(taken.disks), taken.checkpoint), overlaid(before["vda"], taken.disks[0])
    subprocess.run(["cp", "--no-preserve=all", str(copy), str(vm.qcow2)], check=True)
    for attempt in ("j3", "j4"):
        truth = vm.truth_of_files()["vda"]
        with capture(vm, settings, attempt, second) as taken:
            vda = taken.disks[0]
            assert (overlaid(contents, vda) if vda.how == "bitmap" else content(vda)) == truth, vda.why
        if attempt == "j3":
            vm.hypervisor.start(vm.vm_id)
            vm.io("vda", "write -P 4 5M 64k")
            vm.io("vda", "flush")


def test_an_image_that_its_definition_lays_upon_another_file_than_its_header_does(
    vm: Vm, settings: CaptureSettings
) -> None:
    """libvirt takes the definition's word. qemu-nbd would read the header's."""
    vm.hypervisor.stop(vm.vm_id)
    lower = [vm.host.image(f"{vm.name}-{number}.raw", "raw", QCOW2_BYTES) for number in (1, 2)]
    for number, path in enumerate(lower, 1):
        path.write_bytes(bytes([number]) * QCOW2_BYTES)
    top = vm.host.image(f"{vm.name}-top.qcow2", "qcow2", QCOW2_BYTES, "-b", str(lower[0]), "-F", "raw")
    definition = vm.host.virsh("dumpxml", vm.name).replace(
        f"<source file='{vm.qcow2}'/>",
        f"<source file='{top}'/><backingStore type='file'><format type='raw'/><source file='{lower[1]}'/><backingStore/></backingStore>",
    )
    define(vm, definition)
    vm.hypervisor.start(vm.vm_id)
    with capture(vm, settings, "l1") as taken:
        assert content(taken.disks[0]) == bytes([2]) * QCOW2_BYTES
    vm.hypervisor.stop(vm.vm_id)
    with pytest.raises(DiskNeedsRunningVm, match="as its definition says"):
        capture(vm, settings, "l2")
    assert left_behind(settings, "l2") == []


def test_an_image_whose_data_are_in_another_file_is_not_opened(vm: Vm, settings: CaptureSettings) -> None:
    """Its header may name any file of the host, and our qemu-nbd is root."""
    vm.hypervisor.stop(vm.vm_id)
    data = vm.host.folder / "data.raw"
    image = vm.host.image(f"{vm.name}-data.qcow2", "qcow2", QCOW2_BYTES, "-o", f"data_file={data}")
    definition = vm.host.virsh("dumpxml", vm.name).replace(str(vm.qcow2), str(image))
    define(vm, definition)
    with pytest.raises(DiskNeedsRunningVm, match="in another file"):
        capture(vm, settings, "k1")
    assert left_behind(settings, "k1") == []


def test_an_image_of_several_files_is_not_read_while_the_vm_is_off(vm: Vm, settings: CaptureSettings) -> None:
    """A write to one that nobody watches would tear the point."""
    vm.hypervisor.stop(vm.vm_id)
    image = vm.host.image(f"{vm.name}.vmdk", "vmdk", RAW_BYTES, "-o", "subformat=twoGbMaxExtentSparse")
    definition = vm.host.virsh("dumpxml", vm.name).replace(str(vm.raw), str(image)).replace("type='raw'", "type='vmdk'")
    define(vm, definition)
    with pytest.raises(DiskNeedsRunningVm, match="whose extents are other files") as refused:
        capture(vm, settings, "v1")
    assert "Start the VM" in refused.value.next_step and left_behind(settings, "v1") == []


@pytest.mark.slow
def test_the_first_point_of_a_vm_may_be_taken_while_it_is_off(vm: Vm, settings: CaptureSettings) -> None:
    vm.io("vda", "write -P 1 0 1M")
    vm.hypervisor.stop(vm.vm_id)
    truth = vm.truth_of_files()
    with capture(vm, settings, "b1") as taken:
        assert [one.how for one in taken.disks] == ["full", "full"] and taken.checkpoint is None
        assert {one.target: content(one) for one in taken.disks} == truth
        first = root_of(vm, list(taken.disks), taken.checkpoint)
    vm.hypervisor.start(vm.vm_id)
    with capture(vm, settings, "b2", first) as taken:
        assert [one.how for one in taken.disks] == ["compare", "compare"] and taken.checkpoint is not None


def test_whoever_starts_the_vm_meanwhile_wins(vm: Vm, settings: CaptureSettings) -> None:
    """Started, written and stopped again between two looks: what was read is not used, and nothing stood in the VM's way."""
    vm.hypervisor.stop(vm.vm_id)
    with capture(vm, settings, "c1") as taken:
        content(taken.disks[0])
        taken.check()
        vm.hypervisor.start(vm.vm_id)
        vm.io("vda", "write -P 7 0 1M")
        await_true(lambda: raises_started(taken), "the capture gives way")
        assert raises_started(taken), "and stays so"
    assert vm.hypervisor.domain(vm.vm_id).state == "running" and left_behind(settings, "c1") == []
    vm.hypervisor.stop(vm.vm_id)
    with capture(vm, settings, "c2") as taken:
        vm.hypervisor.start(vm.vm_id)
        vm.io("vda", "write -P 8 0 1M")
        vm.hypervisor.stop(vm.vm_id)
        assert raises_started(taken), "it was off before and is off now, and its files say what was in between"


@pytest.mark.parametrize(
    "freeze", [pytest.param("never", marks=pytest.mark.slow), "try", pytest.param("require", marks=pytest.mark.slow)]
)
def test_a_saved_vm_keeps_its_memory(vm: Vm, settings: CaptureSettings, freeze: str) -> None:
    vm.io("vda", "write -P 1 0 1M")
    first, before = committed(vm, settings, "d1")
    vm.io("vda", "write -P 2 0 64k")
    vm.host.virsh("managedsave", vm.name)
    truth = vm.truth_of_files()
    request = replace(a_request(vm, "d2", first), freeze=freeze)
    if freeze == "require":
        with pytest.raises(FreezeFailed, match="saved"):
            open_capture(request, vm.hypervisor, settings, SystemClock())
        return
    with open_capture(request, vm.hypervisor, settings, SystemClock()) as taken:
        assert [reason for reason, _ in taken.warnings] == ["VM_SAVED"]
        assert taken.disks[0].how == "bitmap"
        assert overlaid(before["vda"], taken.disks[0]) == truth["vda"]
        point = root_of(vm, list(taken.disks), taken.checkpoint)
    assert vm.hypervisor.domain(vm.vm_id).saved
    vm.host.virsh("start", vm.name)
    assert "restored" in vm.host.virsh("domstate", vm.name, "--reason"), "it goes on where it was"
    vm.io("vda", "write -P 3 512k 64k")
    now = vm.truth()
    with capture(vm, settings, "d3", point) as taken:
        assert taken.disks[0].how == "compare"
        assert content(taken.disks[0]) == now["vda"]


def test_an_image_that_another_program_writes_is_not_read(vm: Vm, settings: CaptureSettings) -> None:
    """As where the VM's definition was left behind and it runs elsewhere from shared storage."""
    path = vm.qcow2
    vm.hypervisor.stop(vm.vm_id)
    other = Vm(vm.host, vm.hypervisor, f"{vm.name}-elsewhere", (path, vm.raw))
    try:
        with pytest.raises(VmBusy) as refused:
            capture(vm, settings, "e1")
        assert refused.value.reason == "DISK_IN_USE" and str(path) in str(refused.value)
    finally:
        vm.hypervisor.stop(other.vm_id)
        vm.hypervisor.undefine(other.vm_id)
    with capture(vm, settings, "e2") as taken:
        taken.check()


def test_a_worker_that_is_killed_leaves_the_vm_off_and_nothing_running(vm: Vm, settings: CaptureSettings) -> None:
    vm.hypervisor.stop(vm.vm_id)
    told: dict[str, object] = {"vm": vm.vm_id, "attempt": "f1", "freeze": "never", "go": ""}
    told["settings"] = {
        "run_dir": str(settings.run_dir),
        "scratch_dir": str(settings.scratch_dir),
        "hypervisor": vm.host.uri,
    }
    with subprocess.Popen(
        [sys.executable, capture_holder.__file__, json.dumps(told)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    ) as worker:
        assert worker.stdout is not None
        assert any(line.startswith("captured") for line in worker.stdout)
        assert len(servers_in(settings.run_dir / "captures" / "f1")) == 2
        worker.kill()
    await_true(lambda: servers_in(settings.run_dir / "captures" / "f1") == [], "its servers end with it")
    assert vm.hypervisor.domain(vm.vm_id).state == "shut off"
    sweep(vm.hypervisor, settings.run_dir, settings.scratch_dir, set(), set())
    assert left_behind(settings, "f1") == []
    vm.hypervisor.start(vm.vm_id)


def servers_in(folder: Path) -> list[str]:
    """Their command lines."""
    found = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = process.read_bytes().decode(errors="replace")
        except OSError:
            continue
        found += [text] if f"--socket={folder}/" in text else []
    return found


def test_an_overlay_made_since_the_last_point_is_compared_while_the_vm_is_off(
    vm: Vm, settings: CaptureSettings
) -> None:
    """Each layer has a bitmap of its own then, and only a running QEMU adds them up."""
    vm.io("vda", "write -P 1 0 1M")
    first, _ = committed(vm, settings, "g1")
    vm.io("vda", "write -P 2 0 64k")
    vm.host.virsh(
        "snapshot-create-as", vm.name, "s1", "--disk-only", "--diskspec", f"vda,file={vm.host.images}/{vm.name}-s1.qcow2",
        "--diskspec", "vdb,snapshot=no",
    )  # fmt: skip
    vm.io("vda", "write -P 3 128k 64k")
    vm.hypervisor.stop(vm.vm_id)
    vm.qcow2 = vm.host.images / f"{vm.name}-s1.qcow2"
    truth = vm.truth_of_files()
    with capture(vm, settings, "g2", first) as taken:
        assert taken.disks[0].how == "compare" and "is " in taken.disks[0].why
        assert content(taken.disks[0]) == truth["vda"]


@pytest.mark.slow
def test_a_crashed_guest_is_backed_up_as_it_stands(vm: Vm, settings: CaptureSettings) -> None:
    """A panicked guest whose QEMU is preserved for its owner to look at: it has a QEMU, so a job, and stays as it was."""
    definition = vm.host.virsh("dumpxml", vm.name, "--inactive")
    vm.hypervisor.stop(vm.vm_id)
    definition = definition.replace("<on_crash>destroy</on_crash>", "<on_crash>preserve</on_crash>")
    define(vm, definition.replace("</devices>", "<panic model='isa'/></devices>", 1))
    vm.hypervisor.start(vm.vm_id)
    vm.io("vda", "write -P 1 0 1M")
    vm.host.virsh("qemu-monitor-command", "--hmp", vm.name, "o /b 0x505 1")
    await_true(lambda: vm.hypervisor.domain(vm.vm_id).state == "crashed", "the guest has panicked")
    truth = vm.truth()
    with capture(vm, settings, "h1") as taken:
        assert {one.target: content(one) for one in taken.disks} == truth
        taken.check()
    assert vm.hypervisor.domain(vm.vm_id).state == "crashed"
    assert (
        json.loads(vm.host.virsh("qemu-monitor-command", vm.name, '{"execute":"query-status"}'))["return"]["status"]
        == "guest-panicked"
    )


@pytest.mark.slow
def test_a_backing_file_that_qemu_would_have_to_guess_about_is_not_opened(vm: Vm, settings: CaptureSettings) -> None:
    """A guest may have written a header into its raw disk that names any file of the host, and our qemu-nbd is root."""
    vm.hypervisor.stop(vm.vm_id)
    overlay = vm.host.image(f"{vm.name}-top.qcow2", "qcow2", QCOW2_BYTES, "-b", str(vm.raw), "-F", "raw")
    recorded, unknown = b"\xe2\x79\x2a\xca", b"\xe2\x79\x2a\xcb"
    overlay.write_bytes(overlay.read_bytes().replace(recorded, unknown, 1))
    definition = vm.host.virsh("dumpxml", vm.name).replace(str(vm.qcow2), str(overlay))
    define(vm, definition)
    with pytest.raises(DiskNeedsRunningVm, match="does not record"):
        capture(vm, settings, "i1")
    assert left_behind(settings, "i1") == []
