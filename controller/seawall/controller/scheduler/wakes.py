"""Tells waiting calls of this process that something changed: a host's desired set, the scheduler's view, a run's end, or anything at all.

A hint only: whoever is woken reads the database, and whoever misses a wake reads it a little later.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable

ANYTHING = ""
SCHEDULER = "scheduler"
ENDED = "ended"
"""A run is over: who watches runs need not wait for its next look."""
POLICIES = "policies"
"""A policy was applied."""
RETENTION = "retention"
"""A hold came or went, or a rule changed: what retention keeps may have changed without a new point."""


class Wakes:
    """Belongs to one event loop. Take `seen` before reading, then wait for a change since. Only those who wait for a topic are woken."""

    def __init__(self) -> None:
        self._counts: defaultdict[str, int] = defaultdict(int)
        self._waiting: defaultdict[str, set[asyncio.Future[None]]] = defaultdict(set)

    def seen(self, topic: str = ANYTHING) -> int:
        return self._counts[topic]

    def notify(self, topics: Iterable[str] = ()) -> None:
        """These changed (a topic is a host's id, or SCHEDULER); and so something did."""
        for topic in (ANYTHING, *topics):
            self._counts[topic] += 1
            for future in self._waiting.pop(topic, ()):
                if not future.done():
                    future.set_result(None)

    async def changed(self, seen: int, topic: str = ANYTHING) -> None:
        """Returns once there was a change after `seen` was taken."""
        if self._counts[topic] != seen:
            return
        future = asyncio.get_running_loop().create_future()
        self._waiting[topic].add(future)
        try:
            await future
        finally:
            self._waiting[topic].discard(future)
