"""Where calls go that wait for a store: a few threads of their own, never the event loop. Errors come back as ControllerError."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from seawall.controller.repositories.outside import told

T = TypeVar("T")


class Blocking:
    """`threads` calls at once; more of them wait."""

    def __init__(self, threads: int = 16) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="store")

    async def run(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, _told, call)

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)


def _told(call: Callable[[], T]) -> T:
    with told():
        return call()
