"""The leader's loops of policies: one fires what is due, one closes windows, at the moment when it is due and every few seconds anyway.

Beside each other: thousands of runs whose window closes hold up no policy that is due. What a policy's own windows close on is settled
before it is fired (firing.py).
"""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from seawall.controller.errors import ControllerError
from seawall.controller.scheduler.closing import Closing
from seawall.controller.scheduler.firing import Firing
from seawall.controller.scheduler.wakes import POLICIES, Wakes
from seawall.controller.server.drain import Drain
from seawall.repository.clock import Clock, datetime_of

NOT_LEADER = "NOT_LEADER"

_log = structlog.get_logger()


async def keep_policies(
    firing: Firing, closing: Closing, wakes: Wakes, drain: Drain, wall: Clock, interval_seconds: float
) -> None:
    """Returns when the drain starts."""
    await asyncio.gather(
        _keep("firing", firing.run_once, wakes, drain, lambda: _pause(firing, wall, interval_seconds)),
        _keep("closing", closing.run_once, wakes, drain, lambda: interval_seconds),
    )


async def _keep(
    what: str, look: Callable[[], Awaitable[None]], wakes: Wakes, drain: Drain, pause_seconds: Callable[[], float]
) -> None:
    while not drain.started:
        seen = wakes.seen(POLICIES)
        try:
            await look()
        except ControllerError as error:
            if error.reason != NOT_LEADER:
                _log.warning("policies.look_refused", what=what, reason=error.reason, error=str(error))
        except Exception:
            # The top of the loop: the next look reads everything anew.
            _log.exception("policies.look_failed", what=what)
        await drain.first(wakes.changed(seen, POLICIES), pause_seconds())


def _pause(firing: Firing, wall: Clock, interval_seconds: float) -> float:
    due = firing.next_due()
    if due is None:
        return interval_seconds
    until = (due - datetime_of(wall.now_us())).total_seconds()
    return min(interval_seconds, max(0.05, until))
