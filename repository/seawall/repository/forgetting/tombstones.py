"""Which points have a tombstone that this repository signed; whether it counts, `standing.py` says. Called by who opens a repository."""

from collections.abc import Callable, Iterable

from seawall.repository.bounded import SMALL_OBJECT_BYTES, read_bounded
from seawall.repository.errors import FormatUnsupported, IntegrityError, ObjectMissing
from seawall.repository.format.layout import PointName, parse_point_name, tombstone_name
from seawall.repository.format.tombstone import Burial
from seawall.repository.store.port import Store

OpenTombstone = Callable[[bytes], Burial]
"""Proves signature and lineage. Raises IntegrityError, FormatUnsupported."""


def buries(burial: Burial, point: PointName) -> bool:
    """Whether the tombstone is this point's."""
    return (burial.tenant, burial.vm_id, burial.point_id) == (point.tenant, point.vm_id, point.point_id)


def read_tombstone(store: Store, open_tombstone: OpenTombstone, point: PointName) -> Burial | None:
    """The point's burial. None where no object lies, or one that buries nothing: only a signature that can be read forgets a point.

    Raises what the store raises.
    """
    try:
        body = read_bounded(store, tombstone_name(point.tenant, point.vm_id, point.point_id), SMALL_OBJECT_BYTES)
        burial = open_tombstone(body)
    except (ObjectMissing, IntegrityError, FormatUnsupported):
        return None
    return burial if buries(burial, point) else None


def lying_tombstones(store: Store, points: Iterable[PointName], prefix: str) -> frozenset[PointName]:
    """Those of the points in whose place below `prefix` something lies. List them before the tombstones, as this does: one is written
    before its manifest goes, so no forgotten point shows. Few are left to be read: those of points whose manifest still lies there.
    """
    present = set(points)
    return frozenset(point for info in store.list(prefix) if (point := parse_point_name(info.name)) in present)
