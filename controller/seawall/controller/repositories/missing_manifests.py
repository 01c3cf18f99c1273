"""The reverse of adopting: points that the database has and the bucket does not (DESIGN of the repository, rule 4)."""

from collections.abc import Iterable, Iterator

import structlog

from seawall.controller.records.catalogue import Point, PointState
from seawall.controller.scheduler.leading import LeaderLease
from seawall.controller.store.transaction import Store, Transaction
from seawall.repository.clock import Clock
from seawall.repository.errors import ObjectMissing
from seawall.repository.format.layout import PointName, manifest_name
from seawall.repository.repository import OpenRepository

_log = structlog.get_logger()


def miss_manifests(
    database: Store,
    lease: LeaderLease,
    clock: Clock,
    repository: OpenRepository,
    repository_id: str,
    there: Iterable[PointName],
) -> None:
    """`there`: manifests that a listing named just now. A point without one is no protection, so it is not called verified any more;
    whoever proves points looks again, as an object may be brought back. Nothing is deleted. Raises Unavailable/NOT_LEADER, and what the
    store raises.
    """
    named = {name.point_id for name in there}
    known = database.read_now(lambda transaction: transaction.points.available_ids(repository_id))
    lost = list(_lost(database, repository, [point_id for point_id in known if point_id not in named]))
    if not lost:
        return
    now_us, leader = clock.now_us(), lease.current

    def closure(transaction: Transaction) -> None:
        transaction.leadership.check(leader)
        for point in lost:
            transaction.points.mark_proved(point.id, -now_us)

    database.write_now(closure)
    for point in lost:
        _log.error("point.manifest_missing", repository_id=repository_id, vm=point.vm_name, point_id=point.id)


def _lost(database: Store, repository: OpenRepository, point_ids: Iterable[str]) -> Iterator[Point]:
    """Those that the bucket does not have now either, and of which nobody said so before."""
    for point_id in point_ids:
        point = database.read_now(lambda transaction, point_id=point_id: transaction.points.point(point_id))  # type: ignore[misc]
        if point is None or point.state is not PointState.AVAILABLE or point.verified_us < 0:
            continue
        try:
            repository.store.head(manifest_name(point.tenant, point.vm_id, point.id))
        except ObjectMissing:
            yield point
