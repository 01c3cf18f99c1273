"""Mutations that happen once: the same request of the same caller, by its request id, gets the same answer."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from google.protobuf.message import Message

from seawall.controller.errors import InvalidArgument
from seawall.controller.records.answers import Asked
from seawall.controller.store.transaction import Store, Transaction
from seawall.controller.timings import Timings, microseconds
from seawall.repository.clock import Clock

PRINCIPAL = "operator"
LONGEST_ID = 128
SEALED = "secret_key"
"""A field that is sealed wherever it is stored: from a hash of it beside the answer it could be guessed."""


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

    def within(self, transaction: Transaction, asked: Asked, act: Callable[[], str], part: int = 0) -> str:
        """For mutations of the database alone: act and answer commit together.

        `part`: of a request that is carried out in several transactions, which of them; each has an answer of its own. Raises
        InvalidArgument/REQUEST_ID_REUSED.
        """
        known = self.known(transaction, asked, part)
        if known is not None:
            return known
        answer = act()
        self._remember(transaction, asked, answer, part)
        return answer

    def known(self, transaction: Transaction, asked: Asked, part: int = 0) -> str | None:
        """The answer that was given before. Raises InvalidArgument/REQUEST_ID_REUSED."""
        return transaction.answers.answer(_principal(part), asked)

    async def around(self, asked: Asked, act: Callable[[], Awaitable[str]]) -> str:
        """For mutations that reach further. Requests of one id wait for each other; after a crash in between, `act` meets its own work."""
        turn = self._turns.setdefault(asked.request_id, _Turn())
        turn.callers += 1
        try:
            async with turn.lock:
                known = await self._store.read(lambda transaction: self.known(transaction, asked))
                if known is not None:
                    return known
                answer = await act()
                await self._store.write(lambda transaction: self._remember(transaction, asked, answer))
                return answer
        finally:
            turn.callers -= 1
            if not turn.callers:
                self._turns.pop(asked.request_id, None)

    def _remember(self, transaction: Transaction, asked: Asked, answer: str, part: int = 0) -> None:
        now_us = self._clock.now_us()
        transaction.answers.forget(now_us)
        transaction.answers.remember(_principal(part), asked, answer, now_us + self._life_us)


def asked_by(request: Any) -> Asked:
    """What a mutation's request asks for, told apart from any other. Raises InvalidArgument/BAD_REQUEST_ID."""
    if not 0 < len(request.request_id) <= LONGEST_ID:
        raise InvalidArgument("BAD_REQUEST_ID", "A mutation needs a request id: a UUID of the caller.")
    return Asked(type(request).__name__.removesuffix("Request"), request.request_id, _hash(request))


def _hash(request: Message) -> str:
    said = type(request)()
    said.CopyFrom(request)
    if SEALED in said.DESCRIPTOR.fields_by_name:
        said.ClearField(SEALED)
    return sha256(said.SerializeToString(deterministic=True)).hexdigest()


def _principal(part: int) -> str:
    """No caller can name a part of another request."""
    return f"{PRINCIPAL}/{part}" if part else PRINCIPAL
