"""Captures of real VMs under a real libvirt and QEMU: instants, bitmaps, scratch and what is left behind."""

from dataclasses import replace
from pathlib import Path

import pytest

from seawall.agent.capture.opening import open_capture
from seawall.agent.capture.plan import BITMAP_WHY
from seawall.agent.capture.planning import NothingToBackUp
from seawall.agent.capture.port import CaptureRequest
from seawall.agent.capture.settings import CaptureSettings
from seawall.agent.capture.sweep import Swept, sweep
from seawall.agent.disk.qcow2_bitmaps import stored_bitmaps
from seawall.agent.errors import FreezeFailed, HypervisorError, ScratchFull, VmBusy
from seawall.agent.hypervisor.libvirt import LibvirtHypervisor
from seawall.agent.hypervisor.port import BackupDisk
from seawall.repository.clock import SystemClock
from support.captured_vm import (
    AGENT,
    MIB,
    QCOW2_BYTES,
    RAW_BYTES,
    REPOSITORY,
    Vm,
    a_request,
    capture,
    committed,
    content,
    left_behind,
    overlaid,
    root_of,
)
from support.libvirt_host import LibvirtHost, await_true, disk_xml, domain_xml

pytestmark = pytest.mark.system
pytest_plugins = ["support.libvirt_fixtures", "support.captured_vm_fixtures"]


def test_full_reads_one_instant_of_both_disks(vm: Vm, settings: CaptureSettings) -> None:
    vm.io("vda", "write -P 1 0 3M")
    vm.io("vdb", "write -P 2 1M 1M")
    truth = vm.truth()
    with capture(vm, settings, "a1") as taken:
        vm.io("vda", "write -P 9 1M 1M")  # the guest goes on writing
        vm.io("vdb", "write -P 9 0 2M")
        assert {one.target: (one.how, one.size_bytes) for one in taken.disks} == {
            "vda": ("full", QCOW2_BYTES),
            "vdb": ("full", RAW_BYTES),
        }
        assert {one.target: content(one) for one in taken.disks} == truth
        taken.check()
        assert all(extent.dirty for one in taken.disks for extent in one.source.extents(0, one.size_bytes))
        vda = taken.disks[0].source.extents(0, QCOW2_BYTES)
        assert [(e.offset, e.length, e.zero) for e in vda] == [(0, 3 * MIB, False), (3 * MIB, 61 * MIB, True)]
        assert b"<name>" in taken.members["domain.xml"] and taken.guest_frozen is False
    assert vm.checkpoint_names() == []  # it was not kept
    assert left_behind(settings, "a1") == []


def test_incremental_is_exact_with_discards_and_zeroes(vm: Vm, settings: CaptureSettings) -> None:
    vm.io("vda", "write -P 1 0 8M")
    vm.io("vdb", "write -P 2 0 4M")
    first, before = committed(vm, settings, "b1")
    assert first.checkpoint is not None and first.checkpoint.disks == ("vda",)
    vm.io("vda", "write -P 3 2M 64k")
    vm.io("vda", "discard 4M 1M")
    vm.io("vda", "write -z 6M 128k")
    vm.io("vdb", "write -z 1M 1M")
    truth = vm.truth()
    with capture(vm, settings, "b2", first) as taken:
        vm.io("vda", "write -P 9 2M 3M")
        vda, vdb = taken.disks
        assert (vda.how, vda.why, vdb.how) == ("bitmap", BITMAP_WHY, "compare")
        assert "Raw disks store no dirty bitmap" in vdb.why
        dirty = [(e.offset, e.length, e.zero) for e in vda.source.extents(0, vda.size_bytes) if e.dirty]
        tail = [(6 * MIB + 131072, 2 * MIB - 131072, False), (8 * MIB, QCOW2_BYTES - 8 * MIB, True)]  # read to be sure
        assert dirty == [(2 * MIB, 65536, False), (4 * MIB, MIB, True), (6 * MIB, 131072, True), *tail]
        assert overlaid(before["vda"], vda) == truth["vda"]
        assert content(vdb) == truth["vdb"]
        assert sum(e.length for e in vda.source.extents(2 * MIB + 512, MIB)) == MIB
        taken.keep_checkpoint()
        taken.delete_older_checkpoints()
    assert len(vm.checkpoint_names()) == 2  # the base and the new one


