"""The table of workers: what two loops decide at once happens once, and a cut-off start leaves no process unknown."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from seawall.agent.config import AgentConfig
from seawall.agent.control.messages import Assignment, AttemptRef
from seawall.agent.journal import Journal
from seawall.agent.supervisor.leftovers import Leftovers
from seawall.agent.supervisor.reconcile import Start
from seawall.agent.supervisor.workers import Workers
from seawall.repository.clock import SystemClock
from support.agent_host import FAST, TINY_WORKER
from support.agent_memory_hypervisor import MemoryHypervisor


@pytest.fixture
async def workers(tmp_path: Path) -> AsyncIterator[Workers]:
    config = AgentConfig(state_dir=tmp_path / "state", run_dir=tmp_path / "run", scratch_dir=tmp_path / "scratch")
    journal = Journal(config.state_dir, SystemClock())
    leftovers = Leftovers(config, MemoryHypervisor(), journal)
    table = Workers(config, "agent", journal, leftovers, FAST, TINY_WORKER)
    yield table
    await table.stop_all()
    assert table.live() == set() and journal.open_attempts() == []
    journal.close()


def start(attempt_id: str, vm_id: str = "vm") -> Start:
    return Start(Assignment(AttemptRef(attempt_id, 1, 1), "backup", "run", vm_id, "work", False))


async def test_two_loops_that_decide_the_same_start_one_worker(workers: Workers) -> None:
    await asyncio.gather(workers.carry_out([start("a")]), workers.carry_out([start("a")]))
    (health,) = workers.health()
    assert health.attempt_id == "a"


async def test_two_attempts_of_one_vm_do_not_run_together(workers: Workers) -> None:
    await asyncio.gather(workers.carry_out([start("a")]), workers.carry_out([start("b")]))
    assert len(workers.live()) == 1


async def test_a_start_whose_session_ends_is_finished_all_the_same(workers: Workers) -> None:
    task = asyncio.create_task(workers.carry_out([start("a")]))
    await asyncio.sleep(0)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    await workers.carry_out([start("b", "other")])
    assert workers.live() == {"a", "b"}
