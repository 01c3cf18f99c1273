"""The worst day: a backed-up VM, its host and the controller with its database are gone. The bucket and the sheet bring every byte back."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from deploy.lab.guest_image import GuestImage
from deploy.lab.guest_vm import GuestVm
from deploy.lab.laboratory import Laboratory, seawall_command
from deploy.lab.truth import take_point

pytest_plugins = ["support.laboratory"]
pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.timeout(600)]

KEY = "/etc/seawall/recovery-key-main"
OUT = "/var/lib/rescued"


@pytest.fixture
def without_controller(fleet: Laboratory, tmp_path: Path) -> Iterator[list[Path]]:
    """Call it over: stops the controller and takes away all that it keeps; afterwards it is put back for other tests."""
    taken: list[Path] = []
    yield taken
    for number, path in enumerate(taken):
        shutil.move(tmp_path / f"taken-{number}", path)
    fleet.start_controller()
    fleet.await_hosts_online()
    shutil.rmtree(fleet.hub.outside(OUT), ignore_errors=True)


def take_away(fleet: Laboratory, taken: list[Path], tmp_path: Path) -> None:
    fleet.stop_service("controller")
    for place in ("/var/lib/seawall/controller", "/etc/seawall/operator.toml"):
        path = fleet.hub.outside(place)
        shutil.move(path, tmp_path / f"taken-{len(taken)}")
        taken.append(path)


def rescue(fleet: Laboratory, *words: str) -> str:
    return fleet.hub.run(
        [seawall_command(), "rescue", "--key", KEY, *words], env=fleet.bucket_keys, timeout_seconds=200
    ).stdout


def test_the_sheet_and_the_bucket_are_enough(
    fleet: Laboratory,
    guest: GuestVm,
    guest_image: GuestImage,
    without_controller: list[Path],
    tmp_path: Path,
) -> None:
    fleet.await_vm(guest.name, "alpha")
    guest.await_writes(20)
    point = take_point(fleet, guest, guest_image, tmp_path / "truth")
    guest.destroy()
    guest.erase()
    take_away(fleet, without_controller, tmp_path)
    assert fleet.seawall("status", check=False) is None

    listed = json.loads(rescue(fleet, "list", "--vm", guest.name, "--json"))
    (found,) = [each for each in listed["points"] if each["point_id"] == point.point.point_id]
    assert (found["state"], found["vm_name"]) == ("available", guest.name)
    assert listed["repository"]["signing_key_pinned"]

    done = json.loads(rescue(fleet, "restore", point.point.point_id, "--to", OUT, "--json"))
    assert done["complete"]
    out = fleet.hub.outside(OUT)
    for disk, truth in point.truth.items():
        compared = subprocess.run(["cmp", truth, out / f"{disk}.raw"], capture_output=True, text=True)
        assert compared.returncode == 0, compared.stdout
    assert f"<name>{guest.name}</name>" in (out / "domain.xml").read_text()
    images = {disk: out / f"{disk}.raw" for disk in point.truth}
    assert f"seq={point.seq}" in guest_image.tool_says("verify", images)
