"""A VM as Windows wants it comes back on another host: what its firmware and its TPM remember survives, told by the guest itself."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from deploy.lab.laboratory import Laboratory

from support.uefi_guest import UefiGuest, build_uefi_disk, prepare_tpm_host

pytest_plugins = ["support.laboratory"]
pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture
def guest(fleet: Laboratory, tmp_path: Path) -> Iterator[UefiGuest]:
    """On alpha; it has booted twice, so that its firmware and its TPM hold what no fresh ones do."""
    made = UefiGuest("uefi", fleet.hypervisors["alpha"])
    made.create(build_uefi_disk(tmp_path))
    prepare_tpm_host(fleet.hypervisors["beta"])
    try:
        yield made
    finally:
        for hypervisor in fleet.hypervisors.values():
            for name in (made.name, "copy"):
                UefiGuest(name, hypervisor).erase()


def test_uefi_variables_and_tpm_survive_the_loss_of_their_host(fleet: Laboratory, guest: UefiGuest) -> None:
    guest.start()
    first = guest.await_boot()
    assert (first.found, first.left) == ((0, 0), (1, 1))
    guest.destroy()
    guest.start()
    assert guest.await_boot().left == (2, 2)
    fleet.await_vm(guest.name, "alpha")
    run = fleet.seawall_json("backup", guest.name, "--repo", "main", "--wait", timeout_seconds=300)["runs"][0]
    point = fleet.seawall_json("point", "show", run["point_id"])
    assert {one["name"] for one in point["members"]} == {"domain.xml", "nvram.fd", "tpm2-00.permall"}
    reasons = {one["reason"] for one in point.get("warnings", [])}
    assert not reasons & {"NVRAM_NOT_CAPTURED", "TPM_NOT_CAPTURED", "MEMBER_NOT_AT_INSTANT"}, reasons
    vm_id = guest.vm_id
    guest.destroy()
    guest.erase()
    assert not guest.host.outside(f"/var/lib/libvirt/swtpm/{vm_id}").exists()
    assert not list(guest.host.outside("/var/lib/libvirt/qemu/nvram").iterdir())

    restored = UefiGuest(guest.name, fleet.hypervisors["beta"])
    told = fleet.restore(run["point_id"], "--to", "beta", "--start", timeout_seconds=300)
    assert told.succeeded, told.failure
    back = restored.await_boot()
    assert (restored.vm_id, back.found) == (vm_id, (2, 2))

    copy = UefiGuest("copy", fleet.hypervisors["alpha"], console=guest.name)
    copy.console.unlink()
    told = fleet.restore(run["point_id"], "--to", "alpha", "--as", "copy", "--start", timeout_seconds=300)
    assert told.succeeded, told.failure
    assert copy.vm_id != vm_id and copy.await_boot().found == (2, 2)
    assert back.left == (3, 3), "each goes its own way"
