"""One time for all controllers of a database: the leader's, as each renewal of its lease says it.

A host's lease is written by the controller that answers its heartbeat and judged by the one that leads: with clocks 90 s apart each host
would be offline for one of them. A renewal that somebody saw come is at most a look old, so this is right within a few seconds, which is
all that leases and deadlines of minutes need. No other clock is asked, so none that jumps (the database server's, another machine's) moves
anything; who leads next carries the same time on.
"""

import structlog

from seawall.controller.records.leadership import LeaseRow
from seawall.controller.runs.steady import SteadyClock
from seawall.controller.timings import SECOND_US, microseconds

APART_US, APART_LOOKS = 5 * SECOND_US, 2
"""So far two controllers may be apart: a renewal is seen a look late, and a busy database takes its time."""

_log = structlog.get_logger()


def apart_us(look_seconds: float) -> int:
    """Where leases, and so the pauses between two looks, are long, two looks: else no renewal would ever be seen in time."""
    return max(APART_US, APART_LOOKS * microseconds(look_seconds))


def renewed(before: LeaseRow, after: LeaseRow, seconds: float, apart_us: int) -> bool:
    """Whether the same leader renewed its lease between two looks, so many seconds apart, just now. Pure.

    Any other change says no time (another leader, a database that was put back), nor does what came while nobody looked for long.
    """
    same = before.holder == after.holder and before.epoch == after.epoch
    return same and before.expires_us < after.expires_us and seconds * SECOND_US < apart_us


def agree(clock: SteadyClock, row: LeaseRow, lease_us: int, apart_us: int) -> None:
    """`row`: was renewed just now, under leases of `lease_us`."""
    leader_us = row.expires_us - lease_us
    if abs(leader_us - clock.now_us()) > apart_us:
        _log.warning("clock.agreed_with_leader", stepped_seconds=clock.agree(leader_us) / SECOND_US)
