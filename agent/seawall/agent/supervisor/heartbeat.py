"""The heartbeat: renews the host's lease, carries the workers' newest progress, brings back what must stop.

Its pace is the controller's on an idle host. While workers run it is quicker, and a new phase is told at once: people watch.
"""

import asyncio
import random

from seawall.agent.control.messages import Session
from seawall.agent.limits.division import Share
from seawall.agent.supervisor.link import Link
from seawall.agent.supervisor.reconcile import stop_reported
from seawall.agent.supervisor.state import SupervisorState
from seawall.agent.supervisor.workers import Workers
from seawall.repository.clock import Clock

BUSY_SECONDS = 2.0  # between heartbeats while a worker runs
NEWS_SECONDS = 0.2  # what changes within this time is told together

_random = random.SystemRandom()


class Heartbeat:
    """One session's heartbeat loop."""

    def __init__(self, link: Link, session: Session, workers: Workers, state: SupervisorState, clock: Clock) -> None:
        self._link = link
        self._session = session
        self._workers = workers
        self._state = state
        self._clock = clock

    async def step(self) -> float:
        self._workers.news.clear()
        sent = self._clock.monotonic_seconds()
        beat = await self._link.heartbeat(self._session.session_id, self._workers.progress(), *self._workers.traffic())
        self._state.lease_until = sent + beat.lease_seconds  # from the request, not from its answer
        self._state.last_heartbeat_us = self._clock.now_us()
        self._state.last_error = ""
        self._state.hear(beat.trust)
        until = self._clock.monotonic_seconds() + beat.valid_seconds
        self._state.share = Share(beat.bytes_per_second, beat.floor_bytes_per_second, until)
        await self._workers.carry_out(stop_reported(beat.unknown, beat.canceled, self._workers.local()))
        await self._rest(self._session.heartbeat_seconds * _random.uniform(0.8, 1.2))
        return 0.0

    async def _rest(self, idle_seconds: float) -> None:
        news = self._workers.news
        try:
            async with asyncio.timeout(min(idle_seconds, BUSY_SECONDS) if self._workers.live() else idle_seconds):
                await news.wait()
        except TimeoutError:
            return
        await asyncio.sleep(NEWS_SECONDS)
