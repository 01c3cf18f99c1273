"""Restores to places that cannot be: one attempt, a clear reason with a next step, exit code 1 or 2, and nothing left there."""

from collections.abc import Iterator

import pytest
from deploy.lab.laboratory import Laboratory

from support.odd_vms import IMAGES, clear_beta, files_of_ours, new_disk, odd_vm, operate

pytest_plugins = ["support.laboratory"]
pytestmark = [pytest.mark.system, pytest.mark.timeout(280)]

PLACES: tuple[tuple[str, str, str], ...] = (
    (f"{IMAGES}/small", "TARGET_FULL", "No space left"),
    (f"{IMAGES}/readonly", "DIRECTORY_UNUSABLE", "Read-only"),
    ("/proc/seawall", "DIRECTORY_UNUSABLE", "/proc/seawall"),
    (f"{IMAGES}/{'d' * 300}", "DIRECTORY_UNUSABLE", "too long"),
    ("/etc/hostname/below", "DIRECTORY_UNUSABLE", "not a folder"),
)


@pytest.fixture(scope="module")
def point_id(fleet: Laboratory) -> Iterator[str]:
    """Of a VM with a qcow2 and a raw disk that hold more than a small folder does."""
    made = [new_disk(fleet, "vda", "qcow2", 4 << 20), new_disk(fleet, "vdb", "raw", 4 << 20)]
    with odd_vm(fleet, "odd-restores", made) as vm:
        vm.write_all([("vda", 0, 4 << 20), ("vdb", 0, 4 << 20)], 3)
        point = str(vm.backup()["point_id"])
        yield point


@pytest.fixture
def folders(fleet: Laboratory) -> Iterator[None]:
    """On beta: one of 1 MiB, one that is read-only."""
    beta = fleet.hosts["beta"]
    for name, option in (("small", "size=1m"), ("readonly", "ro")):
        beta.run(["mkdir", f"{IMAGES}/{name}"])
        beta.run(["mount", "-t", "tmpfs", "-o", option, "none", f"{IMAGES}/{name}"])
    yield
    for name in ("small", "readonly"):
        beta.run(["umount", f"{IMAGES}/{name}"])
    clear_beta(fleet)


@pytest.mark.parametrize(
    ("folder", "reason", "told", "disk"),
    [
        pytest.param(*place, disk, marks=() if number == disk_number == 0 else pytest.mark.slow, id=f"{number}-{disk}")
        for number, place in enumerate(PLACES)
        for disk_number, disk in enumerate(("vda", "vdb"))
    ],
)
def test_a_place_that_takes_nothing_fails_the_run_at_once(
    fleet: Laboratory, point_id: str, folders: None, folder: str, reason: str, told: str, disk: str
) -> None:
    answer = operate(
        fleet, "restore", point_id, "--to", "beta", "--disk", disk, "--directory", folder, "--wait", "--json"
    )
    assert answer.code == 1
    run = answer.json["runs"][0]
    assert (run["failure"]["reason"], len(run["attempts"])) == (reason, 1), run["failure"]
    assert told in run["failure"]["message"]
    assert "--directory" in run["failure"]["next_step"]
    assert files_of_ours(fleet, "beta") == []
    assert fleet.hosts["beta"].run(["find", IMAGES, "-type", "f"]).stdout == ""


@pytest.mark.slow
def test_a_vm_that_runs_elsewhere_is_restored_with_a_warning(fleet: Laboratory, point_id: str) -> None:
    """Twins with one UUID and one MAC address: not refused, as a disaster may need it, but never silent."""
    answer = operate(fleet, "restore", point_id, "--to", "beta", "--wait", "--json")
    assert answer.code == 0, answer.out
    warned = {row["reason"]: row["message"] for row in answer.json["runs"][0]["warnings"]}
    assert "alpha" in warned["VM_ALSO_ELSEWHERE"] and "--new-identity" in warned["VM_ALSO_ELSEWHERE"]
    clear_beta(fleet)
    second = operate(fleet, "restore", point_id, "--to", "beta", "--new-identity", "--wait", "--json")
    assert second.code == 0 and second.json["runs"][0]["warnings"] == [], second.out
    clear_beta(fleet)


@pytest.mark.slow
@pytest.mark.parametrize("option", ["--start", "--new-identity", "--as=other"])
def test_what_a_single_disk_cannot_have_is_refused(fleet: Laboratory, point_id: str, option: str) -> None:
    words = ("restore", point_id, "--to", "beta", "--disk", "vda", "--directory", f"{IMAGES}/single", option, "--json")
    answer = operate(fleet, *words)
    assert (answer.code, answer.reason) == (2, "FILES_ONLY")


@pytest.mark.slow
def test_a_disk_named_twice_is_restored_once_and_the_text_says_where(fleet: Laboratory, point_id: str) -> None:
    folder = f"{IMAGES}/one two, three"
    words = ["restore", point_id, "--to", "beta", "--disk", "vdb", "--disk", "vdb", "--directory", folder, "--wait"]
    answer = operate(fleet, *words)
    assert answer.code == 0, answer.out
    assert f"Written to {folder}/vdb.raw." in answer.out
    again = operate(fleet, *words)
    assert again.code == 1
    assert [line for line in again.out.splitlines() if line.startswith("failed")] == [
        f"failed      {folder}/vdb.raw exists. (FILE_EXISTS)"
    ], "the reason is said once"
    clear_beta(fleet)
