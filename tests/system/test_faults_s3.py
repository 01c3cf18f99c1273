"""Real backups and restores before an S3 server that is busy, slow, cut off, half open, or silent about what it did."""

import pytest
from deploy.lab.fault_proxy.rules import (
    SLOW_DOWN,
    Action,
    Answer,
    CutAnswer,
    CutRequest,
    FlipBit,
    HalfOpen,
    LostAnswer,
    Trickle,
)

from support.faulty_backups import FaultyBackups

pytest_plugins = ["support.laboratory", "support.s3_faults"]
pytestmark = [pytest.mark.system, pytest.mark.timeout(420)]

MIB = 1 << 20


def test_lost_acknowledgements_of_every_kind_of_put(backups: FaultyBackups) -> None:
    """The server has it, nobody was told: the same attempt finds out and goes on, and nothing is stored twice."""
    rules = {
        kind: backups.proxy.rule(LostAnswer(), method="PUT", path=backups.path(kind), times=1)
        for kind in ("pack", "second copy of a meta pack", "root", "refmap", "committed refmap", "manifest")
    }
    run = backups.ended(backups.start())
    backups.judge(run, attempts=1)
    assert {kind: rule.taken() for kind, rule in rules.items()} == dict.fromkeys(rules, 1)


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault",
    [SLOW_DOWN, Answer(500), CutRequest(), CutRequest(MIB), LostAnswer()],
    ids=["slow-down", "error-500", "cut-before", "cut-within", "lost-answer"],
)
def test_a_burst_of_faults_on_all_requests(backups: FaultyBackups, fault: Action) -> None:
    backups.proxy.rule(fault, path=f"/{backups.name}/", times=25)
    backups.judge(backups.ended(backups.start()), attempts=1)


@pytest.mark.slow
def test_a_slow_store(backups: FaultyBackups) -> None:
    """2 MiB/s for each connection: a pack takes longer than any pause between two bytes may."""
    backups.proxy.rule(Trickle(1.5 * MIB), method="PUT", path=backups.path("pack"))
    backups.judge(backups.ended(backups.start()), attempts=1)


@pytest.mark.slow
def test_half_open_connections(backups: FaultyBackups) -> None:
    backups.proxy.rule(HalfOpen(), method="PUT", path=backups.path("pack"), times=1)
    backups.proxy.rule(HalfOpen(reading=False), method="PUT", path=backups.path("pack"), times=1)
    backups.judge(backups.ended(backups.start()), attempts=1)


@pytest.mark.slow
def test_answers_cut_short_in_a_restore(backups: FaultyBackups) -> None:
    run = backups.ended(backups.start())
    rule = backups.proxy.rule(CutAnswer(1000), method="GET", path=f"/{backups.name}/v1/p/", times=20)
    backups.judge_point(run.point_id)
    assert rule.taken() == 20


@pytest.mark.slow
def test_wrong_bytes_in_a_restore(backups: FaultyBackups) -> None:
    """Never written to a disk: the run ends and says which, or reads again."""
    run = backups.ended(backups.start())
    rule = backups.proxy.rule(FlipBit(100_000), method="GET", path=backups.path("pack"))
    place = f"/var/lib/libvirt/images/wrong-{backups.name}"
    backups.lab.hosts["beta"].outside(place).mkdir()
    words = ["--to", "beta", "--disk", "vdb", "--directory", place]
    started = backups.lab.seawall_json("restore", run.point_id, *words)
    run_id = started["runs"][0]["run_id"] if "runs" in started else started["run_id"]
    restore = backups.ended(backups.lab.run_of(run_id))
    assert restore.state == "failed" and "DATA_DAMAGED" in restore.failure, restore.failure
    assert list(backups.lab.hosts["beta"].outside(place).iterdir()) == []
    rule.remove()
    backups.judge_point(run.point_id)
