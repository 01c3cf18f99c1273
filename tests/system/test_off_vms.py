"""VMs that are off through the public command line: backed up as they lie, restored byte for byte, left as they were."""

from pathlib import Path

import pytest
from deploy.lab.laboratory import Laboratory
from deploy.lab.waiting import wait_for

from support.odd_vms import clear_beta, differences, files_of_ours, new_disk, odd_vm, operate, restored_vm, starts

pytest_plugins = ["support.laboratory"]
pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

MIB = 1 << 20


def shown_state(lab: Laboratory, vm_id: str) -> str:
    return str(operate(lab, "vm", "show", vm_id, "--json").json["state"])


def test_a_vm_goes_off_and_on_between_its_backups(fleet: Laboratory, tmp_path: Path) -> None:
    """Off at first, running, saved: each point exact, the saved memory untouched, and bitmaps used wherever there are some."""
    made = [new_disk(fleet, "vda", "qcow2", 8 * MIB), new_disk(fleet, "vdb", "raw", 4 * MIB + 512)]
    sizes = {"vda": 8 * MIB, "vdb": 4 * MIB + 512}
    virsh = fleet.hypervisors["alpha"].virsh
    points, truths = {}, {}
    with odd_vm(fleet, "odd-off", made) as vm:
        vm.write_ends(sizes, 7)
        virsh("destroy", vm.vm_id)
        for state in ("off", "on", "saved"):
            if state == "on":
                vm.start()
                vm.write_ends(sizes, 8)
            if state == "saved":
                vm.write_ends(sizes, 9)
                virsh("managedsave", vm.vm_id, "--paused")
            points[state], truths[state] = vm.backup(), vm.truth(tmp_path / state)
            assert virsh("domstate", vm.vm_id).strip() == ("paused" if state == "on" else "shut off")
        assert "yes" in virsh("dominfo", vm.vm_id).split("Managed save:")[1]
        wait_for("it to be shown as saved", lambda: shown_state(fleet, vm.vm_id) == "saved", 30, fleet.logs)
        assert files_of_ours(fleet, "alpha") == []
        virsh("start", vm.vm_id)
        assert "paused" in virsh("domstate", vm.vm_id), "it goes on as it was saved"
    how = {
        state: {
            row["disk"]: row["how"] for row in operate(fleet, "point", "show", run["point_id"], "--json").json["disks"]
        }
        for state, run in points.items()
    }
    assert how == {
        "off": {"vda": "full", "vdb": "full"},
        "on": {"vda": "compare", "vdb": "compare"},
        "saved": {"vda": "bitmap", "vdb": "compare"},
    }
    assert [row["reason"] for row in points["saved"]["warnings"]] == ["VM_SAVED"]
    for state, truth in truths.items():
        answer = operate(
            fleet, "restore", points[state]["point_id"], "--to", "beta", "--as", f"odd {state}", "--wait", "--json"
        )
        assert answer.code == 0, f"{answer.out}\n{fleet.logs()}"
        assert differences(truth, restored_vm(fleet, f"odd {state}")) == {"vda": "", "vdb": ""}
    starts(fleet, "odd off")
    clear_beta(fleet)
