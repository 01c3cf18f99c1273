"""Before the mark: the bucket holds no point that the ledger does not know. Else the mark would not see what that point needs.

Two kinds need nothing. A forgotten point may show once more: a PUT of its manifest that was under way for long arrives when all is over,
or a copy brings it back; its tombstone says so. And what a replaced leader still had under way is void once another one has opened the
repository (`forgetting/standing.py`): it is named in the report until somebody took it away.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from seawall.repository.batches import in_batches
from seawall.repository.collecting.announce import require_newest
from seawall.repository.collecting.errors import CollectionStopped
from seawall.repository.collecting.plan import Report
from seawall.repository.collecting.port import Ledger
from seawall.repository.collecting.removing import remove
from seawall.repository.errors import ObjectMissing
from seawall.repository.forgetting.leaders import LeaderMark
from seawall.repository.format.layout import (
    MANIFESTS_PREFIX,
    PointName,
    manifest_name,
    parse_point_name,
    tombstone_name,
)
from seawall.repository.repository import OpenRepository
from seawall.repository.store.port import Store

VOID = (
    "void: a controller that had been replaced wrote this restore point, and nobody was told that it exists. Nothing is kept for it, "
    "and no list shows it. Move it away; what of it can still be read, `seawall rescue --include-void` restores"
)


@dataclass(frozen=True, slots=True)
class Unknown:
    """Manifests that the ledger is done with, or never heard of, and that stop nothing."""

    forgotten: list[PointName] = field(default_factory=list)
    void: list[PointName] = field(default_factory=list)

    def tell(self, report: Report) -> None:
        for point in self.void:
            report.keep_back(manifest_name(point.tenant, point.vm_id, point.point_id), VOID)


def check_manifests(repository: OpenRepository, ledger: Ledger) -> Unknown:
    """Raises CollectionStopped/MANIFEST_UNKNOWN, OPEN_MARK_DAMAGED."""
    found, standing = Unknown(), repository.standing()
    for names in in_batches(info.name for info in repository.store.list(MANIFESTS_PREFIX)):
        points = {name: parse_point_name(name) for name in names}
        known = ledger.roots_named([point.point_id for point in points.values() if point is not None])
        for name, point in points.items():
            if point is not None and point.point_id in known:
                continue
            if point is not None and (burial := repository.burial(point, standing)) is not None:
                tombstone = tombstone_name(point.tenant, point.vm_id, point.point_id)
                if doubt := standing.doubt(tombstone, burial.epoch):
                    raise CollectionStopped("OPEN_MARK_DAMAGED", f"{doubt}.")
                found.forgotten.append(point)
            elif point is not None and not repository.counts(point, standing):
                found.void.append(point)
            elif _is_there(repository.store, name):
                raise CollectionStopped(
                    "MANIFEST_UNKNOWN",
                    f"{name} is in the bucket, and the controller knows no such restore point: its database may be older than the bucket. "
                    "Nothing was collected. Restore the controller's newest database; or find out who wrote the object, and move it away.",
                )
    return found


def remove_manifests(
    repository: OpenRepository, points: Iterable[PointName], leader: LeaderMark, report: Report
) -> None:
    """Of forgotten points; their refmaps belong to nothing then, and are swept. Raises LedgerRefused, StoreUnavailable."""
    for batch in in_batches(points):
        require_newest(repository.store, leader)
        for point in batch:
            remove(repository.store, manifest_name(point.tenant, point.vm_id, point.point_id), report)


def _is_there(store: Store, name: str) -> bool:
    """Still: its point may have been deleted since it was listed."""
    try:
        store.head(name)
    except ObjectMissing:
        return False
    return True
