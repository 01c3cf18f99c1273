"""A file that is overwritten with another disk's while the VM is off: path, inode and the bitmap's name stay, the content does not."""

from pathlib import Path

import pytest
from deploy.lab.laboratory import Laboratory

from support.odd_vms import clear_beta, differences, new_disk, odd_vm, operate, restored_vm

pytest_plugins = ["support.laboratory"]
pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.timeout(600)]

MIB = 1 << 20


@pytest.mark.parametrize("state", ["running", "off"])
def test_a_disk_copied_over_another_is_compared(fleet: Laboratory, tmp_path: Path, state: str) -> None:
    disks = [new_disk(fleet, name, "qcow2", 16 * MIB) for name in ("vda", "vdb")]
    with odd_vm(fleet, f"odd-copied-{state}", disks) as vm:
        vm.write("vda", 0, 8 * MIB, 1)
        vm.write("vdb", 0, 8 * MIB, 2)
        vm.backup()
        vm.hypervisor.virsh("destroy", vm.vm_id)
        vm.host.run(["cp", disks[1].path, disks[0].path])
        if state == "running":
            vm.start()
            vm.write("vda", 12 * MIB, 65536, 3)
        run, truth = vm.backup(), vm.truth(tmp_path / "truth")
        shown = operate(fleet, "point", "show", run["point_id"], "--json").json
        how = {row["disk"]: row["how"] for row in shown["disks"]}
        why = next(row["why"] for row in shown["disks"] if row["disk"] == "vda")
        vm.remove()
    assert how == {"vda": "compare", "vdb": "bitmap"}
    assert "another disk was copied over it" in why
    answer = operate(fleet, "restore", run["point_id"], "--to", "beta", "--as", f"odd {state}", "--wait", "--json")
    assert answer.code == 0, f"{answer.out}\n{fleet.logs()}"
    assert differences(truth, restored_vm(fleet, f"odd {state}")) == {"vda": "", "vdb": ""}
    clear_beta(fleet)
