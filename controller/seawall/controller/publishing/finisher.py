"""Carries on what a crash or an outage left between intent and AVAILABLE. All of it at the start, later what nobody else carries."""

import asyncio
from functools import partial

import structlog

from seawall.controller.errors import ControllerError
from seawall.controller.publishing.promotion import Promotion
from seawall.controller.scheduler.wakes import SCHEDULER, Wakes
from seawall.controller.server.drain import Drain
from seawall.controller.services.blocking import Blocking

_log = structlog.get_logger()


async def finish_intents(
    promotion: Promotion, blocking: Blocking, wakes: Wakes, drain: Drain, interval_seconds: float
) -> None:
    """Returns when the drain starts. A point that cannot be finished is tried again and logged each time."""
    while not drain.started:
        try:
            for point_id in await blocking.run(promotion.unfinished):
                await _finish(promotion, blocking, wakes, point_id)
        except ControllerError as error:
            _log.error("points.unfinished_unknown", reason=error.reason, error=str(error))
        await drain.first(asyncio.sleep(interval_seconds), interval_seconds)


async def _finish(promotion: Promotion, blocking: Blocking, wakes: Wakes, point_id: str) -> None:
    try:
        await blocking.run(partial(promotion.finish, point_id))
    except ControllerError as error:
        _log.error("point.unfinished", point_id=point_id, reason=error.reason, error=str(error))
    except Exception:
        # The top of the loop: the intent stays, the next round tries again.
        _log.exception("point.unfinished", point_id=point_id)
    wakes.notify((SCHEDULER,))
