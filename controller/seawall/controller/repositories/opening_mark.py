"""What counts of leaders before: read as a repository is opened, and written down for everybody before it is served (`v1/c/open`).

Called by the catalogue: `look_before` right after this leader announced itself, `put_open_mark` when all that the bucket knows is in the
database. Why nothing that was promised is left out: repository/DESIGN.md, "What counts of a replaced leader".
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import structlog

from seawall.controller.errors import Unavailable
from seawall.controller.scheduler.leading import LeaderLease
from seawall.controller.store.transaction import Store, Transaction
from seawall.repository.collecting.condemn_logs import condemn_log_numbers
from seawall.repository.errors import ObjectExists, StoreRefused
from seawall.repository.forgetting.leaders import LeaderMark
from seawall.repository.forgetting.standing import Standing, open_numbers
from seawall.repository.format.layout import MANIFESTS_PREFIX, PointName, open_name, parse_point_name
from seawall.repository.format.open_mark import LogNumber, OpenMark, PointIds, sign_open_mark
from seawall.repository.repository import OpenRepository

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Before:
    """What lay in the bucket when this leader had announced itself: all that anybody was ever told of. Later comers may be anything."""

    standing: Standing
    manifests: frozenset[PointName]
    logs: frozenset[LogNumber]

    @property
    def counting_logs(self) -> frozenset[LogNumber]:
        return frozenset(number for number in self.logs if self.standing.log_counts(number))


def look_before(repository: OpenRepository) -> Before:
    """The one listing of manifests and condemn logs of an opening. It comes after this leader's announcement, so it shows all that anybody
    was told of (rules 4 and 5); a second look could only show what was promised to nobody, and would adopt what the open mark, which names
    what this one saw, leaves out.

    Raises what the store raises.
    """
    standing = repository.standing()
    if standing.damage:
        _log.error("open_mark.unreadable", url=repository.store.url, error=standing.damage)
    manifests = (parse_point_name(info.name) for info in repository.store.list(MANIFESTS_PREFIX))
    names = frozenset(name for name in manifests if name is not None)
    return Before(standing, names, frozenset(condemn_log_numbers(repository.store)))


def put_open_mark(
    database: Store,
    lease: LeaderLease,
    repository: OpenRepository,
    repository_id: str,
    mark: LeaderMark,
    before: Before,
) -> None:
    """`mark`: in whose name the database holds all that counted. Raises Unavailable/NOT_LEADER, and what the store raises."""
    leader = lease.current

    def closure(transaction: Transaction) -> tuple[set[str], set[str]]:
        transaction.leadership.check(leader)
        require_opened_as(transaction, repository_id, mark.epoch)
        return set(transaction.points.root_ids(repository_id)), set(transaction.points.deleting(repository_id))

    roots, leaving = database.read_now(closure)
    points = PointIds.of([*roots, *_unsettled(repository, before, roots)])
    lineage_id = repository.config.lineage_id
    _put(repository, OpenMark(lineage_id, mark.epoch, 0, points, PointIds.of(leaving), before.counting_logs))


def name_too(
    database: Store,
    lease: LeaderLease,
    repository: OpenRepository,
    repository_id: str,
    standing: Standing,
    point_ids: Sequence[str],
) -> None:
    """The mark of this leader once more, with points that came late and that the database vouches for: all that they need is there, and no
    collection is under way. Nothing where the repository is only being opened: its mark comes. Raises Unavailable/NOT_LEADER.
    """
    leader, last = lease.current, standing.last

    def closure(transaction: Transaction) -> int:
        transaction.leadership.check(leader)
        return transaction.leadership.opened_epoch(repository_id)

    if last is not None and last.epoch == database.read_now(closure):
        _put(repository, replace(last, points=PointIds.of([*last.points, *point_ids])))


def _put(repository: OpenRepository, open_mark: OpenMark) -> None:
    """Under the next free number of its epoch. What it replaces goes. One of a greater epoch would decide in its place."""
    earlier, epoch = open_numbers(repository.store), open_mark.epoch
    if earlier and earlier[0][0] > epoch:
        raise Unavailable(
            "NOT_LEADER",
            f"{open_name(*earlier[0])}: another controller opened the repository since; this one does as {epoch}.",
        )
    number = max((number for each, number in earlier if each == epoch), default=0)
    while True:
        number += 1
        body = sign_open_mark(replace(open_mark, number=number), repository.secrets.signing_secret_key)
        try:
            repository.store.put(open_name(epoch, number), body)
            break
        except ObjectExists:
            continue  # a try of before, whose answer was lost
    _remove(repository, [each for each in earlier if each < (epoch, number)])


def _unsettled(repository: OpenRepository, before: Before, roots: set[str]) -> Iterator[str]:
    """Manifests that count and that the database takes for no point: damaged ones, or of points whose run failed here. They go on counting:
    somebody may have been told of them. Void ones do not, and are named in the log.
    """
    for name in sorted(before.manifests):
        if name.point_id in roots:
            continue
        if not repository.counts(name, before.standing):
            _log.warning("manifest.void", tenant=name.tenant, vm_id=name.vm_id, point_id=name.point_id)
        elif repository.burial(name, before.standing) is None:
            yield name.point_id


def _remove(repository: OpenRepository, numbers: list[tuple[int, int]]) -> None:
    """Only the greatest ever decides, and no name comes twice. What the store will not let go stays until the next time."""
    for number in numbers:
        with suppress(StoreRefused):
            repository.store.delete(open_name(*number))


def require_opened_as(transaction: Transaction, repository_id: str, epoch: int) -> None:
    """In each transaction that writes down what will bear this epoch in the bucket: another opening of this database, which names what
    counts of epochs before, has not begun, or its list has this too. Raises Unavailable/NOT_LEADER.
    """
    opened = transaction.leadership.opened_epoch(repository_id)
    if opened != epoch:
        raise Unavailable(
            "NOT_LEADER", f"The repository was opened anew meanwhile, as {opened} instead of {epoch}; try again."
        )
