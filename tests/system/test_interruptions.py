"""A backup interrupted in the middle: the guest writes on, nothing of ours stays behind, what was uploaded is not uploaded again."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from deploy.lab.answers import Run
from deploy.lab.fault_proxy.control import ActiveRule
from deploy.lab.fault_proxy.rules import Hold
from deploy.lab.guest_image import GuestImage
from deploy.lab.guest_vm import GuestVm, convert_to_raw
from deploy.lab.laboratory import Laboratory
from deploy.lab.traces import checkpoints, traces
from deploy.lab.truth import judge_images
from deploy.lab.waiting import wait_for

pytest_plugins = ["support.laboratory"]
pytestmark = [pytest.mark.system, pytest.mark.timeout(400)]

PACK_BYTES = 32 * 1024 * 1024
STORED_PACKS = 2


@pytest.fixture
def uploads(fleet: Laboratory, request: pytest.FixtureRequest) -> Iterator[ActiveRule]:
    """A repository of the test's own takes so many packs and lets the others wait until they are released."""
    proxy = fleet.start_fault_proxy()
    repository = request.node.name.replace("_", "-")
    fleet.add_repository(repository, endpoint=proxy.endpoint)
    with proxy.rule(Hold(), method="PUT", path=rf"/{repository}/v1/p/", skip=STORED_PACKS) as rule:
        yield rule


@pytest.fixture
def transferring(fleet: Laboratory, guest: GuestVm, uploads: ActiveRule, request: pytest.FixtureRequest) -> Run:
    """A full backup of the guest, with packs stored and more to come."""
    repository = request.node.name.replace("_", "-")
    fleet.await_vm(guest.name, "alpha")
    run = fleet.start_backup(guest.name, repository=repository)
    uploads.await_held(1, 90)
    wait_for("packs to be stored", lambda: packs_in(fleet, repository) == STORED_PACKS, 90, fleet.logs)
    return run


def test_the_agent_is_killed(
    fleet: Laboratory,
    guest: GuestVm,
    guest_image: GuestImage,
    uploads: ActiveRule,
    transferring: Run,
    tmp_path: Path,
) -> None:
    fleet.kill_service("agent-alpha")
    guest.await_writes(5)
    uploads.release()
    fleet.start_agent("alpha")

    finished = ended(fleet, transferring)
    assert finished.succeeded, finished.failure
    attempts = fleet.seawall_json("run", "show", finished.run_id)["attempts"]
    assert [(attempt["state"], (attempt["failure"] or {}).get("reason")) for attempt in attempts] == [
        ("failed", "AGENT_RESTARTED"),
        ("succeeded", None),
    ]
    point = fleet.point_of(finished.point_id)
    read, new = (sum(getattr(disk, what) for disk in point.disks) for what in ("read_bytes", "new_bytes"))
    assert new < read - PACK_BYTES / 2, "what the first attempt had stored was found by Lookup"
    kept = [f"checkpoint {attempts[0]['attempt_id']}"]  # the second one went on with the first one's instant
    wait_for("nothing else to be left", lambda: left_behind(guest) == kept, 30, lambda: str(left_behind(guest)))
    judge_restored(fleet, guest_image, finished, tmp_path)


@pytest.mark.slow
def test_the_worker_is_killed(fleet: Laboratory, guest: GuestVm, uploads: ActiveRule, transferring: Run) -> None:
    """Its snapshot waits for the next one, and goes when there is to be none."""
    before = left_behind(guest)
    (pid,) = guest.host.run(["pgrep", "-f", "seawall.agent.worker"]).stdout.split()
    guest.host.run(["kill", "-9", pid])
    guest.await_writes(5)
    assert {one for one in before if "sock" in one or "checkpoint" in one} <= set(left_behind(guest))
    fleet.seawall("run", "cancel", transferring.run_id)
    uploads.release()
    assert ended(fleet, transferring).state == "canceled"
    wait_for("nothing to be left", lambda: left_behind(guest) == [], 120, fleet.logs)


@pytest.mark.slow
def test_libvirt_is_killed_and_comes_back(
    fleet: Laboratory, guest: GuestVm, uploads: ActiveRule, transferring: Run
) -> None:
    """The worker ends while nobody can end its job: the agent does as soon as libvirt answers."""
    guest.hypervisor.kill_libvirtd()
    try:
        fleet.seawall("run", "cancel", transferring.run_id)
        uploads.release()
        assert ended(fleet, transferring).state == "canceled"
        guest.await_writes(5)
    finally:
        guest.hypervisor.start()
    wait_for("nothing to be left", lambda: left_behind(guest) == [], 45, fleet.logs)


@pytest.mark.slow
def test_the_controller_is_killed(
    fleet: Laboratory,
    guest: GuestVm,
    guest_image: GuestImage,
    uploads: ActiveRule,
    transferring: Run,
    tmp_path: Path,
) -> None:
    fleet.kill_service("controller")
    guest.await_writes(5)
    uploads.release()
    fleet.start_controller()

    finished = ended(fleet, transferring)
    assert finished.succeeded, finished.failure
    attempts = fleet.seawall_json("run", "show", finished.run_id)["attempts"]
    assert [attempt["state"] for attempt in attempts] == ["succeeded"], "the same attempt goes on"
    judge_restored(fleet, guest_image, finished, tmp_path)


@pytest.mark.slow
def test_the_operator_cancels(fleet: Laboratory, guest: GuestVm, uploads: ActiveRule, transferring: Run) -> None:
    fleet.seawall("run", "cancel", transferring.run_id)
    uploads.release()
    assert ended(fleet, transferring).state == "canceled"
    guest.await_writes(5)
    wait_for("nothing to be left", lambda: left_behind(guest) == [], 30, fleet.logs)
    points = fleet.seawall_json("point", "list", "--vm", guest.name)["points"]
    assert transferring.run_id not in [point["point_id"] for point in points]


def packs_in(lab: Laboratory, repository: str) -> int:
    return int(lab.seawall_json("repo", "show", repository)["pack_count"])


def ended(lab: Laboratory, run: Run) -> Run:
    return lab.await_end(run.run_id, 120)


def left_behind(guest: GuestVm) -> list[str]:
    """Everything of ours on the guest's host: jobs, sockets, scratch files, workers, checkpoints by their attempts."""
    return [
        *traces(guest.hypervisor),
        *(f"checkpoint {attempt}" for attempt in checkpoints(guest.hypervisor, guest.name)),
    ]


def judge_restored(lab: Laboratory, image: GuestImage, run: Run, directory: Path) -> None:
    """Restore the point to files; the guest's own check on them finds every torn, old or mixed block."""
    place = f"/var/lib/libvirt/images/judged-{run.point_id[:13]}"
    outside = lab.hosts["beta"].outside(place)
    outside.mkdir()
    try:
        restored = lab.restore(run.point_id, "--to", "beta", "--disk", "vda", "--disk", "vdb", "--directory", place)
        assert restored.succeeded, restored.failure
        disks = {}
        for disk, kind in (("vda", "qcow2"), ("vdb", "raw")):
            disks[disk] = directory / f"{disk}.raw"
            convert_to_raw(outside / f"{disk}.{kind}", kind, disks[disk])
    finally:
        shutil.rmtree(outside)  # tests after this one look for what a restore left there
    judge_images(image, disks)
