"""Tells waiting calls of this process that something changed: a host's desired set, or anything at all.

A hint only: whoever is woken reads the database, and whoever misses a wake reads it a little later.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable

ANYTHING = ""


class Wakes:
    """Belongs to one event loop. Take `seen` before reading, then wait for a change since."""

    def __init__(self) -> None:
        self._counts: defaultdict[str, int] = defaultdict(int)
        self._condition = asyncio.Condition()

    def seen(self, host_id: str = ANYTHING) -> int:
        return self._counts[host_id]

    async def notify(self, host_ids: Iterable[str] = ()) -> None:
        """These hosts' desired sets changed; and something did."""
        async with self._condition:
            for host_id in (ANYTHING, *host_ids):
                self._counts[host_id] += 1
            self._condition.notify_all()

    async def changed(self, seen: int, host_id: str = ANYTHING) -> None:
        """Returns once there was a change after `seen` was taken."""
        async with self._condition:
            await self._condition.wait_for(lambda: self._counts[host_id] != seen)