def test_older_checkpoints_go_and_foreign_ones_stay(vm: Vm, settings: CaptureSettings) -> None:
    vm.hypervisor.begin_backup(
        vm.vm_id, [BackupDisk("vda", vm.host.folder / "f.scratch", None, True)], vm.host.folder / "f.sock", "other"
    )
    vm.hypervisor.end_backup(vm.vm_id)
    first, _ = committed(vm, settings, "c1")
    second, _ = committed(vm, settings, "c2", first)
    committed(vm, settings, "c3", second)
    assert vm.checkpoint_names() == ["other", "seawall-23456789-c2", "seawall-23456789-c3"]
    sentences = sweep(vm.hypervisor, settings.run_dir, settings.scratch_dir, set(), {"seawall-23456789-c3"}).removed
    assert any("seawall-23456789-c2" in one for one in sentences)
    assert vm.checkpoint_names() == ["other", "seawall-23456789-c3"]


def test_failed_capture_leaves_the_base_usable(vm: Vm, settings: CaptureSettings) -> None:
    vm.io("vda", "write -P 1 0 1M")
    first, before = committed(vm, settings, "d1")
    vm.io("vda", "write -P 2 0 512k")
    with pytest.raises(RuntimeError), capture(vm, settings, "d2", first):
        raise RuntimeError("the upload failed")
    assert vm.checkpoint_names() == ["seawall-23456789-d1"]
    truth = vm.truth()
    with capture(vm, settings, "d3", first) as taken:
        assert taken.disks[0].how == "bitmap"
        assert overlaid(before["vda"], taken.disks[0]) == truth["vda"]


@pytest.mark.parametrize("stored", [False, True], ids=["bitmap absent", "bitmap inconsistent"])
def test_killed_qemu_costs_a_compare(vm: Vm, settings: CaptureSettings, stored: bool) -> None:
    first, _ = committed(vm, settings, "e1")
    if stored:  # QEMU writes bitmaps to the file only when it closes it
        vm.hypervisor.stop(vm.vm_id)
        vm.hypervisor.start(vm.vm_id)
    vm.host.kill_qemu(vm.name)
    with capture(vm, settings, "e2", first) as taken:
        assert {one.target: one.how for one in taken.disks} == {"vda": "compare", "vdb": "compare"}
        assert "inconsistent" in taken.disks[0].why and taken.checkpoint is None
    vm.hypervisor.start(vm.vm_id)
    vm.io("vda", "write -P 5 0 1M")
    truth = vm.truth()
    with capture(vm, settings, "e3", first) as taken:
        vda = taken.disks[0]
        assert vda.how == "compare" and "inconsistent" in vda.why
        assert content(vda) == truth["vda"]
        taken.keep_checkpoint()
        second = root_of(vm, list(taken.disks), taken.checkpoint)
    assert vm.checkpoint_names() == ["seawall-23456789-e3"]
    with capture(vm, settings, "e4", second) as taken:
        assert taken.disks[0].how == "bitmap"


@pytest.mark.parametrize("cut_at", [8 * MIB, 8 * MIB + 1536], ids=["aligned", "unaligned"])
def test_disk_cut_and_grown_to_its_old_size(vm: Vm, settings: CaptureSettings, cut_at: int) -> None:
    vm.io("vda", "write -P 1 0 64M")
    first, before = committed(vm, settings, "j1")
    vm.host.virsh("blockresize", vm.name, "vda", f"{cut_at}B")
    vm.host.virsh("blockresize", vm.name, "vda", f"{QCOW2_BYTES}B")
    vm.io("vda", "write -P 2 40M 64k")
    truth = vm.truth()
    with capture(vm, settings, "j2", first) as taken:
        assert taken.disks[0].how == "bitmap"
        assert overlaid(before["vda"], taken.disks[0]) == truth["vda"]


