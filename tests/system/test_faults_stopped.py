"""Processes that stand still (SIGSTOP) for longer than the deadlines about them, and go on as if nothing had happened (SIGCONT)."""

import time
from pathlib import Path

import pytest
from deploy.lab.answers import parse_run
from deploy.lab.traces import traces
from deploy.lab.victims import CONTROLLER, LIBVIRTD, QEMU, S3, SUPERVISOR, WORKER, Victim
from deploy.lab.waiting import wait_for

from support.backup_phases import HOLD_SECONDS, MANIFEST, PARENT, TRANSFER, Phase
from support.fault_fleet import TIMINGS, FaultFleet

pytest_plugins = ["support.fault_fixtures"]
pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.timeout(600)]

OUTLASTING_SECONDS = TIMINGS["no_progress_seconds"] + TIMINGS["lease_ttl_seconds"]
"""Longer than every deadline that the controller has for an attempt."""

GIVEN_UP = {WORKER: "NO_PROGRESS", S3: "NO_PROGRESS", SUPERVISOR: "HOST_LOST"}


@pytest.mark.parametrize("victim", list(GIVEN_UP), ids=lambda victim: victim.name)
def test_an_attempt_that_stands_still_is_given_up_and_succeeded(
    based: FaultFleet, faults: FaultFleet, victim: Victim, tmp_path: Path
) -> None:
    """What stood still finds out that it is late: it publishes nothing, ends nothing of its successor's, and leaves nothing."""
    faults.guest.await_writes(2)
    with TRANSFER.held(faults) as (run, rule):
        with victim.stopped(faults.scene()):
            if victim is not SUPERVISOR:  # without it the worker would finish alone
                rule.release()
            wait_for("the attempt to be given up", lambda: first_is_over(faults, run.run_id), 120, faults.lab.logs)
            faults.guest.await_writes(5)
            rule.release()
            if victim is SUPERVISOR:
                wait_for("its worker to fence itself", lambda: not WORKER.pids(faults.scene()), 60, faults.lab.logs)
        ended = faults.await_end(run.run_id)
    assert ended.succeeded, ended.failure
    assert faults.reasons(run.run_id) == [GIVEN_UP[victim], ""]
    faults.assert_unharmed(ended, tmp_path)


@pytest.mark.parametrize("phase", [TRANSFER, MANIFEST], ids=lambda phase: phase.name)
def test_a_controller_that_stood_still_blames_nobody(
    based: FaultFleet, faults: FaultFleet, phase: Phase, tmp_path: Path
) -> None:
    """All leases and deadlines have passed when it goes on; the agents could not tell it that they work."""
    faults.guest.await_writes(2)
    with phase.held(faults) as (run, rule):
        with CONTROLLER.stopped(faults.scene()):
            rule.release()
            time.sleep(OUTLASTING_SECONDS)
            faults.guest.await_writes(5)
        ended = faults.await_end(run.run_id)
    assert ended.succeeded, ended.failure
    assert faults.reasons(run.run_id) == [""], "the same attempt goes on"
    faults.assert_unharmed(ended, tmp_path)


@pytest.mark.parametrize("victim", [WORKER, SUPERVISOR, S3], ids=lambda victim: victim.name)
def test_standing_still_while_the_point_is_published(
    based: FaultFleet, faults: FaultFleet, victim: Victim, tmp_path: Path
) -> None:
    faults.guest.await_writes(2)
    with MANIFEST.held(faults) as (run, rule):
        with victim.stopped(faults.scene()):
            rule.release()
            if victim is not S3:
                assert faults.await_end(run.run_id).succeeded, "the controller alone goes on with it"
            else:
                time.sleep(OUTLASTING_SECONDS)
            faults.guest.await_writes(5)
        ended = faults.await_end(run.run_id)
    assert ended.succeeded, ended.failure
    assert faults.reasons(run.run_id) == [""]
    faults.assert_unharmed(ended, tmp_path)


