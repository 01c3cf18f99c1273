"""An agent whose controller stands still behind its connection goes on with another one: heartbeats, orders, and what was under way."""

from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from support.agent_host import AgentHost, enrolled_host
from support.scripted_controller import ScriptedController
from support.still_line import StillLine, still_line

SILENCE_SECONDS = 0.3
POLL_SECONDS = 60.0
"""Longer than any test waits: an order that comes sooner came by another connection."""


@pytest.fixture
async def controller() -> AsyncIterator[ScriptedController]:
    async with ScriptedController(poll_wait_seconds=POLL_SECONDS).serving() as serving:
        yield serving


@pytest.fixture
async def lines(controller: ScriptedController) -> AsyncIterator[list[StillLine]]:
    """Three ways to it, as if to three controllers of one database."""
    port = int(controller.address.rpartition(":")[2])
    with ExitStack() as opened:
        yield [opened.enter_context(still_line(port)) for _ in range(3)]


@pytest.fixture
def host(tmp_path: Path, controller: ScriptedController, lines: list[StillLine]) -> AgentHost:
    address = ",".join(line.address for line in lines)
    identity = controller.authority.identity(address)
    return enrolled_host(tmp_path, controller, identity).with_timing(silence=SILENCE_SECONDS)


async def silenced(controller: ScriptedController, lines: list[StillLine]) -> StillLine:
    """The one that the agent uses."""
    before = [line.carried_bytes for line in lines]
    beats = controller.heartbeats
    await controller.until(lambda: controller.heartbeats > beats + 2)
    (used,) = (line for line, carried in zip(lines, before, strict=True) if line.carried_bytes > carried + 500)
    used.still(True)
    return used


async def test_it_goes_on_with_another_one_each_time(
    controller: ScriptedController, lines: list[StillLine], host: AgentHost
) -> None:
    async with host.running():
        await controller.until(lambda: controller.heartbeats > 2)
        gone: list[StillLine] = []
        for number in range(2):
            gone.append(await silenced(controller, lines))
            beats = controller.heartbeats
            await controller.until(lambda beats=beats: controller.heartbeats > beats + 2)  # type: ignore[misc]
            attempt = controller.assign("work")
            await controller.until(lambda attempt=attempt: attempt in controller.progress)  # type: ignore[misc]
            assert len(controller.hellos) == 1, f"the session is the same, time {number}"
        assert len({id(await silenced(controller, lines)), *map(id, gone)}) == 3
        for line in lines:
            line.still(False)


async def test_it_leaves_one_after_the_other_before_its_calls_give_up(
    controller: ScriptedController, lines: list[StillLine], host: AgentHost
) -> None:
    """Each time it bears more silence, but never more than a call has time for."""
    async with host.with_timing(call=4 * SILENCE_SECONDS).running():
        await controller.until(lambda: controller.heartbeats > 2)
        for _ in range(4):
            used = await silenced(controller, lines)
            await more_heartbeats(controller)
            used.still(False)
            await more_heartbeats(controller)  # it has said its last words by then


async def more_heartbeats(controller: ScriptedController) -> None:
    beats = controller.heartbeats
    await controller.until(lambda: controller.heartbeats > beats + 2)
