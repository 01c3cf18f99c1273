"""Starting one worker: written into the journal first, then exec'ed. Called by Workers, under the lock of the sweeps."""

import asyncio
import os
from collections.abc import Callable, Sequence

import structlog

from seawall.agent.config import AgentConfig
from seawall.agent.control.messages import Assignment
from seawall.agent.journal import Journal, JournalUnusable
from seawall.agent.supervisor.attempt_log import AttemptLog
from seawall.agent.supervisor.process import WorkerProcess, start_worker
from seawall.agent.worker.pipe import Event, Job

_log = structlog.get_logger("seawall.agent.supervisor")


class Starter:
    """Of one agent. `command` gets the attempt's id as its last argument."""

    def __init__(self, config: AgentConfig, agent_id: str, journal: Journal, command: Sequence[str]) -> None:
        self._config = config
        self._agent_id = agent_id
        self._journal = journal
        self._command = tuple(command)

    async def begin(
        self, assignment: Assignment, session_id: str, bytes_per_second: int, on_event: Callable[[Event], None]
    ) -> WorkerProcess:
        """Raises OSError, JournalUnusable; then there is no process."""
        ref = assignment.ref
        await asyncio.to_thread(self._journal.begin_attempt, ref, assignment.run_id, assignment.vm_id, assignment.kind)
        log = AttemptLog(self._config.state_dir / "logs", ref.attempt_id)
        job = Job(self._config, self._agent_id, session_id, os.getpid(), assignment, bytes_per_second)
        try:
            return await start_worker(self._command, job, log, on_event)
        except OSError:
            log.close()
            raise

    async def note_pid(self, attempt_id: str, pid: int) -> None:
        """For the next supervisor, should this one die. Without it an orphan still ends by itself: with its parent, or with its stdin."""
        try:
            await asyncio.to_thread(self._journal.set_worker, attempt_id, pid)
        except JournalUnusable as error:
            _log.warning("worker_pid_not_journalled", attempt=attempt_id, pid=pid, error=str(error))
