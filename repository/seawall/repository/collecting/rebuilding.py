"""A lost or damaged refmap made anew from its point's manifest: nodes keep each page's slots, so no leaf is read."""

from collections.abc import Iterator

from seawall.repository.collecting.port import PointRoot
from seawall.repository.errors import IntegrityError
from seawall.repository.format.manifest import Child
from seawall.repository.format.refmap import Refmap
from seawall.repository.format.root_object import object_hash
from seawall.repository.reading.point import PointReader
from seawall.repository.reading.store_packs import StorePackReader
from seawall.repository.repository import OpenRepository


def rebuilt_refmap(repository: OpenRepository, point: PointRoot) -> Refmap:
    """Proven: it has the hash that the signed manifest names, as equal refmaps are equal bytes.

    Raises IntegrityError, ObjectMissing, FormatUnsupported: a node cannot be read either; StoreUnavailable.
    """
    statement, root_object = repository.read_manifest(point.tenant, point.vm_id, point.point_id)
    root = repository.open_root(root_object)
    k_dedup = repository.k_dedup(point.tenant, statement.key_epoch)
    packs = StorePackReader(repository.store, point.tenant)
    reader = PointReader(root, repository.config.lineage_id, k_dedup, packs)
    refmap = Refmap()
    for member in root.members:
        refmap.add(member.chunk.pack_id, [member.chunk.slot])
    for child in _children(reader):
        if child.chunk is not None:
            refmap.add(child.chunk.pack_id, [child.chunk.slot])
        for pack_id, slots in child.slots.items():
            refmap.add(pack_id, slots)
    if object_hash(refmap.encode(point.tenant)) != statement.refmap_hash:
        raise IntegrityError(f"the manifest of point {point.point_id} does not lead to the refmap that it names")
    return refmap


def _children(reader: PointReader) -> Iterator[Child]:
    """Nodes and pages."""
    for disk in reader.root.disks:
        yield from disk.nodes
        for _, page in reader.pages(disk):
            yield page
