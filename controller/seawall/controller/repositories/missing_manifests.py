"""The reverse of adopting: points that the database has and the bucket does not (DESIGN of the repository, rule 4)."""

from collections.abc import Iterable

import structlog

from seawall.controller.scheduler.leading import LeaderLease
from seawall.controller.store.transaction import Store, Transaction
from seawall.repository.batches import in_batches
from seawall.repository.clock import Clock
from seawall.repository.format.layout import PointName

_log = structlog.get_logger()


def miss_manifests(
    database: Store,
    lease: LeaderLease,
    clock: Clock,
    repository_id: str,
    there: Iterable[PointName],
) -> None:
    """`there`: manifests that a listing named just now. A point without one is no protection, so it is not called verified any more;
    whoever proves points looks again, as an object may be brought back. Nothing is deleted. Raises Unavailable/NOT_LEADER.
    """
    named = {name.point_id for name in there}
    known = database.read_now(lambda transaction: transaction.points.unrefuted_ids(repository_id))
    now_us, leader = clock.now_us(), lease.current

    def closure(transaction: Transaction, point_ids: Iterable[str]) -> None:
        transaction.leadership.check(leader)
        for point_id in point_ids:
            transaction.points.mark_proved(point_id, -now_us)

    for batch in in_batches(point_id for point_id in known if point_id not in named):
        database.write_now(lambda transaction, batch=batch: closure(transaction, batch))  # type: ignore[misc]
        for point_id in batch:
            _log.error("point.manifest_missing", repository_id=repository_id, point_id=point_id)
