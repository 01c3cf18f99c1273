"""Carries on what a crash or an outage left between intent and AVAILABLE, or between DELETING and DELETED.

All of it at the start, later what nobody else carries. Repositories side by side: one whose store is away holds no other up.
"""

import asyncio
from collections.abc import Mapping
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

    def unfinished(self) -> Mapping[str, str]:
        """Id of each point, oldest first -> id of its repository."""

    def finish(self, point_id: str) -> None:
        """Repeatable. Raises ControllerError."""


LONGEST_PAUSE_SECONDS = 60.0
"""Between two tries to finish the same point."""
AT_ONCE = 4
"""Repositories: the threads that wait for stores are others' too."""
STORE_AWAY = "STORE_UNAVAILABLE"
"""The reason that each further point would only meet after the same wait. The others are answered at once, and may be one point's own."""


async def finish_intents(steps: Steps, blocking: Blocking, wakes: Wakes, drain: Drain, interval_seconds: float) -> None:
    """Returns when the drain starts. A point that cannot be finished is tried again, ever more rarely, logged when its reason changes.

    So is the look itself: whatever it meets, publishing and deleting go on with the next.
    """
    finisher = _Finisher(steps, blocking, wakes, drain)
    patience: dict[str, Patience] = {}
    rounds: dict[str, asyncio.Task[None]] = {}
    failures = 0
    async with asyncio.TaskGroup() as group:
        while not drain.started:
            try:
                unfinished = await blocking.run(steps.unfinished)
            except ControllerError as error:
                _log.error("points.unfinished_unknown", reason=error.reason, error=str(error))
            except Exception:
                # The top of the loop: a later look, ever more rarely, reads everything anew.
                failures = min(failures + 1, 32)
                _log.exception("points.unfinished_unknown", failures=failures)
            else:
                failures = 0
                for repository_id, point_ids in _by_repository(unfinished).items():
                    if repository_id not in rounds or rounds[repository_id].done():
                        own = patience.setdefault(repository_id, Patience(interval_seconds))
                        rounds[repository_id] = group.create_task(finisher.round(point_ids, own))
            pause_seconds = min(interval_seconds * 2**failures, max(interval_seconds, LONGEST_PAUSE_SECONDS))
            await drain.first(asyncio.sleep(pause_seconds), pause_seconds)


def _by_repository(unfinished: Mapping[str, str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for point_id, repository_id in unfinished.items():
        found.setdefault(repository_id, []).append(point_id)
    return found


class Patience:
    """Which points are due in a round: after n failures in a row, one waits 2^(n-1) rounds, at most LONGEST_PAUSE_SECONDS."""

    def __init__(self, interval_seconds: float) -> None:
        self._most_rounds = max(1, round(LONGEST_PAUSE_SECONDS / interval_seconds))
        self._round = 0
        self._due: dict[str, tuple[int, int, str]] = {}

    def due(self, unfinished: list[str]) -> list[str]:
        """Begins a round. Those that wait longest come first: what a round did not reach, the next one does."""
        self._round += 1
        self._due = {point_id: self._due[point_id] for point_id in unfinished if point_id in self._due}
        rounds = {point_id: self._due.get(point_id, (0, 0, ""))[0] for point_id in unfinished}
        return sorted((point_id for point_id in unfinished if rounds[point_id] <= self._round), key=rounds.__getitem__)

    def failed(self, point_id: str, reason: str) -> bool:
        """Whether the reason is new."""
        _, failures, last = self._due.get(point_id, (0, 0, ""))
        self._due[point_id] = (self._round + min(2**failures, self._most_rounds), min(failures + 1, 32), reason)
        return reason != last


class _Finisher:
    """One for all repositories; a round is one repository's."""

    def __init__(self, steps: Steps, blocking: Blocking, wakes: Wakes, drain: Drain) -> None:
        self._steps = steps
        self._blocking = blocking
        self._wakes = wakes
        self._drain = drain
        self._places = asyncio.Semaphore(AT_ONCE)

    async def round(self, point_ids: list[str], patience: Patience) -> None:
        """Of one repository: each that is due, until its store turns out to be away. Raises nothing: the rounds of others go on."""
        for point_id in patience.due(point_ids):
            async with self._places:
                if self._drain.started or await self._finish(point_id, patience) == STORE_AWAY:
                    return

    async def _finish(self, point_id: str, patience: Patience) -> str:
        """Why not, "" where it is done."""
        try:
            await self._blocking.run(partial(self._steps.finish, point_id))
            return ""
        except ControllerError as error:
            if patience.failed(point_id, error.reason):
                _log.error("point.unfinished", point_id=point_id, reason=error.reason, error=str(error))
            return error.reason
        except Exception as error:
            # The top of the loop: the intent stays, a later round tries again.
            if patience.failed(point_id, type(error).__name__):
                _log.exception("point.unfinished", point_id=point_id)
            return type(error).__name__
        finally:
            self._wakes.notify((SCHEDULER, ENDED))
