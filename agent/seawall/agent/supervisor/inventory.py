"""The inventory: what runs on this host, told when it changes and every half minute. libvirt is asked in a thread, never in the loop."""

import asyncio
from collections.abc import Sequence

from seawall.agent.control.messages import Session
from seawall.agent.hypervisor.port import Domain, Hypervisor, LeftMs
from seawall.agent.supervisor.link import Link
from seawall.agent.supervisor.state import SupervisorState
from seawall.agent.supervisor.timing import Timing
from seawall.repository.clock import Clock

PAGE_VMS = 200


class Inventory:
    """One session's inventory loop. Revisions are wall-clock microseconds, so they also grow over restarts."""

    def __init__(
        self,
        link: Link,
        session: Session,
        hypervisor: Hypervisor,
        left_ms: LeftMs,
        state: SupervisorState,
        timing: Timing,
        clock: Clock,
    ) -> None:
        self._link = link
        self._left_ms = left_ms
        self._session = session
        self._hypervisor = hypervisor
        self._state = state
        self._timing = timing
        self._clock = clock
        self._sent: tuple[Domain, ...] | None = None
        self._sent_left: frozenset[str] = frozenset()
        self._sent_at = 0.0
        self._revision = 0

    async def step(self) -> float:
        domains = await asyncio.to_thread(self._look)
        self._state.vm_count = len(domains)
        now, left = self._clock.monotonic_seconds(), frozenset(self._left_ms())
        news = domains != self._sent or not left <= self._sent_left
        if news or now - self._sent_at >= self._timing.inventory:
            await self._send(domains)
            self._sent, self._sent_left, self._sent_at = domains, left, now
        return self._timing.look

    def _look(self) -> tuple[Domain, ...]:
        return tuple(sorted(self._hypervisor.domains(), key=lambda domain: domain.vm_id))

    async def _send(self, domains: Sequence[Domain]) -> None:
        self._revision = max(self._revision + 1, self._clock.now_us())
        starts = range(0, max(len(domains), 1), PAGE_VMS)
        for page, start in enumerate(starts):
            await self._link.report_inventory(
                self._session.session_id,
                self._revision,
                page,
                domains[start : start + PAGE_VMS],
                last=start + PAGE_VMS >= len(domains),
                left_ms=self._left_ms(),
            )
