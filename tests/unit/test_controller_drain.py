"""The end of a controller's tasks: waited for, given up, and left alone where even that does not end them."""

import asyncio

import pytest

from seawall.controller.server import drain
from seawall.controller.server.drain import end_tasks


async def test_tasks_that_end_in_time_are_waited_for() -> None:
    ended: list[str] = []

    async def soon() -> None:
        await asyncio.sleep(0.01)
        ended.append("soon")

    assert await end_tasks([asyncio.create_task(soon())], 5) == []
    assert ended == ["soon"]
    assert await end_tasks([], 5) == []


async def test_a_task_that_waits_for_ever_keeps_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does one that waits on when it is cancelled: for a process, say, that the kernel does not let go."""
    monkeypatch.setattr(drain, "CANCEL_SECONDS", 0.05)
    goes_on = asyncio.Event()

    async def stubborn() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await goes_on.wait()

    tasks = [asyncio.create_task(asyncio.Event().wait()), asyncio.create_task(stubborn())]
    late = await asyncio.wait_for(end_tasks(tasks, 0.01), 5)  # type: ignore[arg-type]
    assert set(late) == set(tasks)
    assert [task.cancelled() for task in tasks] == [True, False]
    goes_on.set()
    await asyncio.wait(tasks)
