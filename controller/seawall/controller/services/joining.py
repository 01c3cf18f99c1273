"""Work that several callers ask for at once, done once: whoever asks for what is under way waits for the same answer.

For work that goes on although its caller hung up, as threads do: whoever then asks again would begin it a second time beside the first.
"""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from functools import partial
from typing import Any, Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Answer = TypeVar("Answer")


class Joining(Generic[Key, Answer]):
    """Belongs to one event loop."""

    def __init__(self) -> None:
        self._under_way: dict[Key, asyncio.Task[Answer]] = {}

    async def __call__(self, key: Key, work: Callable[[], Coroutine[Any, Any, Answer]]) -> Answer:
        """The answer of the work for `key` that is under way, else of `work`, begun now. A caller that hangs up leaves alone.

        Raises what the work raised, to each of them.
        """
        task = self._under_way.get(key)
        if task is None:
            task = self._under_way[key] = asyncio.create_task(work())
            task.add_done_callback(partial(self._over, key))
        return await asyncio.shield(task)

    def _over(self, key: Key, task: asyncio.Task[Answer]) -> None:
        del self._under_way[key]
        if not task.cancelled():
            task.exception()  # looked at: nobody may be left to be told
