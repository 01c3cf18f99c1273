"""What an attempt is given when it is accepted. Secrets are read from the repository's keys at that moment and stored nowhere."""

from collections.abc import Mapping
from dataclasses import dataclass

import structlog

from seawall.controller.errors import ControllerError, DataLoss, FailedPrecondition, NotFound, Unavailable
from seawall.controller.moving.belief import Belief
from seawall.controller.publishing.unusable import MOST_BYTES, doubtful_packs, unusable_slots, wire_bytes
from seawall.controller.records.catalogue import Point
from seawall.controller.records.maintenance import Pin, PinKind
from seawall.controller.records.runs import BackupSpec, RestoreSpec, Run
from seawall.controller.records.uuid7 import uuid7
from seawall.controller.repositories.catalogue import RepositoryCatalogue
from seawall.controller.repositories.opened import OpenedRepository
from seawall.controller.repositories.outside import told
from seawall.controller.services.moved import Moved, terms_of
from seawall.controller.store.transaction import Store, Transaction
from seawall.controller.timings import Timings
from seawall.repository.clock import Clock
from seawall.repository.errors import FormatUnsupported, IntegrityError, ObjectMissing, RefmapInvalid, WrongKey
from seawall.repository.format.layout import manifest_name
from seawall.repository.format.slot_set import SlotSet

_log = structlog.get_logger()

SCRATCH_FULL = "SCRATCH_FULL"
"""An agent's reason: the backup was ended before the guest's own writes could fail."""

_UNREADABLE = (ObjectMissing, IntegrityError, WrongKey, RefmapInvalid, FormatUnsupported)
"""What says that a point's objects are lost or damaged, not that the store is silent."""


@dataclass(frozen=True, slots=True, repr=False)
class PointAccess:
    """Permission to read one committed point."""

    point_id: str
    url: str
    data_key: bytes
    manifest_hash: bytes
    key_epoch: int


@dataclass(frozen=True, slots=True, repr=False)
class BackupAccess:
    run: Run
    spec: BackupSpec
    repository: OpenedRepository
    key_epoch: int
    k_dedup: bytes
    parent: PointAccess | None
    no_parent_reason: str
    bad_slots: Mapping[bytes, SlotSet]
    """Of the parent: they must not be named again (rule 7)."""
    scratch_ends: int = 0
    """Attempts of this run that ended because scratch was full."""


@dataclass(frozen=True, slots=True, repr=False)
class RestoreAccess:
    spec: RestoreSpec
    point: Point
    repository: OpenedRepository
    k_dedup: bytes
    access: PointAccess


