"""A worker that lives, as the supervisor sees it: phase, newest progress, what it was told, when it is killed. Event loop only."""

import asyncio

import structlog

from seawall.agent.control.messages import Assignment, Progress
from seawall.agent.health import AttemptHealth
from seawall.agent.limits.traffic import Traffic
from seawall.agent.supervisor.process import WorkerProcess
from seawall.agent.supervisor.reconcile import Local, Phase
from seawall.agent.supervisor.timing import Timing
from seawall.agent.worker.pipe import Event, NewRate, Step, Stop, StopReason

SMALLEST_CHANGE = 50
"""A fiftieth."""

_log = structlog.get_logger("seawall.agent.supervisor")


class LiveWorker:
    """Made when its process runs; `spare` when that has ended."""

    def __init__(
        self, assignment: Assignment, process: WorkerProcess, timing: Timing, bytes_per_second: int = 0
    ) -> None:
        self.assignment = assignment
        self.process = process
        self.progress = Progress(assignment.ref.attempt_id, phase="starting")
        self.traffic = Traffic()
        self.bytes_per_second = bytes_per_second
        """Its part of the host's bandwidth, as it was last told."""
        self.stop_reason: StopReason | None = None
        self.answered = False
        """The controller answered its hand-in for good."""
        self._phase = Phase.RUNNING
        self._timing = timing
        self._kill_timer: asyncio.TimerHandle | None = None

    @property
    def attempt_id(self) -> str:
        return self.assignment.ref.attempt_id

    def local(self) -> Local:
        return Local(self.attempt_id, self.assignment.vm_id, self._phase, self.stop_reason)

    def health(self) -> AttemptHealth:
        return AttemptHealth(
            self.attempt_id,
            self.assignment.run_id,
            self.assignment.kind,
            self.assignment.vm_name,
            self.progress.state if self._phase is Phase.RUNNING else self._phase.name,
            self.progress.phase,
            self.process.pid,
        )

    def hear(self, event: Event) -> bool:
        """Take in what it says; whether it entered a new phase, which people who watch are told at once."""
        if isinstance(event, Step):
            self._step(event)
        elif isinstance(event, Traffic):
            self.traffic = event
        elif isinstance(event, Progress) and event.attempt_id == self.attempt_id:
            before, self.progress = self.progress, event
            return (event.state, event.phase) != (before.state, before.phase)
        return False

    async def keep_to(self, bytes_per_second: int) -> None:
        """Another part of the host's bandwidth; 0: no limit. Small changes are not worth an order."""
        before = self.bytes_per_second
        if abs(bytes_per_second - before) * SMALLEST_CHANGE > before:
            self.bytes_per_second = bytes_per_second
            await self.process.order(NewRate(bytes_per_second))

    async def stop(self, reason: StopReason) -> None:
        """Ask it to stop; kill it after the reason's grace. One that has handed in is left alone, but when the agent ends."""
        if self._phase is Phase.SETTLING and reason is not StopReason.AGENT:
            return
        _log.info("worker_told_to_stop", attempt=self.attempt_id, reason=reason.value)
        self._phase, self.stop_reason = Phase.STOPPING, reason
        self._kill_after(self._grace(reason))
        await self.process.order(Stop(reason))

    def spare(self) -> None:
        """It is not to be killed any more: it has ended, or goes on."""
        if self._kill_timer is not None:
            self._kill_timer.cancel()

    def _step(self, step: Step) -> None:
        self.answered = step is Step.FINISHING
        if step is not Step.RESUMED:
            self._phase = Phase.SETTLING
            self._kill_after(self._timing.finishing_grace if self.answered else self._timing.settling_grace)
            return
        self._phase = Phase.STOPPING if self.stop_reason else Phase.RUNNING
        self.spare()
        if self.stop_reason is not None:
            self._kill_after(self._grace(self.stop_reason))

    def _grace(self, reason: StopReason) -> float:
        return {
            StopReason.CANCELED: self._timing.cancel_grace,
            StopReason.FENCED: self._timing.fence_grace,
            StopReason.AGENT: self._timing.stop_grace,
        }[reason]

    def _kill_after(self, seconds: float) -> None:
        self.spare()
        self._kill_timer = asyncio.get_running_loop().call_later(seconds, self._kill, seconds)

    def _kill(self, seconds: float) -> None:
        """Said before it is done: a worker that handed in was never told to stop, and its log does not know why it ends."""
        _log.warning("worker_killed", attempt=self.attempt_id, was=self._phase.name, after_seconds=seconds)
        self.process.kill()