def test_cut_overlay_reads_as_zeroes_and_not_as_its_backing_file(
    host: LibvirtHost, hypervisor: LibvirtHypervisor, vm: Vm, settings: CaptureSettings
) -> None:
    vm.io("vda", "write -P 5 0 64M")
    hypervisor.stop(vm.vm_id)
    overlay = host.image("cut-overlay.qcow2", "qcow2", QCOW2_BYTES, "-b", str(vm.qcow2), "-F", "qcow2")
    other = Vm.__new__(Vm)
    other.host, other.hypervisor, other.name, other.qcow2, other.raw = host, hypervisor, "overlay", overlay, vm.raw
    disks = disk_xml(overlay, "vda", "qcow2") + disk_xml(vm.raw, "vdb", "raw")
    other.vm_id = hypervisor.define(domain_xml("overlay", disks))
    hypervisor.start(other.vm_id)
    other.io("vda", "write -P 1 0 40M")
    first, before = committed(other, settings, "k1")
    for size in (4 * MIB + 1536, 9 * MIB, QCOW2_BYTES):
        host.virsh("blockresize", "overlay", "vda", f"{size}B")
    truth = other.truth()
    with capture(other, settings, "k2", first) as taken:
        assert taken.disks[0].how == "bitmap"
        assert overlaid(before["vda"], taken.disks[0]) == truth["vda"]
    hypervisor.stop(other.vm_id)
    hypervisor.undefine(other.vm_id)


def two_qcow2(vm: Vm) -> Path:
    """Make vdb a qcow2 disk as well; its file."""
    vm.hypervisor.stop(vm.vm_id)
    second = vm.host.image(f"{vm.name}-2.qcow2", "qcow2", QCOW2_BYTES)
    redefine(vm, disk_xml(vm.qcow2, "vda", "qcow2") + disk_xml(second, "vdb", "qcow2"))
    return second


def redefine(vm: Vm, disks: str) -> None:
    """The same VM, off, with other disks; started."""
    text = domain_xml(vm.name, disks).replace("<memory", f"<uuid>{vm.vm_id}</uuid><memory", 1)
    path = vm.host.folder / "redefined.xml"
    path.write_text(text)
    vm.host.virsh("define", str(path))
    vm.hypervisor.start(vm.vm_id)


def test_disks_that_changed_places_are_compared(vm: Vm, settings: CaptureSettings) -> None:
    second = two_qcow2(vm)
    vm.io("vda", "write -P 1 0 1M")
    first, _ = committed(vm, settings, "l1")
    vm.hypervisor.stop(vm.vm_id)  # each file holds a bitmap of the name that is looked for
    redefine(vm, disk_xml(second, "vda", "qcow2") + disk_xml(vm.qcow2, "vdb", "qcow2"))
    with capture(vm, settings, "l2", first) as taken:
        assert [one.how for one in taken.disks] == ["compare", "compare"]
        assert str(second) in taken.disks[0].why


def test_replaced_disk_leaves_no_bitmap_on_the_others(vm: Vm, settings: CaptureSettings) -> None:
    second = two_qcow2(vm)
    first, _ = committed(vm, settings, "m1")
    vm.hypervisor.stop(vm.vm_id)
    second.unlink()
    vm.host.image(second.name, "qcow2", QCOW2_BYTES)
    vm.hypervisor.start(vm.vm_id)
    second_point, _ = committed(vm, settings, "m2", first)
    assert [one.how for one in second_point.disks] == ["bitmap", "compare"]
    committed(vm, settings, "m3", second_point)
    assert vm.checkpoint_names() == ["seawall-23456789-m2", "seawall-23456789-m3"]
    nodes = vm.host.virsh("qemu-monitor-command", vm.name, '{"execute": "query-named-block-nodes"}')
    assert "seawall-23456789-m3" in nodes and "seawall-23456789-m1" not in nodes


