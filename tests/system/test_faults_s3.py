"""Real backups and restores before an S3 server that is busy, slow, cut off, half open, or silent about what it did."""

import pytest
from deploy.lab.fault_proxy.rules import (
    SLOW_DOWN,
    Action,
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
def test_a_store_that_is_away_while_the_point_is_committed(backups: FaultyBackups) -> None:
    """Everything is handed in: the controller finishes whenever the store lets it, and says what it waits for."""
    away = backups.proxy.rule(SLOW_DOWN, method="PUT", path=backups.path("manifest"))
    run = backups.start()
    said = backups.await_said(run, r"waits for +the store, since 20\d\d-", 120)
    assert "STORE_UNAVAILABLE" in said and "Check the store" in said
    assert backups.points() == []
    backups.guest.await_writes(5)
    away.remove()
    backups.judge(backups.ended(run), attempts=1)


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault",
    [SLOW_DOWN, CutRequest(MIB), LostAnswer()],
    ids=["slow-down", "cut-within", "lost-answer"],
)
def test_a_burst_of_faults_on_all_requests(backups: FaultyBackups, fault: Action) -> None:
    backups.proxy.rule(fault, path=f"/{backups.name}/", times=25)
    backups.judge(backups.ended(backups.start()), attempts=1)


@pytest.mark.slow
def test_a_slow_store(backups: FaultyBackups) -> None:
    """Each connection takes 0.7 MiB/s: slow is not broken."""
    backups.proxy.rule(Trickle(0.7 * MIB), method="PUT", path=backups.path("pack"))
    backups.judge(backups.ended(backups.start()), attempts=1)


@pytest.mark.slow
def test_half_open_connections(backups: FaultyBackups) -> None:
    backups.proxy.rule(HalfOpen(), method="PUT", path=backups.path("pack"), times=1)
    backups.proxy.rule(HalfOpen(reading=False), method="PUT", path=backups.path("pack"), times=1)
    backups.judge(backups.ended(backups.start()), attempts=1)


@pytest.mark.slow
def test_faults_in_a_restore(backups: FaultyBackups) -> None:
    run = backups.ended(backups.start())
    faults = ((CutAnswer(1000), 10), (SLOW_DOWN, 5), (LostAnswer(), 5), (HalfOpen(), 1))
    path = f"/{backups.name}/v1/p/"
    rules = [backups.proxy.rule(fault, method="GET", path=path, times=times) for fault, times in faults]
    backups.judge_point(run.point_id)
    assert [rule.taken() for rule in rules] == [times for _, times in faults]


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
