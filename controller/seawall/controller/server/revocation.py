"""Whether an agent may still speak: asked at every call, answered from the database, remembered for a few seconds."""

import asyncio
from collections.abc import Callable, Collection

from seawall.repository.clock import Clock

REMEMBER_SECONDS = 5.0


class RevocationCheck:
    """An `AgentCheck` over blocking ones. Only a yes is remembered. Belongs to one event loop."""

    def __init__(
        self,
        check: Callable[[str], None],
        clock: Clock,
        remember_seconds: float = REMEMBER_SECONDS,
        everybody: Callable[[], Collection[str]] | None = None,
    ) -> None:
        """`check` raises Unauthenticated/AGENT_REVOKED; `everybody`: ids of all who may speak, so that a thousand agents cost one look.

        Both are called in a thread.
        """
        self._check = check
        self._everybody = everybody
        self._clock = clock
        self._remember_seconds = remember_seconds
        self._passed: dict[str, float] = {}
        self._looking = asyncio.Lock()
        self._looked: float | None = None

    async def __call__(self, agent_id: str) -> None:
        if self._remembered(agent_id):
            return
        await self._look()
        if self._remembered(agent_id):
            return
        self._passed.pop(agent_id, None)
        now = self._clock.monotonic_seconds()
        await asyncio.to_thread(self._check, agent_id)
        self._passed[agent_id] = now

    def _remembered(self, agent_id: str) -> bool:
        now = self._clock.monotonic_seconds()
        return self._passed.get(agent_id, now - self._remember_seconds) + self._remember_seconds > now

    async def _look(self) -> None:
        """At all of them, unless somebody just did: who is not among them then is asked for by name."""
        if self._everybody is None:
            return
        async with self._looking:
            now = self._clock.monotonic_seconds()
            if self._looked is None or now - self._looked >= self._remember_seconds:
                self._passed = dict.fromkeys(await asyncio.to_thread(self._everybody), now)
                self._looked = now
