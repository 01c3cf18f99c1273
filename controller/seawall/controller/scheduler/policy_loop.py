"""The leader's loop of policies: fires what is due and closes windows, at the moment when it is due and every few seconds anyway."""

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
    while not drain.started:
        seen = wakes.seen(POLICIES)
        try:
            await closing.run_once()
            await firing.run_once()
        except ControllerError as error:
            if error.reason != NOT_LEADER:
                _log.warning("policies.look_refused", reason=error.reason, error=str(error))
        except Exception:
            # The top of the loop: the next look reads everything anew.
            _log.exception("policies.look_failed")
        await drain.first(wakes.changed(seen, POLICIES), _pause(firing, wall, interval_seconds))


def _pause(firing: Firing, wall: Clock, interval_seconds: float) -> float:
    due = firing.next_due()
    if due is None:
        return interval_seconds
    until = (due - datetime_of(wall.now_us())).total_seconds()
    return min(interval_seconds, max(0.05, until))
