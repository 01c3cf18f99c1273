"""The inventory: what runs on this host, told when it changes, when the controller has news of this host, else as often as the controller
wants to hear it. libvirt is asked in a thread, never in the loop.
"""

import asyncio
from collections.abc import Sequence

from seawall.agent.control.messages import Session
from seawall.agent.hypervisor.port import Domain, Hypervisor, LeftMs, Located
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
        located: Located = tuple,
    ) -> None:
        self._link = link
        self._located = located
        self._left_ms = left_ms
        self._session = session
        self._hypervisor = hypervisor
        self._state = state
        self._timing = timing
        self._clock = clock
        self._sent: tuple[Domain, ...] | None = None
        self._sent_left: frozenset[str] = frozenset()
        self._sent_at = 0.0
        self._sent_generation: int | None = None
        self._pause = timing.inventory
        self._revision = 0

    async def step(self) -> float:
        domains = await asyncio.to_thread(self._look)
        self._state.vm_count = len(domains)
        now, left = self._clock.monotonic_seconds(), frozenset(self._left_ms())
        if domains != self._sent or not left <= self._sent_left or now - self._sent_at >= self._due_seconds():
            generation = self._state.generation
            wanted = await self._send(domains)
            # Whoever left is told of for a while: the controller may learn of the arrival later.
            self._pause = wanted if wanted and not left else self._timing.inventory
            self._sent, self._sent_left, self._sent_at, self._sent_generation = domains, left, now, generation
        return self._timing.look

    def _due_seconds(self) -> float:
        """After the last report, if nothing changed here."""
        if self._sent_generation is None:  # this session's first poll was not answered then
            self._sent_generation = self._state.generation
        if self._state.generation != self._sent_generation:
            return min(self._pause, self._timing.inventory / 2)
        return self._pause

    def _look(self) -> tuple[Domain, ...]:
        return self._located(sorted(self._hypervisor.domains(), key=lambda domain: domain.vm_id))

    async def _send(self, domains: Sequence[Domain]) -> float:
        """Returns the pause that the controller wants until the next one, 0.0 if it does not say."""
        self._revision = max(self._revision + 1, self._clock.now_us())
        starts, wanted = range(0, max(len(domains), 1), PAGE_VMS), 0.0
        for page, start in enumerate(starts):
            wanted = await self._link.report_inventory(
                self._session.session_id,
                self._revision,
                page,
                domains[start : start + PAGE_VMS],
                last=start + PAGE_VMS >= len(domains),
                left_ms=self._left_ms(),
            )
        return wanted
