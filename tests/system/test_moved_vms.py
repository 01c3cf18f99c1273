"""VMs that move between hosts through the public command line: live, cold, and with an operator's word."""

import os
import subprocess
from pathlib import Path

import pytest
from deploy.lab.laboratory import Laboratory
from deploy.lab.waiting import wait_for

from support.odd_vms import OddVm, clear_beta, differences, new_disk, odd_vm, operate, restored_vm

pytest_plugins = ["support.laboratory"]
pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.timeout(900)]

MIB = 1 << 20
SIZES = {"vda": 16 * MIB, "vdb": 4 * MIB}


def uri(lab: Laboratory, host: str) -> str:
    """As this process reaches the host's libvirt."""
    init = lab.hosts[host].init
    assert init is not None
    return f"qemu+unix:///system?socket=/proc/{init.pid}/root/run/libvirt/libvirt-sock"


def is_on(vm: OddVm, host: str) -> None:
    vm.hypervisor, vm.host = vm.lab.hypervisors[host], vm.lab.hosts[host]

    def known() -> bool:
        shown = operate(vm.lab, "vm", "show", vm.vm_id, "--json").json
        return bool(shown["host_name"] == host and shown["present"])

    wait_for(f"{vm.name} to be known on {host}", known, 60, vm.lab.logs)


def migrate(vm: OddVm, shared: Path, to: str) -> None:
    """Running, and gone from where it was."""
    here = next(name for name, hypervisor in vm.lab.hypervisors.items() if hypervisor is vm.hypervisor)
    words = ["migrate", "--live", "--persistent", "--undefinesource", "--unsafe", vm.vm_id, uri(vm.lab, to)]
    command = ["virsh", "-c", uri(vm.lab, here), *words, "--migrateuri", f"unix://{shared}/way.sock"]
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=120, env={"PATH": os.environ["PATH"]})
    is_on(vm, to)


def move_cold(vm: OddVm, to: str) -> None:
    vm.remove()
    vm.hypervisor, vm.host = vm.lab.hypervisors[to], vm.lab.hosts[to]
    vm.define()
    vm.start()
    is_on(vm, to)


def hows(lab: Laboratory, point_id: str) -> dict[str, tuple[str, str]]:
    shown = operate(lab, "point", "show", point_id, "--json").json
    return {row["disk"]: (row["how"], row["why"]) for row in shown["disks"]}


def test_a_vm_moves_live_and_cold_and_its_backups_go_on(fleet: Laboratory, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    disks = [
        new_disk(fleet, name, kind, SIZES[name], path=str(shared / name))
        for name, kind in [("vda", "qcow2"), ("vdb", "raw")]
    ]
    with odd_vm(fleet, "odd-moved", disks) as vm:
        fleet.hypervisors["alpha"].virsh("resume", vm.vm_id)
        vm.write_ends(SIZES, 1)
        vm.backup()
        vm.write("vda", 3 * MIB, 65536, 2)
        migrate(vm, shared, "beta")
        vm.write("vda", 5 * MIB, 65536, 3)
        live, live_truth = vm.backup(), vm.truth(tmp_path / "live")
        vm.write("vda", 7 * MIB, 65536, 4)
        move_cold(vm, "alpha")
        planned = operate(fleet, "vm", "moved", vm.vm_id, "--plan")
        assert "has not said that it left" in planned.out, planned.out
        assert operate(fleet, "vm", "moved", vm.vm_id, "--to", "alpha", "--yes").code == 0
        vm.write("vda", 9 * MIB, 65536, 5)
        cold, cold_truth = vm.backup(), vm.truth(tmp_path / "cold")
        move_cold(vm, "beta")
        doubted = vm.backup()
        vm.remove()
    for run in (live, cold):
        how = hows(fleet, run["point_id"])
        assert how["vda"][0] == "bitmap" and "moved here" in how["vda"][1] and how["vdb"][0] == "compare", how
    how = hows(fleet, doubted["point_id"])
    assert how["vda"][0] == "full" and "seawall vm moved" in how["vda"][1], "and what an operator can do about it"
    for name, run, truth in (("live", live, live_truth), ("cold", cold, cold_truth)):
        answer = operate(fleet, "restore", run["point_id"], "--to", "beta", "--as", f"odd {name}", "--wait", "--json")
        assert answer.code == 0, f"{answer.out}\n{fleet.logs()}"
        assert differences(truth, restored_vm(fleet, f"odd {name}")) == {"vda": "", "vdb": ""}
    clear_beta(fleet)
