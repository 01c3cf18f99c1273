"""Watching a running capture: the guest's writes must never fail for want of scratch space, and no job may outlive its owner."""

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from seawall.agent.errors import AgentError, HypervisorError, ScratchFull, VmNotFound, VmNotRunning
from seawall.agent.hypervisor.port import Hypervisor, JobStatus
from seawall.repository.clock import Clock

logger = structlog.get_logger(__name__)

SMALL_BYTES = 1024 * 1024 * 1024  # below it a fifth would end backups of busy small VMs and save nothing worth having


LEAST_FREE_BYTES = 256 * 1024 * 1024  # what a busy guest overwrites between two looks


@dataclass(frozen=True, slots=True)
class Limits:
    """When a capture must end."""

    scratch_stop_bytes: int
    free_floor_bytes: int  # the scratch file system may not fall below
    owner_silence_seconds: float


@dataclass(frozen=True, slots=True)
class Sight:
    """One look."""

    status: JobStatus
    free_bytes: int
    silence_seconds: float  # since the owner last called check()


def limits_for(
    quota_bytes: int | None, stop_percent: int, virtual_bytes: int, free_bytes: int, silence_seconds: float
) -> Limits:
    """The default quota is a fifth of the disks, for small VMs up to all of them; what is free now bounds any quota."""
    default = max(virtual_bytes // 5, min(virtual_bytes, SMALL_BYTES))
    quota = min(default if quota_bytes is None else quota_bytes, free_bytes)
    stop = quota * stop_percent // 100
    return Limits(stop, quota - stop, silence_seconds)


def refuse_without_room(virtual_bytes: int, free_bytes: int) -> None:
    """Before the job begins: the first look after it would come too late. Raises ScratchFull."""
    needed = min(virtual_bytes, LEAST_FREE_BYTES)
    if free_bytes < needed:
        raise ScratchFull(
            f"Scratch has {free_bytes} bytes free, and a backup needs {needed} for what the guest overwrites meanwhile.",
            next_step="Free space there, or set another scratch folder for the agent on that host.",
        )


def judge(sight: Sight, limits: Limits) -> AgentError | None:
    """Why the capture must end now; None when it may go on."""
    used = sight.status.scratch_used_bytes
    if not sight.status.active:
        return HypervisorError(
            "The backup job is gone: the VM was stopped, or somebody aborted the job.",
            reason="VM_STOPPED",
            next_step="Start the VM if it should run; the next backup starts from the last committed point.",
        )
    if used > limits.scratch_stop_bytes or sight.free_bytes < limits.free_floor_bytes:
        return ScratchFull(
            f"The guest overwrote so much during the backup that scratch holds {used} bytes of the {limits.scratch_stop_bytes} "
            f"allowed ({sight.free_bytes} bytes are free there); it was ended before the guest's own writes could fail.",
            next_step="Give scratch more room, or back up when the VM writes less.",
        )
    if sight.silence_seconds > limits.owner_silence_seconds:
        return HypervisorError(
            f"The worker did not look after its backup job for {sight.silence_seconds:.0f} seconds.",
            reason="OWNER_SILENT",
        )
    return None


class JobWatch:
    """A thread that looks every `interval_seconds`, ends the job when it must, and keeps the reason for check()."""

    def __init__(
        self,
        hypervisor: Hypervisor,
        vm_id: str,
        scratch: Path,
        limits: Limits,
        interval_seconds: float,
        clock: Clock,
        end_job: Callable[[], object],
    ) -> None:
        self._hypervisor, self._vm_id, self._scratch, self._limits = hypervisor, vm_id, scratch, limits
        self._interval_seconds, self._clock, self._end_job = interval_seconds, clock, end_job
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._failure: AgentError | None = None
        self._owner_seconds = self._looked_seconds = clock.monotonic_seconds()
        self._thread = threading.Thread(target=self._run, name="capture watch", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raise what ended the capture. Looks itself when the thread's last look is too old."""
        self._owner_seconds = self._clock.monotonic_seconds()
        if self._owner_seconds - self._looked_seconds > 2 * self._interval_seconds:
            self._look()
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        """Stop looking. Does not end the job."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self._interval_seconds):
            self._look()
            if self._failure is not None:
                return

    def _look(self) -> None:
        with self._lock:
            if self._failure is None and not self._stop.is_set():
                self._failure = self._verdict()
                self._looked_seconds = self._clock.monotonic_seconds()
                if self._failure is not None:
                    self._end(self._failure)

    def _verdict(self) -> AgentError | None:
        try:
            status = self._hypervisor.job_status(self._vm_id)
        except (VmNotFound, VmNotRunning):
            status = JobStatus(active=False, scratch_used_bytes=0)
        except AgentError as error:
            # A daemon that is restarting is no verdict about QEMU; the NBD connections tell whether it still serves us.
            logger.warning("capture.look_failed", vm_id=self._vm_id, error=str(error))
            return None
        silence = self._clock.monotonic_seconds() - self._owner_seconds
        return judge(Sight(status, free_bytes(self._scratch), silence), self._limits)

    def _end(self, failure: AgentError) -> None:
        logger.warning("capture.ended", vm_id=self._vm_id, reason=failure.reason, error=str(failure))
        try:
            self._end_job()
        except AgentError as error:
            logger.error("capture.end_failed", vm_id=self._vm_id, error=str(error))


def free_bytes(folder: Path) -> int:
    """What an ordinary user may still write there."""
    state = os.statvfs(folder)
    return state.f_bavail * state.f_frsize
