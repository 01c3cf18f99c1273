"""The table of workers: what two loops decide at once happens once, and a cut-off start leaves no process unknown."""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from structlog.testing import CapturingLogger

from seawall.agent.config import AgentConfig
from seawall.agent.control.messages import Assignment, AttemptRef
from seawall.agent.journal import Journal
from seawall.agent.supervisor import live_worker
from seawall.agent.supervisor.leftovers import Leftovers
from seawall.agent.supervisor.reconcile import Start
from seawall.agent.supervisor.workers import Workers
from seawall.repository.clock import SystemClock
from support.agent_host import FAST, TINY_WORKER
from support.agent_memory_hypervisor import MemoryHypervisor

ON_PID = "CREATE TRIGGER full BEFORE UPDATE OF pid ON attempts BEGIN SELECT RAISE(ABORT, 'disk full'); END"


@pytest.fixture
async def workers(tmp_path: Path) -> AsyncIterator[Workers]:
    config = AgentConfig(state_dir=tmp_path / "state", run_dir=tmp_path / "run", scratch_dir=tmp_path / "scratch")
    journal = Journal(config.state_dir, SystemClock())
    leftovers = Leftovers(config, MemoryHypervisor(), journal)
    table = Workers(config, "agent", journal, leftovers, FAST, TINY_WORKER)
    yield table
    await table.stop_all()
    assert table.live() == set()
    journal.close()


def start(attempt_id: str, vm_id: str = "vm", behaviour: str = "work") -> Start:
    return Start(Assignment(AttemptRef(attempt_id, 1, 1), "backup", "run", vm_id, behaviour, False))


async def gone(workers: Workers, attempt_id: str) -> None:
    async with asyncio.timeout(10):
        while attempt_id in workers.live():
            await asyncio.sleep(0.01)


def spoil(state_dir: Path, sql: str) -> None:
    """Break the journal as another process could."""
    with contextlib.closing(sqlite3.connect(state_dir / "journal.sqlite")) as database:
        database.execute(sql)
        database.commit()


async def test_two_loops_that_decide_the_same_start_one_worker(workers: Workers) -> None:
    await asyncio.gather(workers.carry_out([start("a")]), workers.carry_out([start("a")]))
    (health,) = workers.health()
    assert health.attempt_id == "a"


async def test_two_attempts_of_one_vm_do_not_run_together(workers: Workers) -> None:
    await asyncio.gather(workers.carry_out([start("a")]), workers.carry_out([start("b")]))
    assert len(workers.live()) == 1


async def test_a_worker_that_never_hears_of_its_hand_in_does_not_keep_its_vm_for_ever(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing else ends it: what was handed in is fenced by nobody. And the log says who did."""
    said = CapturingLogger()
    monkeypatch.setattr(live_worker, "_log", said)
    await workers.carry_out([start("a", behaviour="settle")])
    await gone(workers, "a")
    assert [report.failure.reason for report in workers.reports] == ["WORKER_EXITED"]
    assert [(call.args, call.kwargs["was"]) for call in said.calls] == [(("worker_killed",), "SETTLING")]
    await workers.carry_out([start("b")])
    assert workers.live() == {"b"}


async def test_a_start_whose_session_ends_is_finished_all_the_same(workers: Workers) -> None:
    task = asyncio.create_task(workers.carry_out([start("a")]))
    await asyncio.sleep(0)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    await workers.carry_out([start("b", "other")])
    assert workers.live() == {"a", "b"}


async def test_a_log_on_a_full_disk_costs_the_log_alone(workers: Workers, tmp_path: Path) -> None:
    (tmp_path / "state" / "logs").mkdir()
    (tmp_path / "state" / "logs" / "a.log").symlink_to("/dev/full")
    await workers.carry_out([start("a", behaviour="loud")])
    await gone(workers, "a")
    assert workers.reports == []


async def test_a_journal_that_fails_later_loses_no_worker(workers: Workers, tmp_path: Path) -> None:
    await workers.carry_out([start("a", behaviour="crash")])
    spoil(tmp_path / "state", "DROP TABLE checkpoints")
    spoil(tmp_path / "state", ON_PID)
    await gone(workers, "a")
    assert [report.failure.reason for report in workers.reports] == ["WORKER_EXITED"]
    await workers.carry_out([start("b")])
    assert workers.live() == {"b"}


async def test_a_pid_that_cannot_be_journalled_leaves_no_unknown_worker(workers: Workers, tmp_path: Path) -> None:
    spoil(tmp_path / "state", ON_PID)
    await workers.carry_out([start("a")])
    (health,) = workers.health()
    assert health.attempt_id == "a" and Path(f"/proc/{health.pid}").exists()


async def test_what_cannot_be_journalled_is_not_started_and_said(workers: Workers, tmp_path: Path) -> None:
    spoil(tmp_path / "state", "DROP TABLE attempts")
    await workers.carry_out([start("a")])
    assert workers.live() == set()
    assert [report.failure.reason for report in workers.reports] == ["JOURNAL_UNUSABLE"]
