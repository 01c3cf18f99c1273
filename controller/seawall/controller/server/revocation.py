"""Whether an agent may still speak: asked at every call, answered from the database, remembered for a few seconds."""

import asyncio
from collections.abc import Callable

from seawall.repository.clock import Clock

REMEMBER_SECONDS = 5.0


class RevocationCheck:
    """An `AgentCheck` over a blocking one. Only a yes is remembered. Belongs to one event loop."""

    def __init__(self, check: Callable[[str], None], clock: Clock, remember_seconds: float = REMEMBER_SECONDS) -> None:
        """`check` raises Unauthenticated/AGENT_REVOKED; it is called in a thread."""
        self._check = check
        self._clock = clock
        self._remember_seconds = remember_seconds
        self._passed: dict[str, float] = {}

    async def __call__(self, agent_id: str) -> None:
        now = self._clock.monotonic_seconds()
        if self._passed.get(agent_id, now - self._remember_seconds) + self._remember_seconds > now:
            return
        self._passed.pop(agent_id, None)
        await asyncio.to_thread(self._check, agent_id)
        self._passed[agent_id] = now
