"""What an older database does not remember: points whose tombstones lie in the bucket are deleted here too (repository/DESIGN.md, rule 4).

Called while a repository is opened, before anybody may use a point of it. Nothing where nothing was lost.
"""

import structlog

from seawall.controller.records.catalogue import PointState
from seawall.controller.scheduler.leading import LeaderLease
from seawall.controller.store.transaction import Store, Transaction
from seawall.repository.batches import in_batches
from seawall.repository.clock import Clock
from seawall.repository.errors import ObjectMissing
from seawall.repository.forgetting.burying import remove_point
from seawall.repository.forgetting.leaders import LeaderMark, newest_leader
from seawall.repository.forgetting.tombstones import read_tombstone
from seawall.repository.format.layout import (
    TOMBSTONES_PREFIX,
    PointName,
    manifest_name,
    parse_point_name,
    tombstone_name,
)
from seawall.repository.repository import OpenRepository

_log = structlog.get_logger()


def replay_tombstones(
    database: Store, lease: LeaderLease, clock: Clock, repository: OpenRepository, repository_id: str, mark: LeaderMark
) -> None:
    """AVAILABLE points become DELETING with the bucket's tombstone; the finisher goes on with them. What is left of a point without a row
    goes at once: it would stop every collection. A signature of this repository's decides, and nothing that merely stands in the place.

    Raises Unavailable/NOT_LEADER, and what the store raises.
    """
    names = (parse_point_name(info.name) for info in repository.store.list(TOMBSTONES_PREFIX))
    for batch in in_batches(name for name in names if name is not None):
        for name, state in _states(database, repository_id, batch).items():
            if state is None and not _has_manifest(repository, name):
                continue
            if read_tombstone(repository.store, repository.open_tombstone, name) is None:
                _log.warning("tombstone.void", point_id=name.point_id, vm_id=name.vm_id)
            elif state is None:
                _remove_unknown(database, lease, repository, name, mark)
            else:
                body = repository.store.get(tombstone_name(name.tenant, name.vm_id, name.point_id))
                _adopt(database, lease, clock, name, body)


def _states(database: Store, repository_id: str, names: list[PointName]) -> dict[PointName, PointState | None]:
    """Of those that this database holds as AVAILABLE, or (None) does not hold at all."""

    def closure(transaction: Transaction) -> dict[PointName, PointState | None]:
        found: dict[PointName, PointState | None] = {}
        for name in names:
            point = transaction.points.point(name.point_id)
            if point is None:
                found[name] = None
            elif point.repository_id == repository_id and point.state is PointState.AVAILABLE:
                found[name] = point.state
        return found

    return database.read_now(closure)


def _has_manifest(repository: OpenRepository, name: PointName) -> bool:
    try:
        repository.store.head(manifest_name(name.tenant, name.vm_id, name.point_id))
    except ObjectMissing:
        return False
    return True


def _remove_unknown(
    database: Store, lease: LeaderLease, repository: OpenRepository, name: PointName, mark: LeaderMark
) -> None:
    """Its tombstone lies there; the look at the leaders comes before the removal here as everywhere."""
    leader = lease.current
    database.read_now(lambda transaction: transaction.leadership.check(leader))
    if newest_leader(repository.store) <= mark:
        remove_point(repository.store, name)
        _log.warning("point.leftover_removed", point_id=name.point_id, vm_id=name.vm_id)


def _adopt(database: Store, lease: LeaderLease, clock: Clock, name: PointName, tombstone: bytes) -> None:
    leader, now_us = lease.current, clock.now_us()

    def closure(transaction: Transaction) -> bool:
        transaction.leadership.check(leader)
        point = transaction.points.point(name.point_id)
        if point is None or point.state is not PointState.AVAILABLE:
            return False
        transaction.points.begin_delete(name.point_id, tombstone, now_us)
        return True

    if database.write_now(closure):
        _log.warning("point.deletion_adopted", point_id=name.point_id, vm_id=name.vm_id)
