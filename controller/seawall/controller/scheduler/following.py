"""What other controllers of the database changed, told to those who wait in this one: polls, watchers, the scheduler.

A hint as every wake: a host's poll may wait at one controller while the leader, another one, places work on that host; an attempt may end
at one controller while the leader waits for something to do.
"""

import asyncio
from dataclasses import dataclass, field

import structlog

from seawall.controller.errors import ControllerError
from seawall.controller.scheduler.wakes import ENDED, SCHEDULER, Wakes
from seawall.controller.server.drain import Drain
from seawall.controller.store.transaction import Store, Transaction

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Seen:
    """What the database said at one look."""

    generations: dict[str, int] = field(default_factory=dict)
    pulse: dict[str, int] = field(default_factory=dict)


def look(transaction: Transaction) -> Seen:
    return Seen(transaction.fleet.generations(), transaction.runs.pulse())


def moved(before: Seen, after: Seen) -> list[str]:
    """Topics of what changed between two looks; also what this controller itself changed. Pure."""
    hosts = [host for host, number in after.generations.items() if before.generations.get(host) != number]
    return [*hosts, SCHEDULER, ENDED] if before.pulse != after.pulse else hosts


async def follow_others(store: Store, wakes: Wakes, drain: Drain, interval_seconds: float) -> None:
    """Returns when the drain starts. A database that is away is waited for."""
    seen = Seen()
    while not drain.started:
        try:
            now = await store.read(look)
            topics = moved(seen, now)
            seen = now
            if topics:
                wakes.notify(topics)
        except ControllerError as error:
            _log.debug("replica.cannot_look", reason=error.reason)
        except Exception:
            # The top of the loop: the next look reads everything anew.
            _log.exception("replica.cannot_look")
        await drain.first(asyncio.sleep(interval_seconds), interval_seconds)
