"""The point writer: several disks of one instant, and small members, become packs, a manifest root and a refmap.

Called by the backup worker with its capture's disks, one after the other. All work happens in a few threads of the writer's own; the
calling thread drives them. After `finish` every pack is stored; handing in root and refmap is the caller's.
"""

from collections.abc import Callable, Collection
from types import TracebackType
from typing import Self

from seawall.repository.chunking.grid import Grid
from seawall.repository.format.manifest import DiskManifest, Member, Root
from seawall.repository.format.pack import PackBuilder
from seawall.repository.format.refmap import Refmap
from seawall.repository.format.root_object import seal_root
from seawall.repository.reading.point import PointReader
from seawall.repository.writing.counters import DiskCounters
from seawall.repository.writing.crew import Crew, Lane
from seawall.repository.writing.disk import DRAFTS_BYTES, DiskWriter
from seawall.repository.writing.facts import DiskStats, DiskToWrite, PointFacts, WriteSettings, WrittenPoint
from seawall.repository.writing.flow import ChunkFlow
from seawall.repository.writing.packing import PackLine, Placement
from seawall.repository.writing.parent import BadSlots, Slot, recorded_how, usable_parent
from seawall.repository.writing.port import WriteCoordinator
from seawall.repository.writing.tree import DiskTree, MetaChunks

_BOUND_BY = {
    Lane.READ: "source",
    Lane.HASH: "cpu",
    Lane.COMPUTE: "cpu",
    Lane.LOOKUP: "network",
    Lane.FETCH: "network",
    Lane.UPLOAD: "store",
}


class _WrittenDisk:
    """A disk whose pages were all sent off."""

    def __init__(self, wanted: DiskToWrite, how: str, why: str, tree: DiskTree, counters: DiskCounters) -> None:
        self.wanted, self.how, self.why, self.tree, self.counters = wanted, how, why, tree, counters
        self.size_bytes = wanted.source.size_bytes


