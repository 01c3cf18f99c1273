"""The refmap of a root: r/ of a committed point, proven by its manifest or made anew from it; or what its attempt handed in."""

from seawall.repository.collecting.errors import CollectionStopped, PointBeingDeleted
from seawall.repository.collecting.port import Ledger, PointRoot, RootState
from seawall.repository.collecting.rebuilding import rebuilt_refmap
from seawall.repository.errors import FormatUnsupported, IntegrityError, ObjectMissing, RefmapInvalid
from seawall.repository.format.layout import hand_in_name, manifest_name
from seawall.repository.format.refmap import Refmap, decode_refmap
from seawall.repository.format.root_object import object_hash
from seawall.repository.naming import naming
from seawall.repository.repository import OpenRepository

_UNREADABLE = (ObjectMissing, IntegrityError, RefmapInvalid, FormatUnsupported)
_LOOKS = 3
"""A point changes its state at most twice while we look."""


def refmap_of(repository: OpenRepository, ledger: Ledger, root: PointRoot) -> Refmap | None:
    """None: it is no root any more. Raises CollectionStopped/REFMAP_UNREADABLE, PointBeingDeleted, StoreUnavailable."""
    for _ in range(_LOOKS):
        try:
            return _read(repository, root)
        except _UNREADABLE as error:
            cause = error
        rebuilt = _rebuilt(repository, root)
        if rebuilt is not None:
            return rebuilt
        again = ledger.roots_named([root.point_id]).get(root.point_id)
        if again is None:
            return None
        if again.state is root.state:
            break
        root = again
    if root.state is RootState.DELETING:
        raise PointBeingDeleted(
            f"Point {root.point_id} is being deleted, and its objects are half gone: {cause}"
        ) from cause
    raise CollectionStopped("REFMAP_UNREADABLE", _sentence(root, cause)) from cause


def _read(repository: OpenRepository, root: PointRoot) -> Refmap:
    if root.state is not RootState.PUBLISHING:
        return repository.read_refmap(root.tenant, root.vm_id, root.point_id)
    name = hand_in_name(root.attempt_id, "refmap", root.refmap_hash)
    with naming(name):
        body = repository.store.get(name)
        if object_hash(body) != root.refmap_hash:
            raise IntegrityError("not the refmap that was validated")
        tenant, refmap = decode_refmap(body)
        if tenant != root.tenant:
            raise IntegrityError(f"a refmap of tenant {tenant}")
    return refmap


def _rebuilt(repository: OpenRepository, root: PointRoot) -> Refmap | None:
    """None: there is no committed manifest, or it cannot be read either."""
    if root.state is RootState.PUBLISHING:
        return None
    try:
        return rebuilt_refmap(repository, root)
    except _UNREADABLE:
        return None


def _sentence(root: PointRoot, cause: Exception) -> str:
    name = manifest_name(root.tenant, root.vm_id, root.point_id)
    return (
        f"What restore point {root.point_id} needs cannot be told: {cause}. Nothing was collected. "
        f"Bring the object back (its manifest is {name}), or delete the point: seawall point delete {root.point_id}"
    )