@pytest.mark.parametrize("phase", [PARENT, TRANSFER], ids=lambda phase: phase.name)
def test_libvirtd_stands_still(based: FaultFleet, faults: FaultFleet, phase: Phase, tmp_path: Path) -> None:
    """Before the snapshot nothing can begin; after it the data flows past libvirt, and the job is ended as soon as that answers."""
    faults.guest.await_writes(2)
    with phase.held(faults) as (run, rule):
        with LIBVIRTD.stopped(faults.scene()):
            rule.release()
            if phase is PARENT:
                wait_for("the attempt to be given up", lambda: first_is_over(faults, run.run_id), 120, faults.lab.logs)
            else:
                time.sleep(OUTLASTING_SECONDS)
            faults.guest.await_writes(5)
        ended = faults.await_end(run.run_id)
    assert ended.succeeded, ended.failure
    reasons = faults.reasons(run.run_id)
    assert reasons[-1] == "" and set(reasons) <= {"HYPERVISOR_TIMEOUT", "PREPARE_TIMEOUT", ""}
    faults.assert_unharmed(ended, tmp_path)


@pytest.mark.parametrize("phase", [PARENT, TRANSFER], ids=lambda phase: phase.name)
def test_qemu_stands_still(based: FaultFleet, faults: FaultFleet, phase: Phase, tmp_path: Path) -> None:
    """The VM itself stands still here, and goes on; a snapshot that it takes late, for an attempt that is over, does not stay."""
    faults.guest.await_writes(2)
    with phase.held(faults) as (run, rule):
        with QEMU.stopped(faults.scene()):
            rule.release()
            wait_for("the attempt to be given up", lambda: first_is_over(faults, run.run_id), 180, faults.lab.logs)
        ended = faults.await_end(run.run_id)
    assert ended.succeeded, ended.failure
    reasons = faults.reasons(run.run_id)
    assert reasons[-1] == "" and set(reasons) <= {
        "HYPERVISOR_TIMEOUT",
        "PREPARE_TIMEOUT",
        "DISK_UNREADABLE",
        "VM_BUSY",
        "",
    }
    faults.assert_unharmed(ended, tmp_path)


IN_A_RESTORE = {**GIVEN_UP, CONTROLLER: "", LIBVIRTD: ""}
"""What the first attempt ends with; "": it goes on."""


@pytest.mark.parametrize("victim", list(IN_A_RESTORE), ids=lambda victim: victim.name)
def test_standing_still_in_a_restore(based: FaultFleet, faults: FaultFleet, victim: Victim) -> None:
    """What is given up is begun anew from nothing; the guest on the other host does not notice any of it."""
    lab, reason = faults.lab, IN_A_RESTORE[victim]
    newest = lab.seawall_json("point", "list", "--vm", faults.guest.name)["points"][0]["point_id"]
    scene = faults.scene("beta")
    with faults.hold("GET", "p", skip=3) as rule:
        words = ("--to", "beta", "--disk", "vdb", "--directory", "/var/lib/seawall/out")
        run_id = parse_run(lab.seawall_json("restore", newest, *words)).run_id
        rule.await_held(1, HOLD_SECONDS)
        with victim.stopped(scene):
            if victim is not SUPERVISOR:  # without it the worker would finish alone
                rule.release()
            if reason:
                wait_for("the attempt to be given up", lambda: first_is_over(faults, run_id), 120, lab.logs)
            else:
                time.sleep(OUTLASTING_SECONDS)
            if victim is WORKER:
                wait_for("its files to be gone", lambda: traces(lab.hypervisors["beta"]) == [], 60, lab.logs)
            if victim is SUPERVISOR:
                rule.release()
                wait_for("its worker to fence itself", lambda: not WORKER.pids(scene), 60, lab.logs)
        ended = faults.await_end(run_id)
    assert ended.succeeded, ended.failure
    assert faults.reasons(run_id) == ([reason, ""] if reason else [""])
    out = lab.hosts["beta"].outside("/var/lib/seawall/out")
    assert [path.name for path in out.iterdir()] == ["vdb.raw"]
    (out / "vdb.raw").unlink()
    faults.await_clean()
    faults.assert_guest_never_stood()


def first_is_over(faults: FaultFleet, run_id: str) -> bool:
    first = faults.run(run_id)["attempts"][0]
    return first["state"] in ("failed", "abandoned", "expired", "succeeded")
