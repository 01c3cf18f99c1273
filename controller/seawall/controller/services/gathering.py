"""Small writes that many callers want at once, carried out together: all that come while one transaction is under way share the next.

Where nobody is in a hurry the first of them waits a little for others: a transaction costs more than what one caller wants of it.
Whoever is answered has been written durably, as before.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Generic, TypeVar

from seawall.controller.errors import ControllerError, DataLoss, ResourceExhausted, Unavailable

Item = TypeVar("Item")
Answer = TypeVar("Answer")

OF_THE_DATABASE = (Unavailable, ResourceExhausted, DataLoss)
"""What one of them would have met alone as well."""


class Gathering(Generic[Item, Answer]):
    """Belongs to one event loop."""

    def __init__(
        self,
        carry_out: Callable[[Sequence[Item]], Awaitable[Sequence[Answer | ControllerError]]],
        most: int,
        linger_seconds: float = 0.0,
    ) -> None:
        """`carry_out`: all of them in one transaction; an answer for each, or the error that it alone is told. At most so many at once.

        `linger_seconds`: how long whoever comes first waits for others; nobody waits for less than a full transaction longer than that.
        """
        self._carry_out = carry_out
        self._most = most
        self._linger_seconds = linger_seconds
        self._full = asyncio.Event()
        self._waiting: list[tuple[Item, asyncio.Future[Answer]]] = []
        self._working: asyncio.Task[None] | None = None

    async def __call__(self, item: Item) -> Answer:
        """Raises the item's own error, or what the transaction raised."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if len(self._waiting) >= self._most:
            self._full.set()
        if self._working is None or self._working.done():
            self._working = asyncio.create_task(self._work())
        return await future

    async def _work(self) -> None:
        while self._waiting:
            await self._linger()
            # Whoever has hung up meanwhile will ask again: work for nobody would delay everybody.
            wanted = [each for each in self._waiting if not each[1].done()]
            some, self._waiting = wanted[: self._most], wanted[self._most :]
            if some:
                await self._together(some)

    async def _linger(self) -> None:
        self._full.clear()
        if self._linger_seconds and len(self._waiting) < self._most:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._linger_seconds):
                    await self._full.wait()

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
