"""Points that were given up, and whose manifest the bucket holds all the same: the answer to its PUT was lost, and the store away since.

Such a point is whole: its bytes are those of the intent, signed and validated. It stops every collection (MANIFEST_UNKNOWN) until it is
known again. Why it may come back (repository.md, section 7): while its manifest lies there, no collection passes the look before the
mark, so what it names is kept; one that passed before the PUT arrived may have condemned some of it, which the transaction below sees, as
it is ordered against condemning by the gc row (rule 2). No mark is ever under way meanwhile: this is done when a repository is opened, and
before a collection begins. So the point keeps its old place among the VM's points, and rule 1 needs no new number.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace

import structlog
from blake3 import blake3

from seawall.controller.publishing.second_look import packs_that_lost
from seawall.controller.publishing.slots import Slots
from seawall.controller.records.catalogue import Point, PointState
from seawall.controller.records.runs import AttemptState, RunState, RunWarning
from seawall.controller.repositories.opening_mark import name_too
from seawall.controller.scheduler.leading import LeaderLease
from seawall.controller.store.transaction import Store, Transaction
from seawall.repository.bounded import MANIFEST_BYTES, read_bounded
from seawall.repository.clock import Clock
from seawall.repository.errors import FormatUnsupported, IntegrityError, ObjectMissing, RefmapInvalid, WrongKey
from seawall.repository.forgetting.lying import lying_manifests
from seawall.repository.forgetting.standing import Standing
from seawall.repository.format.layout import PointName, manifest_name, refmap_name, tombstone_name
from seawall.repository.repository import OpenRepository
from seawall.repository.store.port import ObjectInfo

WARNING = RunWarning(
    "FOUND_COMMITTED",
    "This run was given up while its point was being published; the store had taken the point, and shows it since it answers again.",
)

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Found:
    point: Point
    slots: Slots


_Seen = tuple[ObjectInfo | None, ...]
"""Manifest, tombstone and refmap of a point as the store describes them; None where there is no such object."""


class GivenUp:
    """One for the time that a controller leads. Thread-safe for different repositories.

    A point that was refused is not read again before one of its objects is another one, or gone: only asked about.
    """

    def __init__(self, database: Store, lease: LeaderLease, clock: Clock) -> None:
        self._database = database
        self._lease = lease
        self._clock = clock
        self._refused: dict[str, dict[str, _Seen]] = {}
        """Repository -> point -> its objects when they were refused."""

    def take_back(
        self, repository: OpenRepository, repository_id: str, manifests: Collection[PointName] | None = None
    ) -> list[str]:
        """Ids of the points that are AVAILABLE now. Blocking. No collection of the repository may be under way. `manifests`: all that were
        listed in this opening; None: those of the VMs concerned are listed now.

        Raises Unavailable/NOT_LEADER, and what the store raises.
        """
        given_up = self._database.read_now(lambda transaction: transaction.points.given_up(repository_id))
        refused, taken = self._refused.setdefault(repository_id, {}), []
        lying = lying_manifests(repository.store, map(_name, given_up), manifests)  # of nearly all none does
        standing: Standing | None = None
        for point in (point for point in given_up if _name(point) in lying):
            # Described before it is read: what is put in its place meanwhile counts as changed the next time.
            seen = _seen(repository, point)
            if seen is None or seen == refused.get(point.id):
                continue
            standing = standing or repository.standing()
            found = _committed(repository, point, standing)
            if found is None:
                refused[point.id] = seen
                continue
            if not repository.counts(_name(point), standing):
                standing = self._named(repository, repository_id, standing, found)
            if _taken(self._database, self._lease, self._clock, found):
                taken.append(point.id)
        return taken

    def _named(self, repository: OpenRepository, repository_id: str, standing: Standing, found: _Found) -> Standing:
        """What counts now. A manifest that came after this leader had opened the repository is void, unless it is named once more: this one
        may be, as it is whole. While the repository is opened nothing need be done: what is AVAILABLE by then is named.
        """
        lost = self._database.read_now(
            lambda transaction: packs_that_lost(found.slots, transaction.packs.packs(repository_id, list(found.slots)))
        )
        if not lost:
            name_too(self._database, self._lease, repository, repository_id, standing, [found.point.id])
        return repository.standing()


def _name(point: Point) -> PointName:
    return PointName(point.tenant, point.vm_id, point.id)


def _seen(repository: OpenRepository, point: Point) -> _Seen | None:
    """None: no manifest lies in the bucket any more."""
    name = (point.tenant, point.vm_id, point.id)
    manifest = _described(repository, manifest_name(*name))
    if manifest is None:
        return None
    return manifest, _described(repository, tombstone_name(*name)), _described(repository, refmap_name(*name))


def _described(repository: OpenRepository, name: str) -> ObjectInfo | None:
    try:
        return repository.store.head(name)
    except ObjectMissing:
        return None


def _committed(repository: OpenRepository, point: Point, standing: Standing) -> _Found | None:
    """None: the bucket holds no manifest of these very bytes, it cannot be read, or its tombstone says that it needs nothing."""
    try:
        manifest = read_bounded(repository.store, manifest_name(point.tenant, point.vm_id, point.id), MANIFEST_BYTES)
        if blake3(manifest).digest() != point.manifest_hash:
            return None
        if repository.burial(_name(point), standing) is not None:
            return None
        return _Found(point, repository.read_refmap(point.tenant, point.vm_id, point.id).slots())
    except ObjectMissing:
        return None
    except (IntegrityError, WrongKey, RefmapInvalid, FormatUnsupported) as error:
        _log.error("point.not_taken_back", point_id=point.id, vm_id=point.vm_id, error=str(error))
        return None


def _taken(database: Store, lease: LeaderLease, clock: Clock, found: _Found) -> bool:
    leader, now_us = lease.current, clock.now_us()

    def closure(transaction: Transaction) -> int | None:
        transaction.leadership.order_publication(leader, found.point.repository_id)
        stored = transaction.points.point(found.point.id)
        if stored is None or stored.state is not PointState.FAILED:
            return None
        lost = packs_that_lost(found.slots, transaction.packs.packs(stored.repository_id, list(found.slots)))
        if not lost:
            transaction.points.take_back(stored.id, now_us)
            _succeed(transaction, stored, now_us)
        return lost

    lost = database.write_now(closure)
    if lost:
        _log.error("point.not_taken_back", point_id=found.point.id, vm_id=found.point.vm_id, packs_that_lost_slots=lost)
    elif lost == 0:
        _log.warning("point.taken_back", point_id=found.point.id, vm_id=found.point.vm_id)
    return lost == 0


def _succeed(transaction: Transaction, point: Point, now_us: int) -> None:
    """The run and its last attempt: it did what it was asked to, whatever was decided before."""
    run, attempt = transaction.runs.run(point.id), transaction.runs.attempt(point.attempt_id)
    if run is not None:
        done = replace(
            run,
            state=RunState.SUCCEEDED_WITH_WARNINGS,
            warnings=(*point.warnings, WARNING),
            failure=None,
            ended_us=now_us,
        )
        transaction.runs.save_run(run, done)
    if attempt is not None:
        ended = replace(attempt, state=AttemptState.SUCCEEDED, failure=None, ended_us=now_us)
        transaction.runs.save_attempt(attempt, ended)
