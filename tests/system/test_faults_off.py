"""Backups of a guest that is off while processes die and somebody starts it: it is off afterwards, or runs as its owner wanted."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from deploy.lab.victims import BOOT_SECONDS, CONTROLLER, LIBVIRTD, QEMU, SUPERVISOR, WORKER, Victim
from deploy.lab.waiting import wait_for

from support.backup_phases import MANIFEST, PARENT, TRANSFER, Phase
from support.fault_fleet import FaultFleet

pytest_plugins = ["support.fault_fixtures"]
pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture
def off(based: FaultFleet, faults: FaultFleet) -> Iterator[FaultFleet]:
    """Its guest has written since the last point, and is off. It runs again afterwards, and found its disks good."""
    faults.guest.await_writes(2)
    faults.guest.destroy()
    wait_for("the guest to be off", lambda: faults.guest.state() == "shut off", 30)
    yield faults
    if faults.guest.state() == "shut off":
        QEMU.revive(faults.scene())


def how_vda(faults: FaultFleet, point_id: str) -> str:
    return next(disk.how for disk in faults.lab.point_of(point_id).disks if disk.disk == "vda")


@pytest.mark.parametrize("phase", [TRANSFER, PARENT], ids=lambda phase: phase.name)
def test_a_vm_that_is_started_during_its_backup_runs(off: FaultFleet, phase: Phase, tmp_path: Path) -> None:
    with phase.held(off) as (run, rule):
        off.guest.start()
        rule.release()
        assert off.guest.await_verdict(BOOT_SECONDS).ok, "its disks are as it left them"
        ended = off.await_end(run.run_id)
    assert ended.succeeded, ended.failure
    attempts = off.reasons(run.run_id)
    assert attempts == ([""] if phase is PARENT else ["VM_STARTED", ""])
    off.await_clean()
    off.assert_guest_never_stood()
    off.judge(ended, tmp_path)


DEATHS = [(WORKER, TRANSFER), (SUPERVISOR, TRANSFER), (LIBVIRTD, TRANSFER), (CONTROLLER, MANIFEST), (WORKER, PARENT)]


@pytest.mark.parametrize(("victim", "phase"), DEATHS, ids=[f"{victim.name}, {phase.name}" for victim, phase in DEATHS])
def test_a_vm_that_is_off_stays_off_whoever_dies(off: FaultFleet, victim: Victim, phase: Phase, tmp_path: Path) -> None:
    scene = off.scene()
    with phase.held(off) as (run, rule):
        victim.kill(scene)
        rule.release()
        victim.revive(scene)
        ended = off.await_end(run.run_id)
    assert ended.succeeded, ended.failure
    assert off.guest.state() == "shut off"
    assert how_vda(off, ended.point_id) == "bitmap"
    off.await_clean()
    off.judge(ended, tmp_path)
    QEMU.revive(scene)
    off.begin()
    after = off.await_end(off.back_up().run_id)
    assert after.succeeded and how_vda(off, after.point_id) == "compare", "the bitmap is older than that point"
    off.assert_unharmed(after, tmp_path)
