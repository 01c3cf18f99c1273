"""Which points lie in a bucket, and which of them are forgotten or void. Called by the catalogue of rescue."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from seawall.repository.forgetting.tombstones import lying_tombstones
from seawall.repository.format.layout import MANIFESTS_PREFIX, TOMBSTONES_PREFIX, PointName, parse_point_name
from seawall.repository.rescue.opening import RescueRepository

_READS_IN_FLIGHT = 8


@dataclass(frozen=True, slots=True)
class PointNames:
    """Of all tenants, sorted. `lying`: those that no tombstone forgot, void ones too; `strange`: names that are no point's.

    `disregarded`: points with a tombstone that does not count.
    """

    lying: tuple[PointName, ...]
    forgotten: tuple[PointName, ...]
    disregarded: tuple[PointName, ...]
    strange: tuple[str, ...]


def point_names(rescue: RescueRepository) -> PointNames:
    """What lies below m/, and which of it a tombstone of this repository forgot."""
    found: list[PointName] = []
    strange: list[str] = []
    repository, standing = rescue.repository, rescue.standing
    for info in repository.store.list(MANIFESTS_PREFIX):
        point = parse_point_name(info.name)
        if point is None:
            strange.append(info.name)
        else:
            found.append(point)
    named = lying_tombstones(repository.store, found, TOMBSTONES_PREFIX)
    gone = {point for point in named if repository.burial(point, standing) is not None}
    disregarded = sorted(
        point for point in named - gone if repository.tombstone(point) is not None and standing.last is not None
    )
    lying = found if rescue.ignore_tombstones else [point for point in found if point not in gone]
    return PointNames(tuple(sorted(lying)), tuple(sorted(gone)), tuple(disregarded), tuple(sorted(strange)))


def void_points(rescue: RescueRepository, points: Iterable[PointName]) -> frozenset[PointName]:
    """Those of the points that a replaced controller wrote in vain. Reads the manifests of such as came since the last opening.

    Raises StoreUnavailable, BucketMissing.
    """
    unsure = [point for point in points if not rescue.standing.names(point.point_id)]
    with ThreadPoolExecutor(_READS_IN_FLIGHT, thread_name_prefix="rescue-void") as pool:
        counts = pool.map(lambda point: rescue.repository.counts(point, rescue.standing), unsure)
        return frozenset(point for point, does in zip(unsure, counts, strict=True) if not does)
