"""One committed point, opened for checking: its objects, each read once, and its pages. Rescue opens points in words of its own."""

from functools import cached_property

from seawall.repository.format.layout import PointName
from seawall.repository.format.refmap import Refmap
from seawall.repository.format.root_object import Statement
from seawall.repository.reading.point import PointReader
from seawall.repository.reading.store_packs import StorePackReader
from seawall.repository.repository import OpenRepository


class PointObjects:
    """Manifest and refmap, read when somebody first asks, and kept for those who ask after him: neither ever changes. What cannot be read
    is asked for again.
    """

    def __init__(self, repository: OpenRepository, name: PointName) -> None:
        self._repository = repository
        self.name = name

    @cached_property
    def manifest(self) -> tuple[Statement, bytes]:
        """(statement, root object), proven. Raises what `read_manifest` raises."""
        return self._repository.read_manifest(self.name.tenant, self.name.vm_id, self.name.point_id)

    @cached_property
    def refmap(self) -> Refmap:
        """Proven by the manifest. Raises what `read_refmap` raises."""
        return self._repository.refmap_of(self.manifest[0])


def opened_point(repository: OpenRepository, name: PointName) -> PointReader:
    """Its signature and root proven. Raises what `read_manifest` and `open_root` raise; KeyError: the keys of its epoch are missing."""
    _, root_object = repository.read_manifest(name.tenant, name.vm_id, name.point_id)
    root = repository.open_root(root_object)
    k_dedup = repository.k_dedup(root.tenant, root.key_epoch)
    return PointReader(root, root.lineage_id, k_dedup, StorePackReader(repository.store, root.tenant))
