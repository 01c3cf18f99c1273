"""Short words for tests that write and restore points over a DirectCoordinator."""

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from uuid import UUID

from seawall.repository.crypto.sealing import public_key_of
from seawall.repository.disks import DiskSource
from seawall.repository.format.manifest import Child, DiskManifest
from seawall.repository.format.refmap import Refmap, decode_refmap
from seawall.repository.format.root_object import open_root, unseal_data_key
from seawall.repository.reading.point import PointReader
from seawall.repository.reading.restore import restore_disk
from seawall.repository.writing.counters import DiskCounters
from seawall.repository.writing.facts import DiskToWrite, PointFacts, WriteSettings, WrittenPoint
from seawall.repository.writing.point import PointWriter
from support.direct_coordinator import DirectCoordinator
from support.memory_disks import MemorySink

SECRET_KEY = bytes(range(32))
SETTINGS = WriteSettings(
    lineage_id=b"lineage-of-tests",
    tenant="default",
    key_epoch=1,
    k_dedup=b"d" * 32,
    cut_key=b"c" * 32,
    repository_public_key=public_key_of(SECRET_KEY),
    chunk_nominal_bytes=64 * 1024,
    compression_level=1,
    pack_target_bytes=1 << 20,
)
SMALL = replace(SETTINGS, chunk_nominal_bytes=8 * 1024)


def facts(number: int) -> PointFacts:
    return PointFacts(
        vm_id=str(UUID(int=1)),
        vm_name="guest",
        point_id=str(UUID(int=number)),
        instant_us=number,
        guest_frozen=False,
        checkpoint=None,
    )


def disk(source: DiskSource, how: str, name: str = "vda") -> DiskToWrite:
    return DiskToWrite(name, "qcow2", f"/images/{name}.qcow2", 512, how, "", source)


def write_point(
    coordinator: DirectCoordinator,
    disks: Sequence[DiskToWrite],
    *,
    number: int = 1,
    settings: WriteSettings = SETTINGS,
    parent: PointReader | None = None,
    bad: Collection[tuple[bytes, int]] = (),
    members: Mapping[str, bytes] | None = None,
    stop: Callable[[], None] = lambda: None,
    counters: DiskCounters | None = None,
) -> WrittenPoint:
    with PointWriter(settings, coordinator, parent=parent, bad=bad, stop=stop) as writer:
        for one in disks:
            writer.write_disk(one, counters)
        for name, body in (members or {}).items():
            writer.add_member(name, body)
        return writer.finish(facts(number))


def read_point(point: WrittenPoint, coordinator: DirectCoordinator, settings: WriteSettings = SETTINGS) -> PointReader:
    """Through the sealed object, as every reader comes to it."""
    root = open_root(point.root_object, unseal_data_key(point.root_object, SECRET_KEY))
    assert root == point.root
    return PointReader(root, settings.lineage_id, settings.k_dedup, coordinator)


def restored(reader: PointReader, name: str = "vda") -> dict[int, bytes]:
    manifest = manifest_of(reader, name)
    sink = MemorySink(manifest.size_bytes)
    restore_disk(reader, manifest, sink)
    assert sink.flushed
    return sink.content()


def manifest_of(reader: PointReader, name: str = "vda") -> DiskManifest:
    found = reader.disk(name)
    assert found is not None
    return found


def chunk_list(reader: PointReader, name: str = "vda") -> list[tuple[int, bytes]]:
    """(length, h) of every entry of the disk, b"" for zeroes: the same for equal content, however it was written."""
    manifest = manifest_of(reader, name)
    found: list[tuple[int, bytes]] = []
    for index, child in reader.pages(manifest):
        if child.chunk is None:
            found.append((0, b""))
            continue
        for entry in reader.leaf(child, manifest, index).entries:
            found.append((int(entry["length"]), b"" if entry["zero"] else entry["h"].tobytes()))
    return found


def refmap_by_decoding(reader: PointReader) -> Refmap:
    """What the refmap must say, found the slow way: from every leaf."""
    refmap = Refmap()

    def add(child: Child) -> None:
        if child.chunk is not None:
            refmap.add(child.chunk.pack_id, [child.chunk.slot])

    for manifest in reader.root.disks:
        for node in manifest.nodes:
            add(node)
        for index, child in reader.pages(manifest):
            add(child)
            if child.chunk is None:
                continue
            leaf = reader.leaf(child, manifest, index)
            for entry in leaf.entries[leaf.entries["zero"] == 0]:
                refmap.add(leaf.packs[int(entry["pack"])][0], [int(entry["slot"])])
    for member in reader.root.members:
        refmap.add(member.chunk.pack_id, [member.chunk.slot])
    return refmap


def slots_of(refmap: Refmap) -> dict[bytes, list[int]]:
    return {pack_id: slots.tolist() for pack_id, slots in refmap.slots().items()}


def check_refmap(point: WrittenPoint, reader: PointReader) -> None:
    tenant, refmap = decode_refmap(point.refmap)
    assert tenant == reader.root.tenant
    assert slots_of(refmap) == slots_of(refmap_by_decoding(reader))


def pipeline_threads() -> list[str]:
    return [one.name for one in threading.enumerate() if one.name.startswith(("writer-", "restore-"))]
