"""The heartbeat: renews the host's lease, carries the workers' newest progress, brings back what must stop."""

import random

from seawall.agent.control.messages import Session
from seawall.agent.supervisor.link import Link
from seawall.agent.supervisor.reconcile import stop_reported
from seawall.agent.supervisor.state import SupervisorState
from seawall.agent.supervisor.workers import Workers
from seawall.repository.clock import Clock

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
        sent = self._clock.monotonic_seconds()
        beat = await self._link.heartbeat(self._session.session_id, self._workers.progress())
        self._state.lease_until = sent + beat.lease_seconds  # from the request, not from its answer
        self._state.last_heartbeat_us = self._clock.now_us()
        self._state.last_error = ""
        await self._workers.carry_out(stop_reported(beat.unknown, beat.canceled, self._workers.local()))
        return self._session.heartbeat_seconds * _random.uniform(0.8, 1.2)