@pytest.mark.parametrize("restarted", [False, True], ids=["QEMU lives on", "VM stopped meanwhile"])
def test_checkpoints_that_libvirt_forgot_cost_a_compare_and_leave_no_bitmap(
    vm: Vm, settings: CaptureSettings, restarted: bool
) -> None:
    second = two_qcow2(vm)
    vm.io("vda", "write -P 1 0 1M")
    first, _ = committed(vm, settings, "q1")
    newest, _ = committed(vm, settings, "q2", first)
    for name in vm.checkpoint_names():
        vm.host.virsh("checkpoint-delete", vm.name, name, "--metadata")
    if restarted:
        vm.hypervisor.stop(vm.vm_id)
        vm.hypervisor.start(vm.vm_id)
        assert stored_bitmaps(str(second)) == {"seawall-23456789-q1", "seawall-23456789-q2"}
    vm.io("vda", "write -P 2 0 64k")
    vm.io("vda", "flush")
    truth = vm.host.truth(vm.qcow2, "qcow2")
    with capture(vm, settings, "q3", newest) as taken:
        assert [one.how for one in taken.disks] == ["compare", "compare"]
        assert "seawall-23456789-q2 is gone from this host" in taken.disks[0].why
        assert content(taken.disks[0]) == truth
        taken.keep_checkpoint()
        taken.delete_older_checkpoints()
        third = root_of(vm, list(taken.disks), taken.checkpoint)
    with capture(vm, settings, "q4", third) as taken:
        assert [one.how for one in taken.disks] == ["bitmap", "bitmap"]
    vm.hypervisor.stop(vm.vm_id)
    forgotten = (
        set() if restarted else {"seawall-23456789-q1"}
    )  # named in no file while QEMU lives: the next but one finds it
    for path in (vm.qcow2, second):
        assert stored_bitmaps(str(path)) == {"seawall-23456789-q3"} | forgotten
    vm.hypervisor.start(vm.vm_id)
    fourth, _ = committed(vm, settings, "q5", third)
    vm.hypervisor.stop(vm.vm_id)
    for path in (vm.qcow2, second):
        assert stored_bitmaps(str(path)) == {"seawall-23456789-q3", "seawall-23456789-q5"}
    vm.hypervisor.start(vm.vm_id)
    assert fourth.disks[0].how == "bitmap"


def test_clean_stop_keeps_the_bitmap(vm: Vm, settings: CaptureSettings) -> None:
    vm.io("vda", "write -P 1 0 1M")
    first, before = committed(vm, settings, "f1")
    vm.io("vda", "write -P 2 0 64k")
    vm.hypervisor.stop(vm.vm_id)
    vm.hypervisor.start(vm.vm_id)
    truth = vm.truth()
    with capture(vm, settings, "f2", first) as taken:
        assert taken.disks[0].how == "bitmap"
        assert overlaid(before["vda"], taken.disks[0]) == truth["vda"]


def test_scratch_limit_ends_the_backup_and_not_the_guest(vm: Vm, settings: CaptureSettings) -> None:
    vm.io("vda", "write -P 1 0 16M")
    with capture(vm, replace(settings, scratch_quota_bytes=4 * MIB), "g1") as taken:
        vm.io("vda", "write -P 2 0 2M")
        taken.check()
        vm.io("vda", "write -P 2 2M 8M")

        def ended() -> bool:
            try:
                taken.check()
            except ScratchFull:
                return True
            return False

        await_true(ended, "the backup is given up")
        await_true(lambda: not vm.hypervisor.has_job(vm.vm_id), "its job is ended")
        vm.io("vda", "write -P 3 0 16M")  # the guest's writes go on
    assert left_behind(settings, "g1") == []


def test_job_of_a_silent_owner_is_ended(vm: Vm, settings: CaptureSettings) -> None:
    with capture(vm, replace(settings, owner_silence_seconds=0.2), "h1") as taken:
        await_true(lambda: not vm.hypervisor.has_job(vm.vm_id), "the job is ended")
        reasons: list[str] = []

        def told() -> bool:
            try:
                taken.check()
            except HypervisorError as error:
                reasons.append(error.reason)
            return bool(reasons)

        await_true(told, "the owner hears of it")  # a look later
    assert reasons == ["OWNER_SILENT"]


def test_vm_stopped_during_the_backup(vm: Vm, settings: CaptureSettings) -> None:
    with capture(vm, settings, "i1") as taken:
        vm.hypervisor.stop(vm.vm_id)

        def noticed() -> bool:
            try:
                taken.check()
            except HypervisorError as error:
                return error.reason == "VM_STOPPED"
            return False

        await_true(noticed, "check() notices")
    assert left_behind(settings, "i1") == []
    assert vm.checkpoint_names() == ["seawall-23456789-i1"]  # libvirt deletes none of a VM that is off
    sweep(vm.hypervisor, settings.run_dir, settings.scratch_dir, set(), set())
    vm.hypervisor.start(vm.vm_id)
    sweep(vm.hypervisor, settings.run_dir, settings.scratch_dir, set(), set())
    assert vm.checkpoint_names() == []


