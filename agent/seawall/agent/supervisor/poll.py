"""The long-poll: fetch the desired set, make the workers agree with it. Level-triggered: a lost answer is asked for again."""

from seawall.agent.control.messages import Assignment, Session
from seawall.agent.supervisor.link import Link
from seawall.agent.supervisor.reconcile import reconcile
from seawall.agent.supervisor.state import SupervisorState
from seawall.agent.supervisor.workers import Workers


class Polling:
    """One session's poll loop."""

    def __init__(self, link: Link, session: Session, workers: Workers, state: SupervisorState) -> None:
        self._link = link
        self._session = session
        self._workers = workers
        self._state = state
        self._generation = 0
        self._desired: tuple[Assignment, ...] = ()

    async def step(self) -> float:
        self._generation, self._desired = await self._link.poll(
            self._session.session_id, self._generation, self._session.poll_wait_seconds
        )
        self._state.generation = self._generation
        self._workers.ended &= {assignment.ref.attempt_id for assignment in self._desired} | {
            report.ref.attempt_id for report in self._workers.reports
        }
        await self.agree()
        return 0.0

    async def agree(self) -> None:
        """Also when a worker ended: one that waited for its VM may start now."""
        await self._workers.carry_out(reconcile(self._desired, self._workers.local(), self._workers.ended))
