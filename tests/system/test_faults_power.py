"""A hypervisor host that loses its power: everything on it dies at once, what lay in memory is gone, and some day it starts again."""

from pathlib import Path

import pytest
from deploy.lab.answers import parse_run
from deploy.lab.victims import QEMU, SUPERVISOR

from support.backup_phases import HAND_IN, HOLD_SECONDS, MANIFEST, TRANSFER, Phase
from support.fault_fleet import FaultFleet

pytest_plugins = ["support.fault_fixtures"]
pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.timeout(600)]

LOST = ("AGENT_RESTARTED", "HOST_LOST")
"""What the operator reads of an attempt that went with its host: the second when that stayed away for longer than its lease."""


def lose_power(faults: FaultFleet, host: str) -> None:
    inside = faults.lab.hosts[host]
    inside.run(["sh", "-c", "kill -9 -1"], check=False)
    inside.run(["sh", "-c", "rm -rf /run/seawall /run/libvirt/*"])


@pytest.mark.parametrize("phase", [TRANSFER, HAND_IN, MANIFEST], ids=lambda phase: phase.name)
def test_in_a_backup(based: FaultFleet, faults: FaultFleet, phase: Phase, tmp_path: Path) -> None:
    """The bitmaps went with QEMU, so the next attempt compares. What the controller had taken over is published meanwhile."""
    faults.guest.await_writes(2)
    scene = faults.scene()
    with phase.held(faults) as (run, rule):
        lose_power(faults, "alpha")
        rule.release()
    if phase is MANIFEST:
        assert faults.await_end(run.run_id).succeeded, "the controller alone goes on with it"
    faults.lab.hypervisors["alpha"].start()
    QEMU.revive(scene)
    SUPERVISOR.revive(scene)
    faults.begin()
    ended = faults.await_end(run.run_id)
    assert ended.succeeded, ended.failure
    *lost, last = faults.reasons(run.run_id)
    assert last == "" and set(lost) <= set(LOST)
    if phase is TRANSFER:
        assert lost and faults.lab.point_of(ended.point_id).disks[0].how == "compare"
    faults.assert_unharmed(ended, tmp_path)


def test_in_a_restore(based: FaultFleet, faults: FaultFleet) -> None:
    lab = faults.lab
    newest = lab.seawall_json("point", "list", "--vm", faults.guest.name)["points"][0]["point_id"]
    with faults.hold("GET", "p", skip=3) as rule:
        words = ("--to", "beta", "--disk", "vda", "--disk", "vdb", "--directory", "/var/lib/seawall/out")
        run_id = parse_run(lab.seawall_json("restore", newest, *words)).run_id
        rule.await_held(1, HOLD_SECONDS)
        lose_power(faults, "beta")
        rule.release()
    lab.hypervisors["beta"].start()
    SUPERVISOR.revive(faults.scene("beta"))
    ended = faults.await_end(run_id)
    assert ended.succeeded, ended.failure
    lost, last = faults.reasons(run_id)
    assert last == "" and lost in LOST
    out = lab.hosts["beta"].outside("/var/lib/seawall/out")
    assert sorted(path.name for path in out.iterdir()) == ["vda.qcow2", "vdb.raw"]
    for path in out.iterdir():
        path.unlink()
    faults.await_clean()
    faults.assert_guest_never_stood()
