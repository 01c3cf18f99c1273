"""Delivering what the supervisor owes the controller: ends of attempts whose workers could not speak for themselves."""

import structlog

from seawall.agent.control.errors import ControllerRefused
from seawall.agent.control.messages import Session
from seawall.agent.errors import AgentError, Canceled, Fenced
from seawall.agent.supervisor.link import Link
from seawall.agent.supervisor.owed import Report
from seawall.agent.supervisor.poll import Polling
from seawall.agent.supervisor.workers import Workers

_log = structlog.get_logger("seawall.agent.supervisor")


class Reporting:
    """One session's report loop. A report stays owed until it is answered."""

    def __init__(self, link: Link, session: Session, workers: Workers, polling: Polling) -> None:
        self._link = link
        self._session = session
        self._workers = workers
        self._polling = polling

    async def step(self) -> float:
        await self._workers.changed.wait()
        self._workers.changed.clear()
        try:
            await self.deliver()
        except AgentError:
            self._workers.changed.set()
            raise
        await self._polling.agree()
        return 0.0

    async def deliver(self) -> None:
        """All that is owed now. A controller that knows better (fenced, over) settles the debt too."""
        while self._workers.reports:
            await deliver_one(self._link, self._session.session_id, self._workers.reports[0])
            self._workers.reports.pop(0)


async def deliver_one(link: Link, session_id: str, report: Report) -> None:
    try:
        await link.fail(session_id, report.ref, report.failure, report.progress, canceled=report.canceled)
    except (Fenced, Canceled, ControllerRefused) as error:
        _log.info("report_not_wanted", attempt=report.ref.attempt_id, error=str(error))
