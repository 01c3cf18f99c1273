"""Work under way that is asked for once more: who joins it, and whom a caller that hangs up takes along."""

import asyncio
import gc

import pytest

from seawall.controller.services.joining import Joining


class Worker:
    """Counts how often it begins; answers when its turn comes."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.turn = asyncio.Event()
        self.broken = False
        self.ask: Joining[str, str] = Joining()

    async def work(self, name: str) -> str:
        self.begun.append(name)
        await self.turn.wait()
        if self.broken:
            raise ValueError(name)
        return f"{name} {len(self.begun)}"

    async def asked(self, name: str) -> "asyncio.Task[str]":
        """Waits by now."""
        task = asyncio.create_task(self.ask(name, lambda: self.work(name)))
        for _ in range(3):
            await asyncio.sleep(0)
        return task


async def test_who_asks_again_meanwhile_gets_the_same_answer() -> None:
    worker = Worker()
    tasks = [await worker.asked(name) for name in ("a", "a", "b")]
    worker.turn.set()
    assert await asyncio.gather(*tasks) == ["a 2", "a 2", "b 2"]
    assert worker.begun == ["a", "b"]


async def test_who_asks_afterwards_begins_anew() -> None:
    worker = Worker()
    worker.turn.set()
    assert await (await worker.asked("a")) == "a 1"
    assert await (await worker.asked("a")) == "a 2"


async def test_the_first_that_hangs_up_takes_nobody_along() -> None:
    worker = Worker()
    first, second = await worker.asked("a"), await worker.asked("a")
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    third = await worker.asked("a")
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    worker.turn.set()
    assert await third == "a 1"


async def test_work_goes_on_when_all_have_hung_up_and_is_joined_then() -> None:
    worker = Worker()
    first = await worker.asked("a")
    first.cancel()
    await asyncio.wait([first])
    second = await worker.asked("a")
    worker.turn.set()
    assert await second == "a 1"


async def test_a_failure_is_told_to_each_and_not_remembered() -> None:
    worker = Worker()
    worker.broken = True
    tasks = [await worker.asked("a"), await worker.asked("a")]
    worker.turn.set()
    assert [str(each) for each in await asyncio.gather(*tasks, return_exceptions=True)] == ["a", "a"]
    worker.broken = False
    assert await (await worker.asked("a")) == "a 2"


async def test_a_failure_that_nobody_waits_for_is_no_stray_error() -> None:
    """asyncio tells the loop of an exception that nobody looked at."""
    worker = Worker()
    strays: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: strays.append(context))
    worker.broken = True
    only = await worker.asked("a")
    only.cancel()
    await asyncio.wait([only])
    worker.turn.set()
    for _ in range(3):
        await asyncio.sleep(0)
    gc.collect()
    assert strays == []
