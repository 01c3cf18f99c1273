"""A process of the simulated fleet: controller or agent. It can be killed at any moment, and stopped for a while (SIGSTOP)."""

import asyncio
from collections.abc import Coroutine
from contextvars import ContextVar
from typing import Any

CURRENT: ContextVar["Process | None"] = ContextVar("process", default=None)
"""Whose code runs. Tasks and fibres inherit it."""


SERVING: ContextVar[bool] = ContextVar("serving", default=False)
"""Whether a request is being answered: what else a process does is its own work."""


class Died(BaseException):
    """The process of this fibre was killed: nothing that it still does reaches anybody."""


class Process:
    """`name` is for people. All that it does outside of itself passes `awake`, so a killed process changes nothing any more."""

    def __init__(self, name: str, loop: asyncio.AbstractEventLoop) -> None:
        self.name = name
        self.dead = False
        self.stopped_until = 0.0
        self._loop = loop
        self._tasks: dict[asyncio.Task[Any], None] = {}

    def adopt(self, task: "asyncio.Task[Any]") -> None:
        self._tasks[task] = None
        task.add_done_callback(lambda done: self._tasks.pop(done, None))

    def spawn(self, work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        """A task of this process."""
        token = CURRENT.set(self)
        try:
            return self._loop.create_task(work)
        finally:
            CURRENT.reset(token)

    def kill(self) -> None:
        """As kill -9: what its clean-up code does on the way is not heard by anybody."""
        self.dead = True
        for task in list(self._tasks):
            task.cancel()

    async def awake(self) -> None:
        """Returns while the process runs; waits while it is stopped. Raises CancelledError once it is dead."""
        while not self.dead and self._loop.time() < self.stopped_until:
            await asyncio.sleep(self.stopped_until - self._loop.time())
        if self.dead:
            raise asyncio.CancelledError
