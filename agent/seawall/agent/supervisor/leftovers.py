"""Clearing up what dead workers left: their processes, backup jobs, sockets, scratch files, uncommitted
checkpoints and half-restored disks."""

import asyncio
import os
import signal
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path

import structlog

from seawall.agent.capture.held import held_by
from seawall.agent.capture.names import places
from seawall.agent.capture.sweep import sweep
from seawall.agent.config import AgentConfig
from seawall.agent.errors import AgentError
from seawall.agent.hypervisor.port import Hypervisor
from seawall.agent.journal import Journal, JournalledAttempt, JournalUnusable
from seawall.agent.restore.sweep import sweep_restores
from seawall.agent.restore.unfinished import noted_attempts, restores_dir
from seawall.agent.supervisor.timing import Backoff, Timing

_log = structlog.get_logger("seawall.agent.supervisor")


class SweepFailed(AgentError):
    """Something of a dead attempt could not be removed, or not even looked for."""

    reason = "SWEEP_FAILED"


class Leftovers:
    """Sweeps one at a time; `lock` is also held while a worker starts, so that no sweep takes a newborn attempt for a dead one."""

    def __init__(self, config: AgentConfig, hypervisor: Hypervisor, journal: Journal) -> None:
        self._config = config
        self._hypervisor = hypervisor
        self._journal = journal
        self._due = asyncio.Event()
        self._waiting = False
        self.lock = asyncio.Lock()

    async def sweep(self, live: Callable[[], Collection[str]]) -> str:
        """Remove what belongs to no live attempt; returns what could not be done, "" when nothing is left to do.

        `live` is asked once the lock is held. The one place where an unforeseen error of a sweep ends: it is tried again.
        """
        async with self.lock:
            try:
                waiting = await asyncio.to_thread(self._sweep, frozenset(live()))
            except AgentError as error:
                return self._failed(str(error))
            except Exception as error:
                _log.exception("sweep_crashed")
                return self._failed(f"an unforeseen {type(error).__name__}")
        if waiting:
            self._due.set()
        else:
            self._due.clear()
        return ""

    async def sweep_again(self, live: Callable[[], Collection[str]], timing: Timing) -> None:
        """Until cancelled: after a sweep that could not do everything, again and again. A frozen guest may be part of what is left."""
        backoff = Backoff(timing.first_sweep_again, timing.longest_sweep_again)
        while True:
            await self._due.wait()
            await asyncio.sleep(backoff.next_seconds())
            if not await self.sweep(live) and not self._due.is_set():
                backoff.reset()

    def left_by(self, attempt_id: str) -> bool:
        """Whether an attempt left files on this host, a mark of a frozen guest among them perhaps."""
        where = places(self._config.run_dir, self._config.scratch_dir, attempt_id)
        folders = (where.run, where.scratch, restores_dir(self._config.run_dir) / attempt_id)
        noted = attempt_id in noted_attempts(self._config.state_dir) or held_by(self._config.run_dir, attempt_id)
        return noted or any(folder.exists() for folder in folders)

    def _failed(self, what: str) -> str:
        _log.warning("sweep_failed", error=what)
        self._due.set()
        return what

    def _sweep(self, live: frozenset[str]) -> bool:
        """Each part whatever becomes of the others. Whether a capture waits for another worker, or for its end. Raises SweepFailed."""
        self._waiting = False
        failed: list[str] = []
        for part in (self._sweep_captures, self._sweep_restores):
            try:
                failed += part(live)
            except (AgentError, OSError) as error:
                failed.append(str(error))
        if failed:
            raise SweepFailed(" ".join(failed))
        return self._waiting

    def _sweep_captures(self, live: frozenset[str]) -> list[str]:
        """What could not be done. Without the journal all checkpoints stay, but guests are thawed and jobs ended."""
        keep, failed = self._protected(live)
        swept = sweep(self._hypervisor, self._config.run_dir, self._config.scratch_dir, set(live), keep)
        if swept.removed or swept.later:
            _log.info("swept", removed=swept.removed, later=swept.later)
        if swept.waiting:
            _log.info("held_for_another_worker", attempts=sorted(swept.waiting))
            self._waiting = True
        failed += swept.failed
        if not failed:
            self._journal.forget_unborn(live | swept.held)
        return failed

    def _protected(self, live: frozenset[str]) -> tuple[set[str] | None, list[str]]:
        try:
            return self._journal.protected_checkpoints(live), []
        except JournalUnusable as error:
            return None, [str(error)]

    def _sweep_restores(self, live: frozenset[str]) -> list[str]:
        swept = sweep_restores(
            self._config.run_dir,
            self._config.state_dir,
            live,
            self._hypervisor.domains,
            self._journal.note_restored,
        )
        if swept.removed or swept.kept:
            _log.info("swept", removed=swept.removed, kept=swept.kept)
        return []


def kill_orphans(attempts: Collection[JournalledAttempt]) -> None:
    """End workers that outlived a supervisor which was killed. A pid that now belongs to something else is left alone."""
    for attempt in attempts:
        if attempt.pid and _is_worker_of(attempt.pid, attempt.ref.attempt_id):
            _log.warning("killing_orphaned_worker", attempt=attempt.ref.attempt_id, pid=attempt.pid)
            with suppress(ProcessLookupError):
                os.kill(attempt.pid, signal.SIGKILL)


def _is_worker_of(pid: int, attempt_id: str) -> bool:
    """Its command line ends in the attempt's id: no other process does."""
    try:
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return attempt_id.encode() in arguments
