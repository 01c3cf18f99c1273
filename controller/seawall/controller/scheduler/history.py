"""Forgets what is long over and left nothing behind: else the database grows for ever with runs that never began. Part of the leader.

Runs that made points or stored packs stay, as those name their attempts (DESIGN.md, "Known limits"); of their attempts only what they
reported goes. Small transactions, with pauses: nobody waits for any of it.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

import structlog

from seawall.controller.errors import ControllerError
from seawall.controller.scheduler.leading import LeaderLease
from seawall.controller.server.drain import Drain
from seawall.controller.store.transaction import Store, Transaction
from seawall.controller.timings import Timings, microseconds
from seawall.repository.clock import Clock

SWEEP_SECONDS = 6 * 3600.0
FIRST_SECONDS = 600.0
"""After the start of a leader, who has better to do."""
SLICE = 200
PAUSE_SECONDS = 0.2

_log = structlog.get_logger()


class History:
    """One for the controller. `wall` and `clock` must agree on what is old: what goes is gone, and clocks are set ahead by mistake."""

    def __init__(self, store: Store, lease: LeaderLease, wall: Clock, clock: Clock, timings: Timings) -> None:
        self._store = store
        self._lease = lease
        self._wall = wall
        self._clock = clock
        self._keep_us = microseconds(timings.history_seconds)

    async def run(self, drain: Drain) -> None:
        """Returns when the drain starts."""
        await drain.first(drain.wait(), FIRST_SECONDS)
        while not drain.started:
            try:
                await self.sweep(drain)
            except ControllerError as error:
                _log.warning("history.sweep_refused", reason=error.reason, error=str(error))
            except Exception:
                # The top of the loop: the next sweep reads everything anew.
                _log.exception("history.sweep_failed")
            await drain.first(drain.wait(), SWEEP_SECONDS)

    async def sweep(self, drain: Drain) -> None:
        """Raises Unavailable/NOT_LEADER, and what the store says no with."""
        before_us = min(self._wall.now_us(), self._clock.now_us()) - self._keep_us
        runs = await self._runs(before_us, drain)
        reports = await self._reports(before_us, drain)
        if runs or reports:
            _log.info("history.forgotten", runs=runs, reports=reports)

    async def _runs(self, before_us: int, drain: Drain) -> int:
        after, count = "", 0
        while not drain.started:
            ids = await self._store.read(partial(_old, before_us=before_us, after=after))
            if not ids:
                break
            await self._write(partial(_drop, run_ids=ids))
            after, count = ids[-1], count + len(ids)
            await drain.first(asyncio.sleep(PAUSE_SECONDS), PAUSE_SECONDS)
        return count

    async def _reports(self, before_us: int, drain: Drain) -> int:
        count, dropped = 0, SLICE
        while dropped == SLICE and not drain.started:
            dropped = await self._write(lambda transaction: transaction.runs.drop_progress(before_us, limit=SLICE))
            count += dropped
            await drain.first(asyncio.sleep(PAUSE_SECONDS), PAUSE_SECONDS)
        return count

    async def _write(self, closure: Callable[[Transaction], int]) -> int:
        leader = self._lease.current

        def guarded(transaction: Transaction) -> int:
            transaction.leadership.check(leader)
            return closure(transaction)

        return await self._store.write(guarded)


def _old(transaction: Transaction, before_us: int, after: str) -> Sequence[str]:
    return transaction.runs.old_runs(before_us, after=after, limit=SLICE)


def _drop(transaction: Transaction, run_ids: Sequence[str]) -> int:
    transaction.runs.drop_runs(run_ids)
    return len(run_ids)
