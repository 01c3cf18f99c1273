"""Small writes that many callers want at once, carried out together: all that come while one transaction is under way share the next.

Nobody waits for a timer: alone, a caller's item goes at once. Whoever is answered has been written durably, as before.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from seawall.controller.errors import ControllerError, DataLoss, ResourceExhausted, Unavailable

Item = TypeVar("Item")
Answer = TypeVar("Answer")

OF_THE_DATABASE = (Unavailable, ResourceExhausted, DataLoss)
"""What one of them would have met alone as well."""


class Gathering(Generic[Item, Answer]):
    """Belongs to one event loop."""

    def __init__(
        self, carry_out: Callable[[Sequence[Item]], Awaitable[Sequence[Answer | ControllerError]]], most: int
    ) -> None:
        """`carry_out`: all of them in one transaction; an answer for each, or the error that it alone is told. At most so many at once."""
        self._carry_out = carry_out
        self._most = most
        self._waiting: list[tuple[Item, asyncio.Future[Answer]]] = []
        self._working: asyncio.Task[None] | None = None

    async def __call__(self, item: Item) -> Answer:
        """Raises the item's own error, or what the transaction raised."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._working is None or self._working.done():
            self._working = asyncio.create_task(self._work())
        return await future

    async def _work(self) -> None:
        while self._waiting:
            # Whoever has hung up meanwhile will ask again: work for nobody would delay everybody.
            wanted = [each for each in self._waiting if not each[1].done()]
            some, self._waiting = wanted[: self._most], wanted[self._most :]
            if some:
                await self._together(some)

    async def _together(self, some: Sequence[tuple[Item, asyncio.Future[Answer]]]) -> None:
        try:
            answers = await self._carry_out([item for item, _ in some])
        except Exception as error:
            if len(some) > 1 and not isinstance(error, OF_THE_DATABASE):
                # One of them broke the transaction: by halves it comes to one that it breaks alone, at the cost of a few for all.
                middle = len(some) // 2
                await self._together(some[:middle])
                await self._together(some[middle:])
                return
            answers = [error] * len(some)  # type: ignore[list-item]
        for (_, future), answer in zip(some, answers, strict=True):
            if future.done():
                continue  # whoever asked has hung up
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)