class Grants:
    """Blocking, thread-safe."""

    def __init__(self, store: Store, repositories: RepositoryCatalogue, clock: Clock, timings: Timings) -> None:
        self._store = store
        self._repositories = repositories
        self._clock = clock
        self._timings = timings
        self._moved = Moved(clock, terms_of(timings))

    def backup(self, run: Run, host_id: str) -> BackupAccess:
        repository = self._repositories.open(run.repository_id)
        epoch = self._key_epoch(repository, run.tenant)
        parent, no_parent_reason = self._parent(repository, run, host_id)
        spec = run.backup
        if spec is None:
            raise NotFound("RUN_UNKNOWN", f"Run {run.id} is no backup.")
        k_dedup = repository.k_dedup(run.tenant, epoch)
        bad = self._bad_slots(repository, run, parent.point_id, host_id) if parent else {}
        if wire_bytes(bad) > MOST_BYTES:
            parent, no_parent_reason, bad = None, "Too much of its newest point is damaged.", {}
        ends = self._store.read_now(lambda transaction: _scratch_ends(transaction, run.id))
        return BackupAccess(run, spec, repository, epoch, k_dedup, parent, no_parent_reason, bad, ends)

    def _key_epoch(self, repository: OpenedRepository, tenant: str) -> int:
        """A tenant's first backup makes its keys here, before its host is given anything."""
        try:
            with told():
                return repository.key_epoch(tenant)
        except ControllerError as error:
            message = f"The keys of tenant {tenant} in repository {repository.record.name}: {error}"
            raise type(error)(error.reason, message, error.metadata) from error

    def restore(self, run: Run) -> RestoreAccess:
        repository = self._repositories.open(run.repository_id)
        spec, point = run.restore, self._point(run.point_id)
        if spec is None:
            raise NotFound("RUN_UNKNOWN", f"Run {run.id} is no restore.")
        self._pin(run, point, PinKind.RESTORE)
        try:
            access = self._access(repository, point)
        except _UNREADABLE as error:
            _log.error("point.unreadable", point_id=point.id, error=str(error))
            raise DataLoss("POINT_DAMAGED", f"Point {point.id} cannot be read: {error}") from error
        return RestoreAccess(spec, point, repository, repository.k_dedup(point.tenant, access.key_epoch), access)

    def _parent(self, repository: OpenedRepository, run: Run, host_id: str) -> tuple[PointAccess | None, str]:
        """The newest point, or none and why. Without one the backup reads everything, and Lookup spares the upload."""
        found = self._store.read_now(lambda transaction: self._newest(transaction, run, host_id))
        if isinstance(found, str):
            return None, found
        newest, host_name, standing = found
        if standing.doubt:
            return None, (
                f"Its newest point was taken on host {host_name}, and {standing.doubt}. If it did move, `seawall vm moved {run.vm_name}` "
                f"lets its backups go on from there."
            )
        if standing.settles_us:
            raise Unavailable(
                "MOVE_SETTLING",
                f"VM {run.vm_name} has just moved from host {host_name}; its backup begins once no other host says that it runs it.",
            )
        try:
            self._pin(run, newest, PinKind.PARENT)
            return self._access(repository, newest), ""
        except FailedPrecondition as error:
            return None, f"Its newest point cannot be used: {error}"
        except _UNREADABLE as error:
            _log.error("point.unreadable", point_id=newest.id, error=str(error))
            return None, f"Its newest point cannot be read: {error}"

    def _newest(self, transaction: Transaction, run: Run, host_id: str) -> tuple[Point, str, Belief] | str:
        """The newest point of the run's VM and tenant, the name of the host that took it, and whether this one may go on from it.

        Or why there is none.
        """
        newest = transaction.points.newest(run.vm_id, run.repository_id, run.tenant)
        if newest is None:
            return _no_point(run, transaction.points.newest(run.vm_id, run.repository_id))
        host = transaction.fleet.host(newest.host_id)
        return newest, host.name if host else "", self._moved.standing(transaction, newest, host_id)

    def _bad_slots(
        self, repository: OpenedRepository, run: Run, point_id: str, host_id: str
    ) -> Mapping[bytes, SlotSet]:
        names = (run.tenant, run.vm_id, point_id)
        packs = repository.packs_of_point(*names)
        known = self._store.read_now(lambda transaction: transaction.packs.packs(repository.record.id, sorted(packs)))
        doubtful = doubtful_packs(packs, known, host_id)
        if not doubtful:
            return {}
        slots = repository.repository.read_refmap(*names).slots()
        return unusable_slots({pack_id: slots[pack_id] for pack_id in doubtful}, known, host_id)

    def _pin(self, run: Run, point: Point, kind: PinKind) -> None:
        """From now on, until the run is over, nobody deletes the point. Raises FailedPrecondition/POINT_NOT_AVAILABLE."""
        pin = Pin(uuid7(self._clock), point.repository_id, point.id, run.id, kind, self._clock.now_us())
        self._store.write_now(lambda transaction: transaction.pins.pin(pin))

    def _access(self, repository: OpenedRepository, point: Point) -> PointAccess:
        """The manifest, and the refmap that every read will be measured by, are proven now: later nobody could choose another way."""
        names = (point.tenant, point.vm_id, point.id)
        repository.packs_of_point(*names)
        epoch, data_key = repository.point_key(*names)
        url = repository.store.sign_get(manifest_name(*names), expires_seconds=self._timings.url_seconds)
        return PointAccess(point.id, url, data_key, point.manifest_hash, epoch)

    def _point(self, point_id: str) -> Point:
        point = self._store.read_now(lambda transaction: transaction.points.point(point_id))
        if point is None:
            raise NotFound("POINT_UNKNOWN", f"There is no point {point_id}.")
        return point


def _no_point(run: Run, of_others: Point | None) -> str:
    if of_others is None:
        return "This VM has no earlier point in this repository."
    return (
        f"This VM's earlier points in this repository are of tenant {of_others.tenant}, this backup is of tenant {run.tenant}: each tenant "
        "has keys of its own, and takes nothing over from another."
    )


def _scratch_ends(transaction: Transaction, run_id: str) -> int:
    """What the next attempt makes its plan from."""
    failures = (attempt.failure for attempt in transaction.runs.attempts_of([run_id]))
    return sum(failure is not None and failure.reason == SCRATCH_FULL for failure in failures)
