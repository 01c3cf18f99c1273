"""The leader's loop: a tick when something changed, when the next run is due, and every few seconds anyway."""

import asyncio

import structlog

from seawall.controller.errors import ControllerError
from seawall.controller.scheduler.leading import LeaderLease
from seawall.controller.scheduler.tick import Tick
from seawall.controller.scheduler.wakes import SCHEDULER, Wakes
from seawall.controller.server.drain import Drain

DEBOUNCE_SECONDS = 0.1
PAUSE_PER_LOOK = 3.0
"""Short looks take a quarter of the time at most, however much changes."""
LONGEST_REST_SECONDS = 0.4
"""A look that took longer had to wait for others: no reason to let what is due wait thrice as long again. With 1.0 s, one run of a hundred
waited 1.3-1.8 s for the look that placed it while 1,000 hosts were at work."""

_log = structlog.get_logger()


async def schedule(tick: Tick, lease: LeaderLease, wakes: Wakes, drain: Drain, interval_seconds: float) -> None:
    """Returns when the drain starts."""
    while not drain.started:
        seen = wakes.seen(SCHEDULER)
        try:
            await lease.renew()
            tick.notice_a_gap()
            await tick.run_once()
        except ControllerError as error:
            _log.warning("scheduler.tick_refused", reason=error.reason, error=str(error))
        except Exception:
            # The top of the loop: whatever it was, the next tick reads everything anew.
            _log.exception("scheduler.tick_failed")
        await drain.first(wakes.changed(seen, SCHEDULER), tick.pause_seconds(interval_seconds))
        # One look is enough for all that comes within a moment.
        long = min(LONGEST_REST_SECONDS, PAUSE_PER_LOOK * tick.took_seconds)
        rest = min(interval_seconds, max(DEBOUNCE_SECONDS, long))
        await drain.first(asyncio.sleep(rest), rest)
