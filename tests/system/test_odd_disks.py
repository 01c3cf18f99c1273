"""Disks of every odd size and kind through the public command line: backed up, changed, backed up again, restored byte for byte."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from deploy.lab.laboratory import Laboratory

from support.odd_vms import (
    IMAGES,
    OddDisk,
    clear_beta,
    differences,
    new_disk,
    odd_vm,
    operate,
    restored_vm,
    starts,
)

pytest_plugins = ["support.laboratory"]
pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

PAGE = 64 * 1024 * 1024
SIZES = (0, 1, 512, 1_000_001, 4096 * 250 + 512, PAGE - 512, PAGE, PAGE + 512)
"""In bytes; what is no multiple of 512 is seen by the guest as the next one."""


def seen(size_bytes: int) -> int:
    return -(-size_bytes // 512) * 512


def targets(count: int) -> Iterator[str]:
    """vda, …, vdz, vdaa, …"""
    letters = "abcdefghijklmnopqrstuvwxyz"
    names = [*letters, *(first + second for first in letters for second in letters)]
    yield from (f"vd{name}" for name in names[:count])


def test_odd_sizes_come_back_byte_for_byte(fleet: Laboratory, tmp_path: Path) -> None:
    """Full, then an incremental on top; the first restored as a whole VM, the second as files."""
    kinds = [(size, kind) for size in SIZES for kind in ("raw", "qcow2")]
    made = [new_disk(fleet, target, kind, size) for target, (size, kind) in zip(targets(99), kinds, strict=False)]
    sizes = {disk.target: seen(size) for disk, (size, _) in zip(made, kinds, strict=True)}
    with odd_vm(fleet, "odd-sizes", made) as vm:
        vm.write_ends(sizes, 7)
        full, at_full = vm.backup(), vm.truth(tmp_path / "full")
        vm.write_ends(sizes, 9)
        incremental, at_incremental = vm.backup(), vm.truth(tmp_path / "incremental")
        vm.await_clean(checkpoints=2)

    point = operate(fleet, "point", "show", incremental["point_id"], "--json").json
    assert {row["disk"]: row["how"] for row in point["disks"]} == {
        disk.target: "bitmap" if disk.format == "qcow2" else "compare" for disk in made
    }
    assert {row["disk"]: row["size_bytes"] for row in point["disks"]} == sizes
    same = dict.fromkeys(at_full, "")
    assert differences(at_full, as_vm(fleet, full["point_id"], "odd-sizes-again")) == same
    assert differences(at_incremental, as_files(fleet, incremental["point_id"], made)) == same
    clear_beta(fleet)


def test_disks_that_are_left_out_are_named_with_the_reason(fleet: Laboratory, tmp_path: Path) -> None:
    """On the point, and again at its restore; drives with media come back empty; two VMs share a disk."""
    shared = new_disk(fleet, "vdc", "raw", 1 << 20, inner="<shareable/>")
    made = [
        new_disk(fleet, "vda", "qcow2", 1 << 20),
        new_disk(fleet, "vdb", "qcow2", 1 << 20, inner="<readonly/>"),
        shared,
        new_disk(fleet, "vdd", "qcow2", 1 << 20, inner="<transient/>"),
        new_disk(fleet, "sda", "raw", 2048 * 100, device="cdrom", bus="sata", inner="<readonly/>"),
        OddDisk("sdb", "", "raw", "<readonly/>", device="cdrom", bus="sata"),
        new_disk(fleet, "fda", "raw", 1_474_560, device="floppy", bus="fdc"),
    ]
    with odd_vm(fleet, "odd-kinds", made) as vm, odd_vm(fleet, "odd-sharer", [shared]) as sharer:
        vm.write("vda", 0, 4096, 5)
        run, truth = vm.backup(), vm.truth(tmp_path / "truth", ["vda"])
        refused = operate(fleet, "backup", sharer.vm_id, "--repo", "main", "--wait", "--json")
        vm.await_clean(checkpoints=1)
        sharer.await_clean(checkpoints=0)

    assert refused.code == 1
    failure = refused.json["runs"][0]["failure"]
    assert failure["reason"] == "NO_DISKS" and "vdc" in failure["message"] and "shareable" in failure["message"]
    reasons = {"DISK_READ_ONLY": "vdb", "DISK_SHAREABLE": "vdc", "DISK_TRANSIENT": "vdd"}
    point = operate(fleet, "point", "show", run["point_id"], "--json").json
    assert [row["disk"] for row in point["disks"]] == ["vda"]
    assert {row["reason"]: row["message"].split()[1] for row in point["warnings"]} == reasons
    told = operate(fleet, "restore", run["point_id"], "--to", "beta", "--as", "odd-kinds-2", "--wait", "--json")
    assert told.code == 0 and told.json["runs"][0]["state"] == "succeeded_with_warnings"
    absent = {
        row["message"].split()[1]: row["message"]
        for row in told.json["runs"][0]["warnings"]
        if row["reason"] == "DISK_ABSENT"
    }
    assert sorted(absent) == ["vdb", "vdc", "vdd"]
    assert "read-only" in absent["vdb"] and "shareable" in absent["vdc"] and "transient" in absent["vdd"]
    assert differences(truth, restored_vm(fleet, "odd-kinds-2")) == {"vda": ""}
    starts(fleet, "odd-kinds-2")
    clear_beta(fleet)


def as_vm(lab: Laboratory, point_id: str, name: str) -> dict[str, Path]:
    answer = operate(lab, "restore", point_id, "--to", "beta", "--as", name, "--wait", "--json")
    assert answer.code == 0, f"{answer.out}\n{lab.logs()}"
    return restored_vm(lab, name)


def as_files(lab: Laboratory, point_id: str, disks: list[OddDisk]) -> dict[str, Path]:
    """Single disks, into a folder that is not there yet."""
    folder = f"{IMAGES}/odd files, {point_id[:13]}"
    chosen = [word for disk in disks for word in ("--disk", disk.target)]
    answer = operate(lab, "restore", point_id, "--to", "beta", *chosen, "--directory", folder, "--wait", "--json")
    assert answer.code == 0, f"{answer.out}\n{lab.logs()}"
    said = {row["disk"]: row["why"] for row in answer.json["runs"][0]["attempts"][-1]["progress"]["disks"]}
    files = {disk.target: f"{folder}/{disk.target}.{'raw' if disk.format == 'raw' else 'qcow2'}" for disk in disks}
    assert said == {target: f"Written to {path}." for target, path in files.items()}
    return {target: lab.hosts["beta"].outside(path) for target, path in files.items()}
