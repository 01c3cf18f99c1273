"""The controller's look at itself goes on whatever a look meets."""

import asyncio
from pathlib import Path

import pytest

from seawall.controller.errors import Unavailable
from seawall.controller.runs.steady import SteadyClock
from seawall.controller.server.drain import Drain
from seawall.controller.timings import Timings
from seawall.controller.vitals import vitals
from seawall.repository.clock import SystemClock


async def test_a_file_system_that_does_not_answer_ends_no_watch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after an error of the disk: a failed write is said, and is forgotten once writes succeed."""
    monkeypatch.setattr(vitals, "LOOK_SECONDS", 0.02)
    clock, drain = SystemClock(), Drain()
    timings = Timings(scheduler_interval_seconds=0.01)
    watch = vitals.Vitals(clock, SteadyClock(clock), timings, tmp_path / "gone")
    watch.write_failed(Unavailable("DATABASE_UNWRITABLE", "the disk fails"))
    may_start = [watch.may_start]
    said: asyncio.Queue[bool] = asyncio.Queue()
    looking = asyncio.create_task(watch.run(said.put, drain))
    async with asyncio.timeout(30):
        assert [await said.get(), await said.get()] == [False, True]
    may_start.append(watch.may_start)
    assert may_start == [False, True] and not looking.done()
    drain.start()
    await looking


async def test_a_step_to_the_leaders_time_is_no_jump_of_the_machines_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vitals, "LOOK_SECONDS", 0.02)
    clock, drain = JumpingClock(), Drain()
    steady = SteadyClock(clock)
    watch = vitals.Vitals(clock, steady, Timings(), None)
    looking = asyncio.create_task(watch.run(_nobody, drain))
    steady.agree(steady.now_us() + 3600 * 1_000_000)
    clock.ahead_us = 60 * 1_000_000
    jumps: list[str] = []
    async with asyncio.timeout(30):
        while not jumps:
            await asyncio.sleep(0.01)
            jumps = [each for each in watch.sentences() if "machine jumped" in each]
    assert "jumped ahead by 0:01:00" in jumps[0]
    drain.start()
    await looking


class JumpingClock(SystemClock):
    """Its wall time jumps."""

    ahead_us = 0

    def now_us(self) -> int:
        return super().now_us() + self.ahead_us


async def _nobody(ready: bool) -> None:
    """Is told."""
