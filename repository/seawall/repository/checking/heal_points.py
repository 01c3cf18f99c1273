"""Manifests and refmaps of points that are lost or altered, brought back from a copy; a refmap also from the point's own nodes.

Called by `heal`. What is written is proven first: a manifest by the repository's signature and the point that it names, a refmap by the
hash that the manifest names.
"""

from dataclasses import dataclass, replace

from seawall.repository.bounded import REFMAP_BYTES, read_bounded
from seawall.repository.checking.finding import Findings, Reason, newer
from seawall.repository.checking.port import Ledger
from seawall.repository.collecting.announce import require_newest
from seawall.repository.collecting.port import PointRoot, RootState
from seawall.repository.collecting.rebuilding import rebuilt_refmap
from seawall.repository.errors import (
    FormatUnsupported,
    IntegrityError,
    ObjectMissing,
    RefmapInvalid,
    StoreRefused,
    WrongKey,
)
from seawall.repository.format.layout import PointName, manifest_name, refmap_name
from seawall.repository.format.root_object import object_hash
from seawall.repository.repository import OpenRepository
from seawall.repository.store.port import Store

_LOST = (ObjectMissing, IntegrityError, RefmapInvalid, WrongKey, StoreRefused)


@dataclass(frozen=True, slots=True)
class HealedPoints:
    manifests: int
    refmaps: int


def heal_points(repository: OpenRepository, ledger: Ledger, copy: Store, findings: Findings) -> HealedPoints:
    """A point that a newer Seawall wrote is reported and left as it is. Raises StoreUnavailable, BucketMissing, what the ledger raises."""
    good = replace(repository, store=copy)
    manifests = refmaps = 0
    for point in ledger.points():
        ledger.may_continue()
        try:
            manifests += _heal_manifest(repository, ledger, good, point.name, findings)
            refmaps += _heal_refmap(repository, ledger, good, point.name, findings)
        except FormatUnsupported as error:
            newer(findings, point.name, error)
    return HealedPoints(manifests, refmaps)


def _heal_manifest(
    repository: OpenRepository, ledger: Ledger, good: OpenRepository, point: PointName, findings: Findings
) -> bool:
    parts, name = _parts(point), manifest_name(*_parts(point))
    try:
        repository.read_manifest(*parts)
    except _LOST:
        try:
            body, _, _ = good.read_manifest_object(*parts)
        except _LOST as error:
            _not_there(findings, name, point, error)
            return False
        return _written(repository.store, ledger, point, name, body, findings)
    return False


def _heal_refmap(
    repository: OpenRepository, ledger: Ledger, good: OpenRepository, point: PointName, findings: Findings
) -> bool:
    parts, name = _parts(point), refmap_name(*_parts(point))
    try:
        statement, _ = repository.read_manifest(*parts)
    except _LOST:
        return False  # without its manifest nothing proves it; why that is so was said
    try:
        repository.refmap_of(statement)
    except _LOST:
        body = _refmap_of_copy(good, point) or _refmap_of_nodes(repository, point)
        if body is None or object_hash(body) != statement.refmap_hash:
            _not_there(findings, name, point, "neither the copy nor the point's own nodes have it whole")
            return False
        return _written(repository.store, ledger, point, name, body, findings)
    return False


def _refmap_of_copy(good: OpenRepository, point: PointName) -> bytes | None:
    try:
        good.read_refmap(*_parts(point))
    except _LOST:
        return None
    return read_bounded(good.store, refmap_name(*_parts(point)), REFMAP_BYTES)


def _refmap_of_nodes(repository: OpenRepository, point: PointName) -> bytes | None:
    try:
        root = PointRoot(point.tenant, point.vm_id, point.point_id, RootState.AVAILABLE, 0, "", b"")
        return rebuilt_refmap(repository, root).encode(point.tenant)
    except (*_LOST, KeyError):  # KeyError: the key object of its epoch is missing
        return None


def _written(store: Store, ledger: Ledger, point: PointName, name: str, body: bytes, findings: Findings) -> bool:
    """Over what is altered. A point that was deleted meanwhile is taken away again: its tombstone stands."""
    if not ledger.is_available(point):
        return False
    require_newest(store, ledger.leader())
    try:
        store.put(name, body, create_only=False)
    except StoreRefused as error:
        findings.add(Reason.OBJECT_UNREADABLE, name, f"cannot be written: {error}", (point.point_id,))
        return False
    if store.get(name) != body:
        raise IntegrityError(f"{name}: read back, it is not what was written a moment ago")
    if not ledger.is_available(point):
        store.delete(name)
        return False
    return True


def _not_there(findings: Findings, name: str, point: PointName, error: object) -> None:
    findings.add(Reason.NOT_IN_COPY, name, f"the copy does not bring it back: {error}", (point.point_id,))


def _parts(point: PointName) -> tuple[str, str, str]:
    return point.tenant, point.vm_id, point.point_id
