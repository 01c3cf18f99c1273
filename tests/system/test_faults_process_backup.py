"""Every process that takes part in a backup, killed in every phase of it.

The phase is fixed by holding back the S3 request that it consists of. Backups are incremental, one upon the other: a fault that spoils a
checkpoint or publishes a bad point shows in the points after it, too.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from deploy.lab.victims import CONTROLLER, LIBVIRTD, QEMU, S3, SUPERVISOR, WORKER, Victim

from support.backup_phases import HAND_IN, MANIFEST, PARENT, PHASES, TRANSFER, VALIDATED, Phase
from support.fault_fleet import FaultFleet

pytest_plugins = ["support.fault_fixtures"]
pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]


AGAIN = {WORKER: "WORKER_EXITED", SUPERVISOR: "AGENT_RESTARTED"}
"""Victims whose attempt dies with them, and what is said of it."""

QUICK = [(WORKER, TRANSFER), (CONTROLLER, MANIFEST)]


def cases() -> Iterator[object]:
    """All victims in all phases but QEMU, which has expectations of its own."""
    for victim in (WORKER, SUPERVISOR, CONTROLLER, LIBVIRTD, S3):
        for phase in PHASES:
            marks = () if (victim, phase) in QUICK else (pytest.mark.slow,)
            yield pytest.param(victim, phase, marks=marks, id=f"{victim.name}, {phase.name}")


@pytest.mark.parametrize(("victim", "phase"), list(cases()))
def test_killed_and_brought_back(
    based: FaultFleet, faults: FaultFleet, victim: Victim, phase: Phase, tmp_path: Path
) -> None:
    faults.guest.await_writes(2)
    scene = faults.scene()
    with phase.held(faults) as (run, rule):
        victim.kill(scene)
        killed = datetime.now(UTC)
        faults.guest.await_writes(5)
        rule.release()  # what was on its way arrives late, if all of it had been sent
        victim.revive(scene)
        ended = faults.await_end(run.run_id)
    assert ended.succeeded, ended.failure
    attempts = faults.reasons(run.run_id)
    assert attempts[-1] == "" and len(attempts) <= 3
    if victim in AGAIN and phase in (PARENT, TRANSFER):
        # Killed so early the host may not have told that it began: that attempt expires, which is no failure.
        early = victim is SUPERVISOR and phase is PARENT and attempts == [""]
        assert early or attempts == [AGAIN[victim], ""]
        instant = faults.lab.point_of(ended.point_id).instant
        assert (instant < killed) == (phase is TRANSFER), "what had been taken when its worker died is gone on with"
    if victim is SUPERVISOR and phase is HAND_IN:
        assert attempts in ([AGAIN[victim], ""], [""]), "its worker may hand in with its last breath"
    if victim in (CONTROLLER, S3) or phase in VALIDATED:
        assert attempts == [""], "the same attempt goes on"
    faults.assert_unharmed(ended, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("phase", PHASES, ids=lambda phase: phase.name)
def test_qemu_is_killed(based: FaultFleet, faults: FaultFleet, phase: Phase, tmp_path: Path) -> None:
    """The VM is off then, and its run goes on with it as it is. The backup after it does not trust the bitmaps."""
    faults.guest.await_writes(2)
    scene = faults.scene()
    try:
        with phase.held(faults) as (run, rule):
            QEMU.kill(scene)
            rule.release()
            ended = faults.await_end(run.run_id)
    finally:
        QEMU.revive(scene)
    assert ended.succeeded, ended.failure
    attempts = faults.reasons(run.run_id)
    assert attempts in ([""], ["VM_STOPPED", ""])
    if phase is PARENT:
        assert attempts == [""], "nothing had begun"
    faults.judge(ended, tmp_path)
    faults.begin()
    after = faults.await_end(faults.back_up().run_id)
    assert after.succeeded, after.failure
    assert faults.lab.point_of(after.point_id).disks[0].how == "compare"
    faults.assert_unharmed(after, tmp_path)