class PointWriter:
    """A context manager; leaving it ends all its threads. Not thread-safe: one thread drives it; it is used for one point.

    `bad`: slots that must not be named again (pack id, slot); their ranges are read whatever a bitmap says. When the controller answers a
    hand-in with missing slots, write the point again with a new writer and these slots in `bad`: all other chunks are found by Lookup.
    `stop`: called often, from the driving thread; what it raises ends the writing.
    Errors: those of the sources, of the coordinator, of the parent's PackReader (StoreUnavailable); the first one, whatever it broke later.
    """

    def __init__(
        self,
        settings: WriteSettings,
        coordinator: WriteCoordinator,
        *,
        parent: PointReader | None = None,
        bad: Collection[Slot] = (),
        stop: Callable[[], None] = lambda: None,
    ) -> None:
        self._settings = settings
        self._parent = parent
        self._bad = BadSlots(bad)
        self._grid = Grid(settings.cut_key, settings.chunk_nominal_bytes)
        self._crew = Crew(stop)
        self._data = PackLine(self._crew, coordinator, lambda buffer: self._builder(buffer, meta=False))
        self._meta_line = PackLine(self._crew, coordinator, lambda buffer: self._builder(buffer, meta=True))
        self._meta = MetaChunks(settings, self._meta_line)
        self._flow = ChunkFlow(self._crew, coordinator, settings, self._data, self._bad)
        self._refmap = Refmap()
        self._disks: list[_WrittenDisk] = []
        self._members: list[tuple[str, bytes, Placement]] = []
        self._warnings: list[tuple[str, str]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._crew.close()

    @property
    def waiting_for(self) -> str:
        """What the writing waits for at this moment: "source", "cpu", "network" (controller, parent) or "store". Any thread may ask.

        One look is a sample; a few seconds of them tell the bottleneck.
        """
        lane = self._crew.waiting_for
        return _BOUND_BY[lane] if lane is not None else "cpu"

    def write_disk(self, disk: DiskToWrite, counters: DiskCounters | None = None) -> None:
        """Read, cut and send off one disk. Its last chunks may still be under way when this returns."""
        counters = counters or DiskCounters()
        parent, reason = usable_parent(self._parent, disk, self._settings, self._grid, self._bad)
        how, why = recorded_how(disk, parent, reason)
        tree = DiskTree(self._meta, self._refmap, parent)
        self._disks.append(_WrittenDisk(disk, how, why, tree, counters))
        writer = DiskWriter(self._crew, self._grid, self._flow, tree, disk, parent, counters)
        for _ in writer.write():
            self._flow.advance()
            self._advance_trees()
        if writer.lost_pages:
            message = (
                f"disk {disk.disk}: {writer.lost_pages} pages of the parent point were not usable and were read in full"
            )
            self._warnings.append(("PARENT_PAGES_LOST", message))
        counters.finish()

    def add_member(self, name: str, body: bytes) -> None:
        """A small file of the point ("domain.xml", "nvram.fd"). An unchanged one keeps the parent's chunk."""
        h = self._meta.hash(body)
        self._members.append((name, h, self._known_member(h) or self._meta.store(h, body)))

    def finish(self, facts: PointFacts) -> WrittenPoint:
        """Wait for everything, then build root and refmap. Every pack that they name is stored when this returns."""
        self._flow.settle()
        self._data.identify()
        while not all(disk.tree.resolved for disk in self._disks):
            self._advance_trees()
            self._meta_line.identify()
        self._data.settle()
        self._meta_line.settle()
        root = self._root(facts)
        for member in root.members:
            self._refmap.add(member.chunk.pack_id, [member.chunk.slot])
        return WrittenPoint(
            root=root,
            root_object=seal_root(root, self._settings.repository_public_key),
            refmap=self._refmap.encode(self._settings.tenant),
            disks=tuple(_stats(disk) for disk in self._disks),
            meta_stored_bytes=self._meta_line.stored_bytes,
        )

    def _builder(self, buffer: bytearray, *, meta: bool) -> PackBuilder:
        settings = self._settings
        return PackBuilder(
            settings.lineage_id,
            settings.repository_public_key,
            meta=meta,
            target_bytes=settings.pack_target_bytes,
            buffer=buffer,
        )

    def _advance_trees(self) -> None:
        for disk in self._disks:
            if not disk.tree.resolved:
                disk.tree.advance()
        if sum(disk.tree.weight_bytes for disk in self._disks) > DRAFTS_BYTES:
            self._flow.settle()
            self._data.identify()
            for disk in self._disks:
                disk.tree.advance()

    def _known_member(self, h: bytes) -> Placement | None:
        parent = self._parent
        if parent is None or parent.root.lineage_id != self._settings.lineage_id:
            return None
        for member in parent.root.members:
            if member.h == h and member.chunk not in self._bad:
                return Placement(member.chunk)
        return None

    def _root(self, facts: PointFacts) -> Root:
        settings = self._settings
        return Root(
            lineage_id=settings.lineage_id,
            tenant=settings.tenant,
            vm_id=facts.vm_id,
            vm_name=facts.vm_name,
            point_id=facts.point_id,
            parent_point_id=self._parent.root.point_id if self._parent is not None else "",
            key_epoch=settings.key_epoch,
            instant_us=facts.instant_us,
            guest_frozen=facts.guest_frozen,
            disks=tuple(self._manifest(disk) for disk in self._disks),
            members=tuple(Member(name, h, placement.locator()) for name, h, placement in self._members),
            checkpoint=facts.checkpoint,
            warnings=(*facts.warnings, *self._warnings),
        )

    def _manifest(self, disk: _WrittenDisk) -> DiskManifest:
        return DiskManifest(
            disk=disk.wanted.disk,
            size_bytes=disk.size_bytes,
            format=disk.wanted.format,
            source=disk.wanted.source_path,
            sector_bytes=disk.wanted.sector_bytes,
            grid_phase=0,
            chunk_nominal_bytes=self._settings.chunk_nominal_bytes,
            how=disk.how,
            why=disk.why,
            nodes=disk.tree.nodes(),
            source_id=disk.wanted.source_id,
        )


def _stats(disk: _WrittenDisk) -> DiskStats:
    counters = disk.counters
    return DiskStats(
        disk=disk.wanted.disk,
        virtual_bytes=disk.size_bytes,
        read_bytes=counters.read_bytes,
        new_bytes=counters.new_bytes,
        stored_bytes=counters.stored_bytes,
        how=disk.how,
        why=disk.why,
    )
