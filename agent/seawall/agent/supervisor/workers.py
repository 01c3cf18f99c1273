"""The workers of this host: starting, telling, ending, and what to report of those that could not report themselves. Event loop only."""

import asyncio
import os
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, replace

import structlog

from seawall.agent.config import AgentConfig
from seawall.agent.control.messages import Assignment, AttemptRef, Failure, Progress
from seawall.agent.errors import AgentError, FailureKind
from seawall.agent.health import AttemptHealth
from seawall.agent.journal import Journal, JournalUnusable
from seawall.agent.supervisor.attempt_log import AttemptLog, prune_logs
from seawall.agent.supervisor.leftovers import Leftovers
from seawall.agent.supervisor.process import Exit, WorkerProcess, start_worker
from seawall.agent.supervisor.reconcile import (
    Instruction,
    Local,
    Phase,
    ReportCanceled,
    ReportUnknownKind,
    Start,
    StopWorker,
)
from seawall.agent.supervisor.timing import Timing
from seawall.agent.worker.pipe import End, Event, Job, NewSession, Step, Stop, StopReason

_log = structlog.get_logger("seawall.agent.supervisor")

_CANCELED = Failure("CANCELED", "canceled by the operator", "", FailureKind.TRANSIENT)


@dataclass(frozen=True, slots=True)
class Report:
    """A FailAttempt that the supervisor owes the controller."""

    ref: AttemptRef
    failure: Failure
    progress: Progress
    canceled: bool


