"""Real backups before an S3 server that is away, full or refuses: what the operator reads meanwhile, and how it goes on or ends."""

import pytest
from deploy.lab.fault_proxy.rules import (
    ACCESS_DENIED,
    NO_SUCH_BUCKET,
    QUOTA_EXCEEDED,
    Answer,
    FlipBit,
    Hold,
)
from deploy.lab.waiting import wait_for

from support.faulty_backups import FaultyBackups

pytest_plugins = ["support.laboratory", "support.s3_faults"]
pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]


@pytest.mark.slow
def test_a_bucket_that_is_deleted_while_the_point_is_committed(backups: FaultyBackups) -> None:
    """Waited for, as somebody may bring it back; given up when the operator says so."""
    backups.proxy.rule(NO_SUCH_BUCKET, method="PUT", path=backups.path("committed refmap"))
    run = backups.start()
    said = backups.await_said(run, r"waits for +the store", 120)
    assert "BUCKET_MISSING" in said and f"seawall run cancel {run.run_id}" in said
    backups.lab.seawall("run", "cancel", run.run_id)
    ended = backups.ended(run)
    assert ended.state == "failed" and "BUCKET_MISSING" in ended.failure and "back the VM up again" in ended.failure
    assert backups.points() == []
    backups.guest.await_writes(5)
    backups.proxy.clear()
    backups.judge(backups.ended(backups.start()), attempts=1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("answer", "reason", "hint"),
    [
        (QUOTA_EXCEEDED, "STORE_FULL", "Make room"),
        (ACCESS_DENIED, "STORE_REFUSED", "credentials"),
        (NO_SUCH_BUCKET, "BUCKET_MISSING", "bucket"),
    ],
    ids=["full", "denied", "deleted"],
)
def test_a_store_that_refuses_in_the_middle(backups: FaultyBackups, answer: Answer, reason: str, hint: str) -> None:
    """The attempt ends at once, cleanly, with the reason and what to do; what is of use to try again waits for its next try."""
    backups.proxy.rule(answer, method="PUT", path=backups.path("pack"), skip=1)
    run = backups.start()
    backups.await_said(run, rf"(?s){reason}.*{hint}", 120)
    if reason != "BUCKET_MISSING":
        assert backups.lab.run_of(run.run_id).state == "ready"
        backups.lab.seawall("run", "cancel", run.run_id)
    assert backups.ended(run).state == ("failed" if reason == "BUCKET_MISSING" else "canceled")
    assert backups.points() == []
    backups.guest.await_writes(5)
    backups.judge_host()


@pytest.mark.slow
def test_a_server_that_is_down_for_longer_than_all_retries(backups: FaultyBackups) -> None:
    """The attempt says what it waits for, gives up, and the next one finishes the run; the repository is shown as troubled meanwhile."""
    hold = backups.proxy.rule(Hold(), method="PUT", path=backups.path("pack"), skip=1)
    run = backups.start()
    hold.await_held(1, 120)
    backups.lab.kill_service("s3")
    hold.release()
    backups.await_said(run, r"waits for +the store, since 20\d\d-", 60)
    wait_for("the repository to be troubled", lambda: _shown_trouble(backups), 90, backups.lab.logs, 0.5)
    backups.await_said(run, r"(?s)attempt 1 .*STORE_UNAVAILABLE.*Check", 240)
    backups.judge_host()
    backups.guest.await_writes(5)
    backups.lab.start_s3()
    backups.judge(backups.ended(run), attempts=2)
    wait_for("the repository to be well", lambda: not _shown_trouble(backups), 60, backups.lab.logs, 0.5)


def _shown_trouble(backups: FaultyBackups) -> str:
    return str(backups.lab.seawall_json("repo", "show", backups.name)["trouble"])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["pack", "root"])
def test_late_puts_of_an_attempt_whose_successor_won(backups: FaultyBackups, kind: str) -> None:
    """They were on their way when their worker was killed, and arrive after the point is committed: nothing changes for it."""
    late = backups.proxy.rule(Hold(), method="PUT", path=backups.path(kind), times=1)
    run = backups.start()
    late.await_held(1, 120)
    backups.lab.kill_service("agent-alpha")
    backups.lab.start_agent("alpha")
    won = backups.ended(run)
    backups.judge(won, attempts=2)
    late.release()
    late.await_over(1, 30)
    assert [entry.status for entry in late.requests()][0] in (0, 200, 412)  # noqa: RUF015
    backups.judge(won, attempts=2)


@pytest.mark.slow
def test_wrong_bytes_of_the_parent(backups: FaultyBackups) -> None:
    """What the parent's manifest cannot say is read from the disk; the point is as good as any."""
    parent = backups.ended(backups.start())
    assert parent.succeeded, parent.failure
    backups.guest.await_writes(20)
    flipped = backups.proxy.rule(FlipBit(200), method="GET", path=f"/{backups.name}/v1/p/")
    child = backups.ended(backups.start())
    assert flipped.taken() > 0
    flipped.remove()
    backups.judge(child, attempts=1, parent=parent)
    backups.judge_point(parent.point_id)
