"""Which points lie in a bucket, and which of them are forgotten. Called by the catalogue of rescue."""

from dataclasses import dataclass

from seawall.repository.forgetting.tombstones import forgotten
from seawall.repository.format.layout import MANIFESTS_PREFIX, TOMBSTONES_PREFIX, PointName, parse_point_name
from seawall.repository.rescue.opening import RescueRepository


@dataclass(frozen=True, slots=True)
class PointNames:
    """Of all tenants, sorted. `committed`: those that count; `strange`: names that are no point's."""

    committed: tuple[PointName, ...]
    forgotten: tuple[PointName, ...]
    strange: tuple[str, ...]


def point_names(rescue: RescueRepository) -> PointNames:
    """What lies below m/, and which of it a tombstone of this repository forgot."""
    found: list[PointName] = []
    strange: list[str] = []
    for info in rescue.repository.store.list(MANIFESTS_PREFIX):
        point = parse_point_name(info.name)
        if point is None:
            strange.append(info.name)
        else:
            found.append(point)
    repository = rescue.repository
    gone = forgotten(repository.store, repository.open_tombstone, found, TOMBSTONES_PREFIX)
    committed = found if rescue.ignore_tombstones else [point for point in found if point not in gone]
    return PointNames(tuple(sorted(committed)), tuple(sorted(gone)), tuple(sorted(strange)))