@dataclass(slots=True)
class _Worker:
    assignment: Assignment
    process: WorkerProcess
    progress: Progress
    phase: Phase = Phase.RUNNING
    stop_reason: StopReason | None = None
    answered: bool = False  # the controller answered its hand-in for good
    kill_timer: asyncio.TimerHandle | None = None


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
        self._config = config
        self._agent_id = agent_id
        self._journal = journal
        self._leftovers = leftovers
        self._timing = timing
        self._command = tuple(command)
        self._workers: dict[str, _Worker] = {}
        self._watchers: set[asyncio.Task[None]] = set()
        self._starting: set[asyncio.Task[None]] = set()
        self._session_id = ""
        self._stopping = False
        self.ended: set[str] = set()
        self.reports: list[Report] = []
        self.changed = asyncio.Event()
        self.news = asyncio.Event()

    def live(self) -> set[str]:
        return set(self._workers)

    def local(self) -> dict[str, Local]:
        return {
            attempt_id: Local(attempt_id, worker.assignment.vm_id, worker.phase, worker.stop_reason)
            for attempt_id, worker in self._workers.items()
        }

    def progress(self) -> list[Progress]:
        """The newest report of each worker, but of those that the controller has answered for good."""
        return [worker.progress for worker in self._workers.values() if not worker.answered]

    def in_hand(self) -> list[AttemptRef]:
        """Attempts that a new session must not count as lost: running ones, and those whose end is still to be reported."""
        running = [worker.assignment.ref for worker in self._workers.values()]
        return running + [report.ref for report in self.reports if report.ref not in running]

    def health(self) -> tuple[AttemptHealth, ...]:
        return tuple(
            AttemptHealth(
                attempt_id,
                worker.assignment.run_id,
                worker.assignment.kind,
                worker.assignment.vm_name,
                worker.progress.state if worker.phase is Phase.RUNNING else worker.phase.name,
                worker.progress.phase,
                worker.process.pid,
            )
            for attempt_id, worker in self._workers.items()
        )

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
                    await self._stop(attempt_id, reason)
                case ReportCanceled(assignment):
                    self._owe(assignment, _CANCELED, canceled=True)
                case ReportUnknownKind(assignment):
                    self._owe(assignment, _unknown_kind(assignment))

    async def started(self) -> None:
        """Until no start is under way any more: each is a worker that is known, or has failed."""
        await asyncio.gather(*self._starting, return_exceptions=True)

    async def stop_all(self) -> None:
        """The agent stops: ask all, give them the grace, kill the rest; returns when all are gone and swept."""
        self._stopping = True
        await self.started()
        for attempt_id, worker in list(self._workers.items()):
            await self._stop(attempt_id, StopReason.AGENT)
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
                process = await self._begin(assignment)
            except (OSError, AgentError) as error:
                _log.warning("worker_not_started", attempt=ref.attempt_id, error=str(error))
                self._owe(assignment, _not_started(error))
                await self._end_in_journal(ref.attempt_id, "not started")
                return
            worker = _Worker(assignment, process, Progress(ref.attempt_id, phase="starting"))
            self._workers[ref.attempt_id] = worker
            watcher = asyncio.create_task(self._watch(worker))
            self._watchers.add(watcher)
            watcher.add_done_callback(self._watchers.discard)
            await self._note_pid(ref.attempt_id, process.pid)
        _log.info(
            "worker_started", attempt=ref.attempt_id, run=assignment.run_id, kind=assignment.kind, pid=process.pid
        )

    async def _begin(self, assignment: Assignment) -> WorkerProcess:
        """Written down first. Raises OSError, JournalUnusable; then there is no process."""
        ref = assignment.ref
        await asyncio.to_thread(self._journal.begin_attempt, ref, assignment.run_id, assignment.vm_id, assignment.kind)
        log = AttemptLog(self._config.state_dir / "logs", ref.attempt_id)
        job = Job(self._config, self._agent_id, self._session_id, os.getpid(), assignment)
        try:
            return await start_worker(self._command, job, log, self._listener(ref.attempt_id))
        except OSError:
            log.close()
            raise

    async def _note_pid(self, attempt_id: str, pid: int) -> None:
        """For the next supervisor, should this one die. Without it an orphan still ends by itself: with its parent, or with its stdin."""
        try:
            await asyncio.to_thread(self._journal.set_worker, attempt_id, pid)
        except JournalUnusable as error:
            _log.warning("worker_pid_not_journalled", attempt=attempt_id, pid=pid, error=str(error))

    def _busy(self, assignment: Assignment) -> bool:
        return any(
            attempt_id == assignment.ref.attempt_id or worker.assignment.vm_id == assignment.vm_id != ""
            for attempt_id, worker in self._workers.items()
        )

    def _listener(self, attempt_id: str) -> Callable[[Event], None]:
        def listen(event: Event) -> None:
            worker = self._workers.get(attempt_id)
            if worker is None:
                return
            if isinstance(event, Step):
                self._stepped(worker, event)
            elif isinstance(event, Progress) and event.attempt_id == attempt_id:
                if (event.state, event.phase) != (worker.progress.state, worker.progress.phase):
                    self.news.set()
                worker.progress = event

        return listen

    def _stepped(self, worker: _Worker, step: Step) -> None:
        worker.answered = step is Step.FINISHING
        if step is Step.RESUMED:
            worker.phase = Phase.STOPPING if worker.stop_reason else Phase.RUNNING
            if worker.kill_timer is not None:
                worker.kill_timer.cancel()
            if worker.stop_reason is not None:
                self._kill_after(worker, self._grace(worker.stop_reason))
            return
        worker.phase = Phase.SETTLING
        self._kill_after(worker, self._timing.finishing_grace if worker.answered else self._timing.settling_grace)

    async def _stop(self, attempt_id: str, reason: StopReason) -> None:
        worker = self._workers.get(attempt_id)
        if worker is None or (worker.phase is Phase.SETTLING and reason is not StopReason.AGENT):
            return
        _log.info("worker_told_to_stop", attempt=attempt_id, reason=reason.value)
        worker.phase, worker.stop_reason = Phase.STOPPING, reason
        self._kill_after(worker, self._grace(reason))
        await worker.process.order(Stop(reason))

    def _grace(self, reason: StopReason) -> float:
        return {
            StopReason.CANCELED: self._timing.cancel_grace,
            StopReason.FENCED: self._timing.fence_grace,
            StopReason.AGENT: self._timing.stop_grace,
        }[reason]

    def _kill_after(self, worker: _Worker, seconds: float) -> None:
        if worker.kill_timer is not None:
            worker.kill_timer.cancel()
        worker.kill_timer = asyncio.get_running_loop().call_later(seconds, worker.process.kill)

    async def _watch(self, worker: _Worker) -> None:
        """Until the worker is gone: sweep after an unclean end, owe the controller a report where the worker made none."""
        attempt_id = worker.assignment.ref.attempt_id
        ended = await worker.process.wait()
        if worker.kill_timer is not None:
            worker.kill_timer.cancel()
        _log.info("worker_ended", attempt=attempt_id, code=ended.code, end=ended.end.value if ended.end else "")
        try:
            if ended.end in (None, End.UNREPORTED):
                self._owe_for(worker, ended)
            if ended.end is None or self._leftovers.left_by(attempt_id):
                await self._leftovers.sweep(lambda: self.live() - {attempt_id})
            await self._end_in_journal(attempt_id, ended.end.value if ended.end else ended.sentence())
            await asyncio.to_thread(prune_logs, self._config.state_dir / "logs")
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

    def _owe_for(self, worker: _Worker, ended: Exit) -> None:
        if worker.stop_reason is StopReason.FENCED or worker.answered:
            return
        if worker.stop_reason is StopReason.CANCELED:
            self._owe(worker.assignment, _CANCELED, canceled=True, progress=worker.progress)
        else:
            self._owe(worker.assignment, _exited(ended, worker.stop_reason), progress=worker.progress)

    def _owe(
        self, assignment: Assignment, failure: Failure, *, canceled: bool = False, progress: Progress | None = None
    ) -> None:
        last = progress or Progress(assignment.ref.attempt_id)
        self.ended.add(assignment.ref.attempt_id)
        self.reports.append(Report(assignment.ref, failure, replace(last, seq=last.seq + 1), canceled))
        self.changed.set()


def _exited(ended: Exit, reason: StopReason | None) -> Failure:
    if reason is StopReason.AGENT:
        return Failure(
            "AGENT_STOPPING",
            "the agent on this host is stopping",
            "Nothing: it is tried again once the agent runs.",
            FailureKind.TRANSIENT,
        )
    return Failure(
        "WORKER_EXITED",
        ended.sentence(),
        "It is tried again; see the attempt's log on the host if it happens twice.",
        FailureKind.TRANSIENT,
    )


def _not_started(error: OSError | AgentError) -> Failure:
    if isinstance(error, AgentError):
        return Failure(error.reason, str(error), error.next_step, error.kind)
    return Failure(
        "WORKER_NOT_STARTED",
        f"the worker could not be started: {error}",
        "Check memory and limits of the host.",
        FailureKind.TRANSIENT,
    )


def _unknown_kind(assignment: Assignment) -> Failure:
    return Failure(
        "KIND_UNKNOWN",
        f"run {assignment.run_id} is of a kind that this agent does not know",
        "Upgrade the agent on this host.",
        FailureKind.PERMANENT,
    )
