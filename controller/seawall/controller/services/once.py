"""Mutations that happen once: the same request id of the same caller gets the same answer."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from seawall.controller.errors import InvalidArgument
from seawall.controller.store.transaction import Store, Transaction
from seawall.controller.timings import Timings, microseconds
from seawall.repository.clock import Clock

PRINCIPAL = "operator"
LONGEST_ID = 128


@dataclass(slots=True)
class _Turn:
    """Who has the lock, or waits for it."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    callers: int = 0


class Once:
    """Answers are short texts (ids). Belongs to one event loop."""

    def __init__(self, store: Store, clock: Clock, timings: Timings) -> None:
        self._store = store
        self._clock = clock
        self._life_us = microseconds(timings.remember_answers_seconds)
        self._turns: dict[str, _Turn] = {}

    def within(self, transaction: Transaction, method: str, request_id: str, act: Callable[[], str]) -> str:
        """For mutations of the database alone: act and answer commit together.

        Raises InvalidArgument/BAD_REQUEST_ID, REQUEST_ID_REUSED.
        """
        known = self.known(transaction, method, request_id)
        if known is not None:
            return known
        answer = act()
        self._remember(transaction, method, request_id, answer)
        return answer

    def known(self, transaction: Transaction, method: str, request_id: str) -> str | None:
        """The answer that was given before. Raises InvalidArgument/BAD_REQUEST_ID, REQUEST_ID_REUSED."""
        return transaction.answers.answer(PRINCIPAL, _checked(request_id), method)

    async def around(self, method: str, request_id: str, act: Callable[[], Awaitable[str]]) -> str:
        """For mutations that reach further. Requests of one id wait for each other; after a crash in between, `act` meets its own work."""
        turn = self._turns.setdefault(_checked(request_id), _Turn())
        turn.callers += 1
        try:
            async with turn.lock:
                known = await self._store.read(
                    lambda transaction: transaction.answers.answer(PRINCIPAL, request_id, method)
                )
                if known is not None:
                    return known
                answer = await act()
                await self._store.write(lambda transaction: self._remember(transaction, method, request_id, answer))
                return answer
        finally:
            turn.callers -= 1
            if not turn.callers:
                self._turns.pop(request_id, None)

    def _remember(self, transaction: Transaction, method: str, request_id: str, answer: str) -> None:
        now_us = self._clock.now_us()
        transaction.answers.forget(now_us)
        transaction.answers.remember(PRINCIPAL, request_id, method, answer, now_us + self._life_us)


def _checked(request_id: str) -> str:
    if not 0 < len(request_id) <= LONGEST_ID:
        raise InvalidArgument("BAD_REQUEST_ID", "A mutation needs a request id: a UUID of the caller.")
    return request_id