def test_foreign_job_is_left_alone(vm: Vm, settings: CaptureSettings) -> None:
    socket = vm.host.folder / "foreign.sock"
    vm.hypervisor.begin_backup(vm.vm_id, [BackupDisk("vda", vm.host.folder / "x.scratch", None, False)], socket, None)
    with pytest.raises(VmBusy):
        capture(vm, settings, "j1")
    sweep(vm.hypervisor, settings.run_dir, settings.scratch_dir, set(), set())
    assert vm.hypervisor.owns_active_job(vm.vm_id, socket)
    vm.hypervisor.end_backup(vm.vm_id)


def test_leftovers_of_a_dead_worker_are_swept(vm: Vm, settings: CaptureSettings) -> None:
    dead = capture(vm, settings, "k1")  # not closed before the sweep, as if its worker had been killed
    assert sweep(vm.hypervisor, settings.run_dir, settings.scratch_dir, {"k1"}, set()) == Swept()
    assert vm.hypervisor.has_job(vm.vm_id)
    sentences = sweep(vm.hypervisor, settings.run_dir, settings.scratch_dir, set(), set()).removed
    assert len(sentences) == 3  # job, checkpoint, files
    assert vm.hypervisor.has_job(vm.vm_id) is False
    assert vm.checkpoint_names() == [] and left_behind(settings, "k1") == []
    dead.__exit__(None, None, None)


def test_freeze_without_a_guest_agent(vm: Vm, settings: CaptureSettings) -> None:
    trying = replace(a_request(vm, "m1"), freeze="try")
    with open_capture(trying, vm.hypervisor, settings, SystemClock()) as taken:
        assert taken.guest_frozen is False
        assert [reason for reason, _ in taken.warnings] == ["NOT_FROZEN"]
    with pytest.raises(FreezeFailed):
        open_capture(replace(trying, freeze="require", attempt_id="m2"), vm.hypervisor, settings, SystemClock())
    assert vm.hypervisor.has_job(vm.vm_id) is False and left_behind(settings, "m2") == []


def test_grown_disk_is_compared(vm: Vm, settings: CaptureSettings) -> None:
    vm.io("vda", "write -P 1 0 1M")
    first, _ = committed(vm, settings, "n1")
    vm.host.virsh("blockresize", vm.name, "vda", f"{QCOW2_BYTES + MIB}B")
    truth = vm.truth()
    with capture(vm, settings, "n2", first) as taken:
        vda = taken.disks[0]
        assert (vda.how, vda.size_bytes) == ("compare", QCOW2_BYTES + MIB) and "size changed" in vda.why
        assert content(vda) == truth["vda"]


def test_excluded_disk_takes_no_part(vm: Vm, settings: CaptureSettings) -> None:
    request = replace(a_request(vm, "o1"), exclude_disks=("vda",))
    with open_capture(request, vm.hypervisor, settings, SystemClock()) as taken:
        assert [one.target for one in taken.disks] == ["vdb"] and taken.checkpoint is None
        assert [reason for reason, _ in taken.warnings] == ["DISK_EXCLUDED"]
    assert vm.checkpoint_names() == []
    with pytest.raises(NothingToBackUp):
        open_capture(replace(request, exclude_disks=("vda", "vdb")), vm.hypervisor, settings, SystemClock())


def test_old_qcow2_is_read_without_a_checkpoint(
    host: LibvirtHost, hypervisor: LibvirtHypervisor, settings: CaptureSettings
) -> None:
    image = host.image("old.qcow2", "qcow2", 4 * MIB, "-o", "compat=0.10")
    vm_id = hypervisor.define(domain_xml("old", disk_xml(image, "vda", "qcow2")))
    hypervisor.start(vm_id)
    host.qemu_io("old", "vda", "write -P 6 1M 1M")
    request = CaptureRequest(vm_id, "p1", AGENT, REPOSITORY, "never", None, ())
    with open_capture(request, hypervisor, settings, SystemClock()) as taken:
        assert taken.checkpoint is None
        assert content(taken.disks[0]) == bytes(MIB) + b"\6" * MIB + bytes(2 * MIB)
    hypervisor.stop(vm_id)
    hypervisor.undefine(vm_id)
