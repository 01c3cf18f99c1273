"""The workers of this host: starting, telling, ending, and what to report of those that could not report themselves. Event loop only."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence

import structlog

from seawall.agent.config import AgentConfig
from seawall.agent.control.messages import RESTORE, Assignment, AttemptRef, Progress
from seawall.agent.errors import AgentError
from seawall.agent.health import AttemptHealth
from seawall.agent.journal import Journal, JournalUnusable
from seawall.agent.limits.division import Sharer, divide
from seawall.agent.limits.traffic import Traffic, total
from seawall.agent.supervisor import owed
from seawall.agent.supervisor.attempt_log import prune_logs
from seawall.agent.supervisor.leftovers import Leftovers
from seawall.agent.supervisor.live_worker import LiveWorker
from seawall.agent.supervisor.owed import Report
from seawall.agent.supervisor.process import Exit
from seawall.agent.supervisor.reconcile import (
    Instruction,
    Local,
    ReportCanceled,
    ReportUnknownKind,
    Start,
    StopWorker,
)
from seawall.agent.supervisor.starting import Starter
from seawall.agent.supervisor.timing import Timing
from seawall.agent.worker.pipe import End, Event, NewSession, StopReason

_log = structlog.get_logger("seawall.agent.supervisor")


class Workers:
    """Owns the processes. `changed` is set whenever a worker ends or a report is due; `news` when one entered a new phase."""

    def __init__(
        self,
        config: AgentConfig,
        agent_id: str,
        journal: Journal,
        leftovers: Leftovers,
        timing: Timing,
        command: Sequence[str],
    ) -> None:
        self._logs = config.state_dir / "logs"
        self._journal = journal
        self._leftovers = leftovers
        self._timing = timing
        self._starter = Starter(config, agent_id, journal, command)
        self._workers: dict[str, LiveWorker] = {}
        self._watchers: set[asyncio.Task[None]] = set()
        self._starting: set[asyncio.Task[None]] = set()
        self._session_id = ""
        self._stopping = False
        self.ended: set[str] = set()
        self.reports: list[Report] = []
        self.bytes_per_second = 0
        """Of the whole host, to and from stores; 0: no limit."""
        self.changed = asyncio.Event()
        self.news = asyncio.Event()

    def live(self) -> set[str]:
        return set(self._workers)

    def local(self) -> dict[str, Local]:
        return {attempt_id: worker.local() for attempt_id, worker in self._workers.items()}

    def progress(self) -> list[Progress]:
        """The newest report of each worker, but of those that the controller has answered for good."""
        return [worker.progress for worker in self._workers.values() if not worker.answered]

    def in_hand(self) -> list[AttemptRef]:
        """Attempts that a new session must not count as lost: running ones, and those whose end is still to be reported."""
        running = [worker.assignment.ref for worker in self._workers.values()]
        return running + [report.ref for report in self.reports if report.ref not in running]

    def traffic(self) -> tuple[int, int]:
        """(demand, rate) of the host."""
        return total(worker.traffic for worker in self._workers.values())

    async def share(self, bytes_per_second: int) -> None:
        """Divide the host's bandwidth among the workers, as they use it now."""
        self.bytes_per_second = bytes_per_second
        parts = divide(bytes_per_second, self._sharing())
        for attempt_id, part in parts.items():
            if attempt_id in self._workers:
                await self._workers[attempt_id].keep_to(part)

    def _sharing(self) -> dict[str, Sharer]:
        return {
            attempt_id: Sharer(worker.assignment.kind == RESTORE, worker.traffic)
            for attempt_id, worker in self._workers.items()
        }

    def _first_rate(self, assignment: Assignment) -> int:
        """Before the next division: as if it wanted little, like any that begins."""
        attempt_id = assignment.ref.attempt_id
        sharing = self._sharing() | {attempt_id: Sharer(assignment.kind == RESTORE, Traffic())}
        return divide(self.bytes_per_second, sharing)[attempt_id]

    def health(self) -> tuple[AttemptHealth, ...]:
        return tuple(worker.health() for worker in self._workers.values())

    async def new_session(self, session_id: str) -> None:
        """Workers speak for themselves under the host's session: tell them the new one."""
        self._session_id = session_id
        for worker in list(self._workers.values()):
            await worker.process.order(NewSession(session_id))

    async def carry_out(self, instructions: Iterable[Instruction]) -> None:
        for instruction in instructions:
            match instruction:
                case Start(assignment):
                    await self._shielded(self._start(assignment))
                case StopWorker(attempt_id, reason):
                    if attempt_id in self._workers:
                        await self._workers[attempt_id].stop(reason)
                case ReportCanceled(assignment):
                    self._owe(owed.canceled(assignment))
                case ReportUnknownKind(assignment):
                    self._owe(owed.unknown_kind(assignment))

    async def started(self) -> None:
        """Until no start is under way any more: each is a worker that is known, or has failed."""
        await asyncio.gather(*self._starting, return_exceptions=True)

    async def stop_all(self) -> None:
        """The agent stops: ask all, give them the grace, kill the rest; returns when all are gone and swept."""
        self._stopping = True
        await self.started()
        for worker in list(self._workers.values()):
            await worker.stop(StopReason.AGENT)
            worker.process.terminate()
        await asyncio.gather(*self._watchers)

    async def _shielded(self, start: Coroutine[None, None, None]) -> None:
        """A session that ends in the middle must not leave a process that nobody knows."""
        task = asyncio.create_task(start)
        self._starting.add(task)
        task.add_done_callback(self._starting.discard)
        await asyncio.shield(task)

    async def _start(self, assignment: Assignment) -> None:
        """Looked at again under the lock: two loops may have decided the same at once."""
        ref = assignment.ref
        async with self._leftovers.lock:
            if self._stopping or ref.attempt_id in self.ended or self._busy(assignment):
                return
            try:
                rate = self._first_rate(assignment)
                process = await self._starter.begin(assignment, self._session_id, rate, self._listener(ref.attempt_id))
            except (OSError, AgentError) as error:
                _log.warning("worker_not_started", attempt=ref.attempt_id, error=str(error))
                self._owe(owed.not_started(assignment, error))
                await self._end_in_journal(ref.attempt_id, "not started")
                return
            worker = LiveWorker(assignment, process, self._timing, rate)
            self._workers[ref.attempt_id] = worker
            watcher = asyncio.create_task(self._watch(worker))
            self._watchers.add(watcher)
            watcher.add_done_callback(self._watchers.discard)
            await self._starter.note_pid(ref.attempt_id, process.pid)
        _log.info(
            "worker_started", attempt=ref.attempt_id, run=assignment.run_id, kind=assignment.kind, pid=process.pid
        )

    def _busy(self, assignment: Assignment) -> bool:
        return any(
            attempt_id == assignment.ref.attempt_id or worker.assignment.vm_id == assignment.vm_id != ""
            for attempt_id, worker in self._workers.items()
        )

    def _listener(self, attempt_id: str) -> Callable[[Event], None]:
        def listen(event: Event) -> None:
            worker = self._workers.get(attempt_id)
            if worker is not None and worker.hear(event):
                self.news.set()

        return listen

    async def _watch(self, worker: LiveWorker) -> None:
        """Until the worker is gone: sweep after an unclean end, owe the controller a report where the worker made none."""
        attempt_id = worker.attempt_id
        ended = await worker.process.wait()
        worker.spare()
        _log.info("worker_ended", attempt=attempt_id, code=ended.code, end=ended.end.value if ended.end else "")
        try:
            if ended.end in (None, End.UNREPORTED):
                self._owe_for(worker, ended)
            if ended.end is None or self._leftovers.left_by(attempt_id):
                await self._leftovers.sweep(lambda: self.live() - {attempt_id})
            await self._end_in_journal(attempt_id, ended.end.value if ended.end else ended.sentence())
            await asyncio.to_thread(prune_logs, self._logs)
        except Exception:
            _log.exception("worker_not_seen_off", attempt=attempt_id)
        finally:
            self.ended.add(attempt_id)
            del self._workers[attempt_id]
            self.changed.set()

    async def _end_in_journal(self, attempt_id: str, outcome: str) -> None:
        """A failure costs a line in the next Hello: the attempt is then told as lost, which the controller knows better."""
        try:
            await asyncio.to_thread(self._journal.end_attempt, attempt_id, outcome)
        except JournalUnusable as error:
            _log.warning("end_not_journalled", attempt=attempt_id, error=str(error))

    def _owe_for(self, worker: LiveWorker, ended: Exit) -> None:
        report = owed.ended_unreported(worker.assignment, ended, worker.stop_reason, worker.progress)
        if report is not None and not worker.answered:
            self._owe(report)

    def _owe(self, report: Report) -> None:
        self.ended.add(report.ref.attempt_id)
        self.reports.append(report)
        self.changed.set()
