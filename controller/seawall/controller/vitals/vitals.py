"""Looks after the controller itself, each second, and tells the health service whether it is ready."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog

from seawall.controller.database.database import UNWRITTEN
from seawall.controller.errors import ControllerError
from seawall.controller.runs.steady import SteadyClock
from seawall.controller.server.drain import Drain
from seawall.controller.timings import Timings, microseconds
from seawall.controller.vitals.loop_lag import BLOCKED_SECONDS, LoopLag
from seawall.controller.vitals.room import FULL, trouble_of_room
from seawall.controller.vitals.troubles import Trouble, Troubles
from seawall.controller.vitals.wall_clock import WallClock
from seawall.repository.clock import Clock

LOOK_SECONDS = 1.0

_log = structlog.get_logger()


class Vitals:
    """Belongs to one event loop, but for `write_failed`."""

    def __init__(self, wall: Clock, clock: SteadyClock, timings: Timings, database_folder: Path | None) -> None:
        """`database_folder`: of an SQLite database; None for one that is elsewhere."""
        self._wall = wall
        self._clock = clock
        self._folder = database_folder
        # The leader writes at each look of the scheduler: no failure for two of them, and the database is well.
        self._well_after_us = microseconds(2 * timings.scheduler_interval_seconds + 1)
        self._failed: dict[str, int] = {}
        self._troubles = Troubles()
        self._lag = LoopLag()
        self._clock_watch = WallClock(self._ahead_us())

    @property
    def ready(self) -> bool:
        """Nothing is wrong that forbids to begin something."""
        return self._troubles.ready

    @property
    def may_start(self) -> bool:
        """Whether the database takes what a start has to write down, and what comes after it."""
        return not any(self._troubles.has(reason) for reason in UNWRITTEN)

    @property
    def loop_lag_seconds(self) -> float:
        return self._lag.worst_seconds

    def sentences(self) -> list[str]:
        return list(self._troubles.sentences())

    def write_failed(self, error: ControllerError) -> None:
        """From any thread: the database did not take a write."""
        now_us = self._clock.now_us()
        self._failed[error.reason] = now_us
        if self._troubles.note(Trouble(error.reason, str(error), ready=False), now_us):
            _log.error("database.troubled", reason=error.reason, error=str(error))

    async def run(self, tell: Callable[[bool], Awaitable[None]], drain: Drain) -> None:
        """Returns when the drain starts. `tell`: whether it is ready, when that changes."""
        told = True
        while not drain.started:
            due = self._clock.monotonic_seconds() + LOOK_SECONDS
            await drain.first(asyncio.sleep(LOOK_SECONDS), LOOK_SECONDS)
            try:
                self._look(due)
            except Exception:
                # The top of the loop: without it what is said now would be said for ever.
                _log.exception("vitals.look_failed")
            if self.ready != told:
                told = self.ready
                _log.warning("controller.ready" if told else "controller.not_ready", troubles=self.sentences())
                await tell(told)

    def _look(self, due: float) -> None:
        came, now_us = self._clock.monotonic_seconds(), self._clock.now_us()
        self._lag.measured(due, came)
        if came - due >= BLOCKED_SECONDS:
            _log.error("loop.blocked", seconds=round(came - due, 1))
        jumped_us = self._clock_watch.look(self._ahead_us(), now_us)
        if jumped_us:
            _log.warning("clock.jumped", seconds=jumped_us / 1e6)
        self._show("LOOP_BLOCKED", self._lag.trouble(came), now_us)
        self._show("CLOCK_JUMPED", self._clock_watch.trouble(now_us), now_us)
        self._look_at_database(now_us)

    def _ahead_us(self) -> int:
        """Wall time before that which passes alone: the steady clock may be stepped too, to the leader's time."""
        return self._wall.now_us() - int(self._clock.monotonic_seconds() * 1e6)

    def _look_at_database(self, now_us: int) -> None:
        low = trouble_of_room(self._folder) if self._folder is not None else None
        if low is not None:
            self._show(FULL, low, now_us)
        for reason, failed_us in list(self._failed.items()):
            still_full = reason == FULL and low is not None
            if now_us - failed_us >= self._well_after_us and not still_full:
                del self._failed[reason]
        if low is None and FULL not in self._failed:
            self._show(FULL, None, now_us)
        for reason in UNWRITTEN:
            if reason != FULL and reason not in self._failed:
                self._show(reason, None, now_us)

    def _show(self, reason: str, trouble: Trouble | None, now_us: int) -> None:
        if trouble is None:
            if self._troubles.end(reason):
                _log.info("trouble.ended", reason=reason)
        elif self._troubles.note(trouble, now_us):
            _log.warning("trouble.began", reason=reason, what=trouble.sentence)
