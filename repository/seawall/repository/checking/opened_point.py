"""One committed point, opened for checking: `mark_points` and `prove_points` read its pages. Rescue opens points in words of its own."""

from seawall.repository.format.layout import PointName
from seawall.repository.reading.point import PointReader
from seawall.repository.reading.store_packs import StorePackReader
from seawall.repository.repository import OpenRepository


def opened_point(repository: OpenRepository, name: PointName) -> PointReader:
    """Its signature and root proven. Raises what `read_manifest` and `open_root` raise; KeyError: the keys of its epoch are missing."""
    _, root_object = repository.read_manifest(name.tenant, name.vm_id, name.point_id)
    root = repository.open_root(root_object)
    k_dedup = repository.k_dedup(root.tenant, root.key_epoch)
    return PointReader(root, root.lineage_id, k_dedup, StorePackReader(repository.store, root.tenant))
