"""An event loop whose time is simulated: when nothing is ready it jumps to the next timer. One process, one thread at a time, no waiting.

What the product gives to threads runs in *fibres* (`fibres.py`): threads that hand over to each other, so that who runs is decided by the
loop's timers alone.
"""

import asyncio
import itertools
from asyncio import base_events
from collections.abc import Callable, Coroutine, Generator
from typing import Any, cast

from .fibres import in_fibre
from .process import CURRENT


class Idle(RuntimeError):
    """Nothing will ever happen again, and somebody still waits."""


class _Jump:
    """In the place of a selector."""

    def __init__(self, loop: "SimulatedLoop") -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise Idle("no timer is set and no callback is ready")
        if timeout > 0:
            self._loop.now += timeout
        return []


class _Numbered:
    """Hashed by the order in which they were made. By their addresses, as it is else, a set of tasks or futures would be walked in another
    order in each process: the product has such sets, and so have asyncio's own TaskGroup and wait.
    """

    __slots__ = ()
    _number: int

    def __hash__(self) -> int:
        return self._number


class _Future(_Numbered, asyncio.Future[Any]):
    __slots__ = ("_number",)

    def __init__(self, loop: "SimulatedLoop") -> None:
        self._number = next(loop.numbers)
        super().__init__(loop=loop)


class _Task(_Numbered, asyncio.Task[Any]):
    __slots__ = ("_number",)

    def __init__(self, work: Coroutine[Any, Any, Any], loop: "SimulatedLoop", **options: Any) -> None:
        self._number = next(loop.numbers)  # first of all: a task that is made is put into a set
        super().__init__(work, loop=loop, **options)


class SimulatedLoop(base_events.BaseEventLoop):
    """`now`: simulated seconds since the beginning. Tasks belong to the process (`process.CURRENT`) that made them."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.numbers = itertools.count(1)
        self._selector = _Jump(self)
        self._clock_resolution = 1e-9
        self.set_exception_handler(lambda loop, context: None)  # of tasks that were killed, and that nobody awaits
        self.set_task_factory(_owned_task)

    def time(self) -> float:
        return self.now

    def create_future(self) -> "asyncio.Future[Any]":
        return _Future(self)

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> "asyncio.Future[Any]":  # type: ignore[override]
        """Whatever the executor: a fibre. Who awaits it may go away; like a thread, it goes on."""
        return asyncio.shield(self.create_task(in_fibre(lambda: func(*args))))

    def add_signal_handler(self, *_: Any) -> None:  # type: ignore[override]
        """Nobody sends signals here."""

    def remove_signal_handler(self, sig: int) -> bool:
        return False

    def _process_events(self, event_list: list[Any]) -> None:
        """There are none: there are no files."""

    def _write_to_self(self) -> None:
        """No other thread wakes this loop."""


def _owned_task(
    loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any] | Generator[Any, None, Any], **options: Any
) -> "asyncio.Task[Any]":
    task = _Task(cast("Coroutine[Any, Any, Any]", coroutine), cast("SimulatedLoop", loop), **options)
    context = options.get("context")
    process = CURRENT.get(None) if context is None else context.get(CURRENT)
    if process is not None:
        process.adopt(task)
    return task


def simulate(main: Callable[[SimulatedLoop], Coroutine[Any, Any, None]]) -> None:
    """Run it to its end in a loop of its own; what it left running is dropped."""
    loop = SimulatedLoop()
    try:
        loop.run_until_complete(main(loop))
    finally:
        rest = [task for task in asyncio.all_tasks(loop) if not task.done()]
        for task in rest:
            task.cancel()
        loop.run_until_complete(_ended(rest))
        loop.close()


async def _ended(tasks: "list[asyncio.Task[Any]]") -> None:
    if tasks:
        await asyncio.wait(tasks, timeout=60.0)
