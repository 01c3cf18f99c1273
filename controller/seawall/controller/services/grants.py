"""What an attempt is given when it is accepted. Secrets are read from the repository's keys at that moment and stored nowhere."""

from dataclasses import dataclass

import structlog

from seawall.controller.errors import NotFound
from seawall.controller.records.catalogue import Point
from seawall.controller.records.runs import BackupSpec, RestoreSpec, Run
from seawall.controller.repositories.catalogue import RepositoryCatalogue
from seawall.controller.repositories.opened import OpenedRepository
from seawall.controller.runs.timing import Timing
from seawall.controller.store import Store
from seawall.repository.errors import IntegrityError, ObjectMissing, WrongKey
from seawall.repository.format.layout import manifest_name

_log = structlog.get_logger()


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


@dataclass(frozen=True, slots=True, repr=False)
class RestoreAccess:
    spec: RestoreSpec
    point: Point
    repository: OpenedRepository
    k_dedup: bytes
    access: PointAccess


class Grants:
    """Blocking, thread-safe."""

    def __init__(self, store: Store, repositories: RepositoryCatalogue, timing: Timing) -> None:
        self._store = store
        self._repositories = repositories
        self._timing = timing

    def parent_of(self, run: Run) -> str:
        """The point that a backup compares with: the newest AVAILABLE one of its VM in its repository, "" for none."""
        newest = self._store.read_now(lambda transaction: transaction.points.newest(run.vm_id, run.repository_id))
        return newest.id if newest else ""

    def backup(self, run: Run, parent_point_id: str) -> BackupAccess:
        repository = self._repositories.open(run.repository_id)
        epoch = repository.key_epoch(run.tenant)
        parent = self._parent(repository, parent_point_id) if parent_point_id else None
        spec = run.backup
        if spec is None:
            raise NotFound("RUN_UNKNOWN", f"Run {run.id} is no backup.")
        return BackupAccess(run, spec, repository, epoch, repository.k_dedup(run.tenant, epoch), parent)

    def restore(self, run: Run) -> RestoreAccess:
        repository = self._repositories.open(run.repository_id)
        spec, point = run.restore, self._point(run.point_id)
        if spec is None:
            raise NotFound("RUN_UNKNOWN", f"Run {run.id} is no restore.")
        access = self._access(repository, point)
        return RestoreAccess(spec, point, repository, repository.k_dedup(point.tenant, access.key_epoch), access)

    def _parent(self, repository: OpenedRepository, point_id: str) -> PointAccess | None:
        """A parent that cannot be read is none: the backup then reads everything, and Lookup spares the upload."""
        try:
            return self._access(repository, self._point(point_id))
        except (ObjectMissing, IntegrityError, WrongKey) as error:
            _log.error("point.unreadable", point_id=point_id, error=str(error))
            return None

    def _access(self, repository: OpenedRepository, point: Point) -> PointAccess:
        names = (point.tenant, point.vm_id, point.id)
        epoch, data_key = repository.point_key(*names)
        url = repository.store.sign_get(manifest_name(*names), expires_seconds=self._timing.url_seconds)
        return PointAccess(point.id, url, data_key, point.manifest_hash, epoch)

    def _point(self, point_id: str) -> Point:
        point = self._store.read_now(lambda transaction: transaction.points.point(point_id))
        if point is None:
            raise NotFound("POINT_UNKNOWN", f"There is no point {point_id}.")
        return point
