"""Orders to hold points, and to let go of them. Each is one transaction and returns the points' ids."""

from collections.abc import Sequence
from dataclasses import dataclass

from seawall.controller.errors import FailedPrecondition, InvalidArgument
from seawall.controller.records.catalogue import PointState
from seawall.controller.records.policies import Hold
from seawall.controller.services.naming import find_point
from seawall.controller.store.transaction import Transaction
from seawall.controller.text import SENTENCE_LENGTH, printable
from seawall.repository.clock import Clock

MOST_POINTS = 1000
LONGEST_US = 100 * 366 * 86_400 * 1_000_000
LONGEST_REASON = 200
NO_REASON = "an operator's wish"


@dataclass(frozen=True, slots=True)
class Holding:
    """`clock`: the wall's, as a hold's end is a date."""

    clock: Clock

    def hold(self, transaction: Transaction, texts: Sequence[str], reason: str, for_us: int | None) -> list[str]:
        """Replaces an older hold of the same point. `for_us` None: until it is released.

        Raises NotFound/POINT_UNKNOWN; FailedPrecondition/POINT_NOT_AVAILABLE; InvalidArgument/NO_POINTS, TOO_MANY_POINTS, BAD_TIME.
        """
        if for_us is not None and not 0 < for_us <= LONGEST_US:
            raise InvalidArgument("BAD_TIME", "A hold lasts for some time, and for 100 years at most.")
        now_us = self.clock.now_us()
        until_us = 0 if for_us is None else now_us + for_us
        why = printable(reason[:SENTENCE_LENGTH], LONGEST_REASON) or NO_REASON
        point_ids = _found(transaction, texts)
        for point_id in point_ids:
            transaction.policies.hold(Hold(point_id, why, now_us, until_us))
        return point_ids

    def release(self, transaction: Transaction, texts: Sequence[str]) -> list[str]:
        """Raises NotFound/POINT_UNKNOWN; InvalidArgument/NO_POINTS, TOO_MANY_POINTS."""
        point_ids = _found(transaction, texts)
        for point_id in point_ids:
            transaction.policies.release(point_id)
        return point_ids


def _found(transaction: Transaction, texts: Sequence[str]) -> list[str]:
    if not texts:
        raise InvalidArgument("NO_POINTS", "Name at least one point.")
    if len(texts) > MOST_POINTS:
        raise InvalidArgument("TOO_MANY_POINTS", f"At most {MOST_POINTS} points at once; these are {len(texts)}.")
    points = [find_point(transaction, text) for text in texts]
    for point in points:
        if point.state is not PointState.AVAILABLE:
            raise FailedPrecondition("POINT_NOT_AVAILABLE", f"Point {point.id} is still being published.")
    return list(dict.fromkeys(point.id for point in points))
