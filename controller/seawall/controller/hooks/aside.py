"""Blocking calls of hooks, each in a thread of its own: a name server that does not answer holds up nobody's threads but these."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")

MOST = 32
"""Threads at once. A call that is given up keeps its thread until it returns; whoever comes then waits."""


class Aside:
    """Belongs to one event loop. The threads hold up no end of the process."""

    def __init__(self) -> None:
        self._places = asyncio.Semaphore(MOST)

    async def run(self, call: Callable[[], T]) -> T:
        """Raises what the call raises."""
        await self._places.acquire()
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()

        def settle(error: BaseException | None, value: T | None) -> None:
            self._places.release()
            if done.done():  # nobody waits any more
                return
            if error is not None:
                done.set_exception(error)
            else:
                done.set_result(value)  # type: ignore[arg-type]

        def body() -> None:
            error, value = None, None
            try:
                value = call()
            except Exception as raised:
                # The top of a thread: whoever waits raises it.
                error = raised
            with suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(settle, error, value)

        try:
            threading.Thread(target=body, name="hook", daemon=True).start()
        except RuntimeError:  # no more threads
            self._places.release()
            raise
        return await done
