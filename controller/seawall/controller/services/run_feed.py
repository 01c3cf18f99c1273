"""One look at the runs for all who watch them: at most one a second, and none while nobody watches."""

import asyncio
import math
import secrets

from seawall.controller.errors import InvalidArgument
from seawall.controller.scheduler.wakes import Wakes
from seawall.controller.services.run_changes import RunChanges
from seawall.controller.store.transaction import Store
from seawall.controller.timings import Timings, microseconds
from seawall.repository.clock import Clock

ENDED_SECONDS = 900.0
"""For so long after its end a run is still told to who comes back with a token."""
MOST_APART_SECONDS = ENDED_SECONDS / 2
"""When nobody watched for longer, runs may have ended unseen and be told no more: nobody goes on from a token of before."""
UNWOKEN_SECONDS = 5.0
"""Progress that another controller of the database stored wakes nobody here."""


class RunFeed:
    """Belongs to one event loop. A resume token is this feed's name and the number of a change."""

    def __init__(self, store: Store, wakes: Wakes, clock: Clock, timings: Timings) -> None:
        self._store = store
        self._wakes = wakes
        self._clock = clock
        self._timings = timings
        self._name = secrets.token_hex(8)
        self._lock = asyncio.Lock()
        self._looked = 0.0
        self._read = -math.inf
        self._seen = -1
        self.changes = RunChanges()

    async def look(self) -> None:
        """At what changed since the last look, a second after it at the earliest: watchers that come at once share one.

        Raises Unavailable/DATABASE.
        """
        came = self._clock.monotonic_seconds()
        async with self._lock:
            now = self._clock.monotonic_seconds()
            # Where something happens all the time, whoever waited would else look again, a second after the one before it.
            if came < self._read:
                return
            if self._seen == self._wakes.seen() and now - self._looked < UNWOKEN_SECONDS:
                return
            if self._seen >= 0:
                await asyncio.sleep(max(0.0, self._looked + self._timings.watch_interval_seconds - now))
            seen, self._looked = self._wakes.seen(), self._clock.monotonic_seconds()
            since_us = self._clock.now_us() - microseconds(ENDED_SECONDS)
            marks = await self._store.read(lambda transaction: transaction.runs.marks(since_us))
            if self._looked - self._read > MOST_APART_SECONDS:
                self.changes.forget()
            self.changes.look(marks)
            self._seen, self._read = seen, self._looked

    def token(self, number: int) -> str:
        return f"{self._name}.{number}"

    def number_of(self, token: str) -> int | None:
        """None: begin with a snapshot, because there is no token, or what it stands for is forgotten.

        Raises InvalidArgument/BAD_RESUME_TOKEN.
        """
        if not token:
            return None
        name, dot, digits = token.partition(".")
        if not dot or not digits.isascii() or not digits.isdigit() or len(token) > 64:
            raise InvalidArgument("BAD_RESUME_TOKEN", "That is no token of WatchRuns; watch without one.")
        number = int(digits)
        forgotten = name != self._name or not self.changes.oldest <= number <= self.changes.number
        return None if forgotten else number
