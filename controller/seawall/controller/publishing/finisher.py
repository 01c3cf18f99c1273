"""Carries on what a crash or an outage left between intent and AVAILABLE, or between DELETING and DELETED.

All of it at the start, later what nobody else carries.
"""

import asyncio
from functools import partial
from typing import Protocol

import structlog

from seawall.controller.errors import ControllerError
from seawall.controller.scheduler.wakes import ENDED, SCHEDULER, Wakes
from seawall.controller.server.drain import Drain
from seawall.controller.services.blocking import Blocking

_log = structlog.get_logger()


class Steps(Protocol):
    """What is carried on: publications, and deletions of points."""

    def unfinished(self) -> list[str]:
        """Ids of points."""

    def finish(self, point_id: str) -> None:
        """Repeatable. Raises ControllerError."""


LONGEST_PAUSE_SECONDS = 60.0
"""Between two tries to finish the same point."""


async def finish_intents(steps: Steps, blocking: Blocking, wakes: Wakes, drain: Drain, interval_seconds: float) -> None:
    """Returns when the drain starts. A point that cannot be finished is tried again, ever more rarely, logged when its reason changes."""
    patience = Patience(interval_seconds)
    while not drain.started:
        try:
            for point_id in patience.due(await blocking.run(steps.unfinished)):
                await _finish(steps, blocking, wakes, point_id, patience)
        except ControllerError as error:
            _log.error("points.unfinished_unknown", reason=error.reason, error=str(error))
        await drain.first(asyncio.sleep(interval_seconds), interval_seconds)


class Patience:
    """Which points are due in a round: after n failures in a row, one waits 2^(n-1) rounds, at most LONGEST_PAUSE_SECONDS."""

    def __init__(self, interval_seconds: float) -> None:
        self._most_rounds = max(1, round(LONGEST_PAUSE_SECONDS / interval_seconds))
        self._round = 0
        self._due: dict[str, tuple[int, int, str]] = {}

    def due(self, unfinished: list[str]) -> list[str]:
        self._round += 1
        self._due = {point_id: self._due[point_id] for point_id in unfinished if point_id in self._due}
        return [point_id for point_id in unfinished if self._due.get(point_id, (0, 0, ""))[0] <= self._round]

    def failed(self, point_id: str, reason: str) -> bool:
        """Whether the reason is new."""
        _, failures, last = self._due.get(point_id, (0, 0, ""))
        self._due[point_id] = (self._round + min(2**failures, self._most_rounds), min(failures + 1, 32), reason)
        return reason != last


async def _finish(steps: Steps, blocking: Blocking, wakes: Wakes, point_id: str, patience: Patience) -> None:
    try:
        await blocking.run(partial(steps.finish, point_id))
    except ControllerError as error:
        if patience.failed(point_id, error.reason):
            _log.error("point.unfinished", point_id=point_id, reason=error.reason, error=str(error))
    except Exception as error:
        # The top of the loop: the intent stays, a later round tries again.
        if patience.failed(point_id, type(error).__name__):
            _log.exception("point.unfinished", point_id=point_id)
    wakes.notify((SCHEDULER, ENDED))
