"""Which points policies want read back again. Reads in one transaction, for the loop in `verify_schedule`.

A point's turn comes when nine tenths of the time that its policy allows have passed since the oldest look at anything that it needs. What
was read within the last half of that time is not read again, so points that share their data share its reading.

The point that waits longest stays the first until it is whole, however many jobs that takes. What a job with findings, or one that came to
nothing, named is left alone for a twentieth of the time (`tried_us`): something of it may stay undecided.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from seawall.controller.maintenance.verify_wire import from_point
from seawall.controller.records.catalogue import Point
from seawall.controller.records.policies import Policy
from seawall.controller.store.transaction import Transaction
from seawall.controller.timings import SECOND_US
from seawall.repository.format.layout import PointName

MOST_POINTS = 50
"""Of one job: its request names them."""


@dataclass(frozen=True, slots=True)
class Again:
    """Points of one policy, in the order in which they are read, and when what they need must have been read at least."""

    points: tuple[Point, ...]
    before_us: int

    @property
    def request(self) -> dict[str, Any]:
        """What the job is told of them."""
        names = [from_point(PointName(point.tenant, point.vm_id, point.id)) for point in self.points]
        return {"points": names, "before_us": self.before_us}


def due_again(transaction: Transaction, policies: Sequence[Policy], repository_id: str, now_us: int) -> Again | None:
    """Of the policy whose point waits longest, or None. Paused ones too: their points are as good as any."""
    found = [
        Again(tuple(points), now_us - policy.spec.verify_seconds * SECOND_US // 2)
        for policy in policies
        if policy.spec.verify_seconds and (points := _due(transaction, policy, repository_id, now_us))
    ]
    return min(found, key=lambda again: (again.points[0].tried_us, again.points[0].read_us), default=None)


def _due(transaction: Transaction, policy: Policy, repository_id: str, now_us: int) -> Sequence[Point]:
    period_us = policy.spec.verify_seconds * SECOND_US
    return transaction.points.unread(
        policy.id, repository_id, now_us - period_us * 9 // 10, now_us - period_us // 20, MOST_POINTS
    )
