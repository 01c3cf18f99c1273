"""Where calls go that wait for a store: a few threads of their own, never the event loop. Errors come back as ControllerError."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from seawall.controller.repositories.outside import told

T = TypeVar("T")
CLOSE_SECONDS = 1.0
"""For calls that are about to end. A file system that hangs may never answer."""
PATIENCE_SECONDS = 10.0
"""For those that waited for something else, as a database that was slow, which is closed by now: they end by themselves."""
THREADS = "store"
"""How their names begin."""


class Blocking:
    """`threads` calls at once; more of them wait."""

    def __init__(self, threads: int = 16) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=THREADS)
        self._closing = threading.Thread(target=self._pool.shutdown, name="closing", daemon=True)

    async def run(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, _told, call)

    def close(self) -> None:
        """Calls that did not begin never do. Those that wait for a store are waited for a moment, then left alone (`hung`)."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._closing.start()
        self._closing.join(CLOSE_SECONDS)

    def hangs(self) -> bool:
        """Whether a call of its own does not end, once this is closed, and the database that such calls ask; waits for it a little.

        Others of this process say nothing of it.
        """
        self._closing.join(PATIENCE_SECONDS)
        return self._closing.is_alive()


def hung() -> list[str]:
    """Names of threads of this process that wait for stores: once all is closed, for some that do not answer. Python waits for each of
    them before it ends.
    """
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(f"{THREADS}_")]


def _told(call: Callable[[], T]) -> T:
    with told():
        return call()
