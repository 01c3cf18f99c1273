"""Looking after the job, in the guard's process: judges it, ends it when it must end, and says when there is nothing left to do."""

import math
import socket
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

from seawall.agent.capture.ending import empty_scratch, end_job_at
from seawall.agent.capture.guard.decision import Job, Phase, Step, next_step
from seawall.agent.capture.guard.protocol import Setup
from seawall.agent.capture.limits import (
    Limits,
    Sight,
    free_bytes,
    free_room_bytes,
    judge,
    pause_seconds,
    room_bytes,
    used_bytes,
)
from seawall.agent.errors import AgentError, HypervisorError, VmNotFound, VmNotRunning
from seawall.agent.hypervisor.port import Hypervisor
from seawall.repository.clock import Clock

BEGIN_SILENCE_SECONDS = 120.0
"""Until the job has begun nobody calls check(): then the owner's process alone must show that it lives, at least so often."""


class Watching:
    """A thread that looks every `look_seconds`, and at scratch the more often the less room is left.

    `done` is set when nothing is left to do.
    """

    def __init__(
        self,
        hypervisor: Hypervisor,
        setup: Setup,
        clock: Clock,
        frozen: Callable[[], bool],
        stuck: Callable[[], AgentError | None] = lambda: None,
    ) -> None:
        """`frozen`: whether a guest is still to be thawed; `stuck`: why it cannot be while the job runs."""
        self._hypervisor, self._setup, self._clock, self._frozen = hypervisor, setup, clock, frozen
        self._stuck = stuck
        self._wake = threading.Event()
        self._phase = Phase.PREPARING
        self._limits: Limits | None = None
        self._sign_seconds = clock.monotonic_seconds()
        self._ending_seconds: float | None = None
        self._gone = False
        self._held_until_seconds = 0.0
        self.verdict: AgentError | None = None
        self.done = threading.Event()

    def start(self) -> None:
        threading.Thread(target=self._run, name="watch", daemon=True).start()

    def begin(self, limits: Limits) -> None:
        """The job may exist from here on."""
        self._limits, self._phase = limits, Phase.BEGINNING

    def begun(self) -> None:
        """It exists, so it must not vanish."""
        self.sign()
        self._phase = Phase.RUNNING

    def sign(self, *, work: bool = True) -> None:
        """The owner lives; with `work` it also gets on, which is what counts once the job has begun."""
        if work or self._phase is not Phase.RUNNING:
            self._sign_seconds = self._clock.monotonic_seconds()

    def owner_gone(self) -> None:
        """Nobody reads this job any more. One that runs is held for a while: within the limits of scratch, and thawed."""
        if self._phase is Phase.RUNNING and self.verdict is None:
            self._held_until_seconds = self._clock.monotonic_seconds() + self._setup.hold_seconds
        self._gone = True
        self._wake.set()

    def _run(self) -> None:
        while not self.done.is_set():
            self._await_look()
            self._wake.clear()
            self._look()

    def _await_look(self) -> None:
        """Until it is time, or scratch shows that there is no time: to look there costs next to nothing, to ask libvirt does."""
        due_seconds = self._clock.monotonic_seconds() + self._setup.look_seconds
        while (left_seconds := due_seconds - self._clock.monotonic_seconds()) > 0:
            if self._wake.wait(pause_seconds(self._room(free_room_bytes), left_seconds)):
                return
            if self.verdict is None and self._room(room_bytes) < 0:
                return

    def _room(self, measure: Callable[[int, int, Limits], int]) -> float:
        """By how many bytes scratch may grow. One that cannot be looked at is for the next look to judge."""
        if self._limits is None:
            return math.inf
        with suppress(OSError):
            return measure(used_bytes(self._setup.scratch), free_bytes(self._setup.scratch), self._limits)
        return math.inf

    def _look(self) -> None:
        if self._phase is Phase.PREPARING and not self._gone:
            return
        phase = self._phase  # of before: a job that begins during the look has not vanished
        job = self._see()
        if self._gone and not self._is_held() and job is Job.OURS:
            self._phase = Phase.RUNNING  # what its owner asked for has come
        elif self.verdict is None:
            self.verdict = self._judged(phase, active=job in (Job.OURS, Job.UNKNOWN))
        step = next_step(self._phase, job, self._ending_for_seconds(), frozen=self._frozen())
        if step is Step.END_JOB:
            self._end_job()
        elif step is Step.LEAVE:
            self.done.set()

    def _see(self) -> Job:
        """A daemon that is restarting is no verdict about QEMU: unless nobody serves the job, it counts as active."""
        vm_id, path = self._setup.vm_id, self._setup.socket
        try:
            return Job.OURS if self._hypervisor.owns_active_job(vm_id, path) else Job.ABSENT
        except (VmNotFound, VmNotRunning):
            return Job.ABSENT
        except AgentError:
            return Job.UNKNOWN if is_served(path) else Job.UNSERVED

    def _judged(self, phase: Phase, *, active: bool) -> AgentError | None:
        if self._limits is None or (phase is Phase.BEGINNING and not active):
            return None
        if active and (error := self._stuck()) is not None:
            return error
        silence = self._clock.monotonic_seconds() - self._sign_seconds
        if phase is Phase.BEGINNING:
            silence -= BEGIN_SILENCE_SECONDS
        folder = self._setup.scratch
        try:
            return judge(Sight(active, used_bytes(folder), free_bytes(folder), silence), self._limits)
        except OSError as error:
            return HypervisorError(
                f"Scratch can no longer be looked at: {error}.",
                reason="SCRATCH_LOST",
                next_step="See what removes files in the agent's scratch folder on that host; it is tried again.",
            )

    def _ending_for_seconds(self) -> float | None:
        if self.verdict is None and (not self._gone or self._is_held()):
            return None
        now = self._clock.monotonic_seconds()
        if self._ending_seconds is None:
            self._ending_seconds = now
        return now - self._ending_seconds

    def _is_held(self) -> bool:
        return self._clock.monotonic_seconds() < self._held_until_seconds

    def _end_job(self) -> None:
        try:
            end_job_at(self._hypervisor, self._setup.vm_id, self._setup.socket)
        except AgentError:
            return  # another look comes
        empty_scratch(self._setup.scratch)
        self._wake.set()


def is_served(path: Path) -> bool:
    """Whether a process listens on this socket. QEMU does for as long as the job serves; a stopped one still counts."""
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as client:
        client.settimeout(1.0)
        try:
            client.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:
            return True
    return True
