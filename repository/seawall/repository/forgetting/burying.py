"""The steps by which a committed point leaves the bucket (repository/DESIGN.md, "Forgetting"). Called by the controller, in this order.

1. `bury`: the tombstone. 2. the caller looks who leads (`leaders.py`). 3. `remove_point`: `m/`, then `r/`. Every step may be
repeated by anybody; a crash between two of them leaves a point that is forgotten and roots that hold until all steps are done.
"""

from seawall.repository.errors import IntegrityError, ObjectExists, RepositoryError
from seawall.repository.forgetting.tombstones import buries
from seawall.repository.format.layout import (
    PointName,
    manifest_name,
    refmap_name,
    tombstone_name,
)
from seawall.repository.repository import OpenRepository
from seawall.repository.store.port import Store


class TombstonePlaceTaken(RepositoryError):
    """Something that buries nothing stands where the point's tombstone belongs. Nothing was overwritten, nothing was deleted."""


def bury(repository: OpenRepository, point: PointName, tombstone: bytes) -> None:
    """PUT the tombstone. One that stands there already counts if it buries this very `m/` object, whoever decided it. One that is void, as
    a replaced leader's that came late, makes place: only a valid one of this point is ever written over it.

    Raises TombstonePlaceTaken, ValueError (the given tombstone is not of this point), StoreUnavailable and what else the store raises.
    """
    manifest_hash = _manifest_hash(repository, point, tombstone)
    name = tombstone_name(point.tenant, point.vm_id, point.point_id)
    try:
        repository.store.put(name, tombstone)
    except ObjectExists as error:
        found = repository.tombstone(point)
        if found is None or found.manifest_hash != manifest_hash:
            raise TombstonePlaceTaken(
                f"{name} holds something that Seawall did not write; the point stays as it is until that object is gone"
            ) from error
        if repository.burial(point, repository.standing()) is None:
            repository.store.put(name, tombstone, create_only=False)


def remove_point(store: Store, point: PointName) -> None:
    """Delete `m/`, then `r/`: who has its manifest has its refmap. Only behind a tombstone and a look at the epochs."""
    remove_manifest(store, point)
    remove_refmap(store, point)


def remove_manifest(store: Store, point: PointName) -> None:
    store.delete(manifest_name(point.tenant, point.vm_id, point.point_id))


def remove_refmap(store: Store, point: PointName) -> None:
    store.delete(refmap_name(point.tenant, point.vm_id, point.point_id))


def _manifest_hash(repository: OpenRepository, point: PointName, tombstone: bytes) -> bytes:
    try:
        burial = repository.open_tombstone(tombstone)
    except IntegrityError as error:
        raise ValueError(str(error)) from error
    if not buries(burial, point):
        raise ValueError(f"a tombstone of point {burial.point_id} for point {point.point_id}")
    return burial.manifest_hash
