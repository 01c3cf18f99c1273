"""The guest comes first, on the real laboratory: latencies as QEMU counts them hold reading back, limits are kept, and the run says so."""

import time
from collections.abc import Iterator

import pytest
from deploy.lab.laboratory import Laboratory
from deploy.lab.waiting import wait_for

from support.paced_guest import PacedGuest

pytest_plugins = ["support.laboratory"]
pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.timeout(600)]

IMAGES = "/var/lib/libvirt/images"
DISK_MIB = 96


@pytest.fixture(scope="module")
def guest(fleet: Laboratory) -> Iterator[PacedGuest]:
    """It writes fifty times a second; nothing of its disk is zero."""
    alpha = fleet.hypervisors["alpha"]
    made = PacedGuest("paced", alpha.virsh, alpha.host.outside(IMAGES), IMAGES, disk_mib=DISK_MIB)
    try:
        made.fill()
        made.start()
        fleet.await_vm(made.name, "alpha")
        yield made
        made.assert_never_failed()
    finally:
        made.remove()


def in_a_repository_of_its_own(fleet: Laboratory, name: str) -> str:
    """So that everything is read."""
    fleet.add_repository(name)
    return name


def test_a_guest_that_waits_longer_than_its_ceiling_holds_reading_back(fleet: Laboratory, guest: PacedGuest) -> None:
    """A ceiling of 1 ms is less than an emulated disk takes: what was said holds, at the slowest rate that ends one day."""
    fleet.seawall("vm", "protect", guest.name, "--latency-ceiling", "1ms")
    try:
        run = fleet.start_backup(guest.name, repository=in_a_repository_of_its_own(fleet, "held-back"))

        def sentence() -> str:
            """What it waits for, where that is the guest and was looked at; "" else."""
            attempts = fleet.seawall_json("run", "show", run.run_id)["attempts"]
            told = str(attempts[-1]["progress"]["waiting_on"]) if attempts and attempts[-1]["progress"] else ""
            return told if "guest latency (vd" in told else ""

        waiting = wait_for("the guest to be waited for", sentence, 120, fleet.logs)
        assert waiting.startswith("guest latency (vd") and "ceiling 1.0 ms)" in waiting
        assert fleet.await_end(run.run_id, 300).succeeded
        shown = fleet.seawall_json("run", "show", run.run_id)
    finally:
        fleet.seawall("vm", "protect", guest.name, "--unset", "all")
    assert "Guest latency: reading is held back above 1 ms (vm protect)." in shown["settings"]
    progress = shown["attempts"][-1]["progress"]
    assert progress["held_back_ms"] > 5000
    assert any(
        "for the guest's sake" in note and "above the ceiling of 1.0 ms (set)" in note for note in progress["notes"]
    )


def test_a_limit_is_kept_and_told(fleet: Laboratory, guest: PacedGuest) -> None:
    repository = in_a_repository_of_its_own(fleet, "limited")
    begun = time.monotonic()
    run = fleet.start_backup(guest.name, "--limit", "5MB/s", "--latency-ceiling", "10s", repository=repository)
    ended = fleet.await_end(run.run_id, 300)
    took = time.monotonic() - begun
    assert ended.succeeded
    assert took > (DISK_MIB << 20) / 5_000_000 * 0.9
    shown = fleet.seawall_json("run", "show", run.run_id)
    assert "Reading: at most 5 MB/s (the backup command)." in shown["settings"]
    assert any(note.endswith("for the limit of 5.0 MB/s.") for note in shown["attempts"][-1]["progress"]["notes"])
