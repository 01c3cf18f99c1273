"""Before the mark: the bucket holds no point that the ledger does not know. Else the mark would not see what that point needs."""

from seawall.repository.collecting.batches import in_batches
from seawall.repository.collecting.errors import CollectionStopped
from seawall.repository.collecting.port import Ledger
from seawall.repository.errors import ObjectMissing
from seawall.repository.format.layout import MANIFESTS_PREFIX, parse_point_name
from seawall.repository.store.port import Store


def check_manifests(store: Store, ledger: Ledger) -> int:
    """Manifests in the bucket. Raises CollectionStopped/MANIFEST_UNKNOWN."""
    count = 0
    for names in in_batches(info.name for info in store.list(MANIFESTS_PREFIX)):
        points = {name: parse_point_name(name) for name in names}
        known = ledger.roots_named([point.point_id for point in points.values() if point is not None])
        for name, point in points.items():
            if (point is None or point.point_id not in known) and _is_there(store, name):
                raise CollectionStopped(
                    "MANIFEST_UNKNOWN",
                    f"{name} is in the bucket, and the controller knows no such restore point: its database may be older than the bucket. "
                    "Nothing was collected. Restore the controller's newest database; or find out who wrote the object, and move it away.",
                )
        count += len(names)
    return count


def _is_there(store: Store, name: str) -> bool:
    """Still: its point may have been deleted since it was listed."""
    try:
        store.head(name)
    except ObjectMissing:
        return False
    return True
