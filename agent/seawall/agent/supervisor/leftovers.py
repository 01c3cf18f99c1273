"""Clearing up what dead workers left: their processes, backup jobs, sockets, scratch files, uncommitted
checkpoints and half-restored disks."""

import asyncio
import os
import signal
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path

import structlog

from seawall.agent.capture.sweep import sweep
from seawall.agent.config import AgentConfig
from seawall.agent.hypervisor.port import Hypervisor
from seawall.agent.journal import Journal, JournalledAttempt
from seawall.agent.restore.unfinished import sweep_restores

_log = structlog.get_logger("seawall.agent.supervisor")


class Leftovers:
    """Sweeps one at a time; `lock` is also held while a worker starts, so that no sweep takes a newborn attempt for a dead one."""

    def __init__(self, config: AgentConfig, hypervisor: Hypervisor, journal: Journal) -> None:
        self._config = config
        self._hypervisor = hypervisor
        self._journal = journal
        self.lock = asyncio.Lock()

    async def sweep(self, live: Callable[[], Collection[str]]) -> None:
        """Remove what belongs to no live attempt. `live` is asked once the lock is held. Raises HypervisorError."""
        async with self.lock:
            await asyncio.to_thread(self._sweep, frozenset(live()))

    def _sweep(self, live: frozenset[str]) -> None:
        removed = sweep(
            self._hypervisor,
            self._config.run_dir,
            self._config.scratch_dir,
            set(live),
            self._journal.protected_checkpoints(live),
        )
        removed += sweep_restores(self._config.run_dir, live)
        self._journal.forget_unborn(live)
        if removed:
            _log.info("swept", removed=removed)


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
