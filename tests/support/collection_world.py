"""A repository in memory with points, and the ledger that knows them: collection without a controller."""

import copy
from dataclasses import dataclass, field
from uuid import UUID

from seawall.repository.collecting.collect import Collection
from seawall.repository.collecting.plan import CollectSettings, Report
from seawall.repository.collecting.port import PackFacts, PackStanding, PointRoot, RootState
from seawall.repository.crypto.keys import RepositorySecrets
from seawall.repository.errors import StoreRefused
from seawall.repository.format.layout import epoch_name, hand_in_name, manifest_name, pack_name, refmap_name
from seawall.repository.format.root_object import Statement, object_hash, open_root
from seawall.repository.reading.point import PointReader
from seawall.repository.reading.store_packs import StorePackReader
from seawall.repository.repository import OpenRepository, create_repository
from seawall.repository.steps import OnStep, no_step
from seawall.repository.store.memory import MemoryStore
from seawall.repository.writing.facts import WriteSettings, WrittenPoint
from support import format_samples as samples
from support.collection_ledger_memory import HOLDER, MemoryLedger
from support.controller_clock import ManualClock
from support.direct_coordinator import DirectCoordinator
from support.memory_disks import ModelDisk
from support.point_writing import disk, restored, write_point

VM = str(UUID(int=1))
ATTEMPT = str(UUID(int=7))
TENANT = "default"


class LockedStore(MemoryStore):
    """Refuses to delete what `locked` names, as Object Lock does."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock=clock)
        self.locked: set[str] = set()
        self.deleted: list[str] = []

    def delete(self, name: str) -> None:
        if name in self.locked:
            raise StoreRefused(f"DELETE {name}: locked until next year")
        self.deleted.append(name)
        super().delete(name)


@dataclass
class CollectionWorld:
    """`points`: what each point's disk must hold."""

    clock: ManualClock = field(default_factory=ManualClock)
    ledger: MemoryLedger = field(default_factory=MemoryLedger)
    points: dict[str, dict[int, bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.store = LockedStore(self.clock)
        self.repository: OpenRepository = create_repository(
            self.store,
            lineage_id=samples.LINEAGE,
            chunk_nominal_bytes=8192,
            recipients=samples.RECIPIENTS,
            secrets=samples.SECRETS,
        )
        self.store.put(epoch_name(1, HOLDER), b"")
        self.coordinator = DirectCoordinator(self.store)
        secrets: RepositorySecrets = self.repository.secrets
        config = self.repository.config
        self.settings = WriteSettings(
            lineage_id=config.lineage_id,
            tenant=TENANT,
            key_epoch=secrets.newest_epoch(TENANT),
            k_dedup=secrets.k_dedup(TENANT, secrets.newest_epoch(TENANT)),
            cut_key=secrets.cut_key,
            repository_public_key=config.repository_public_key,
            chunk_nominal_bytes=8192,
            compression_level=1,
            pack_target_bytes=200_000,
        )

    def written(self, number: int, model: ModelDisk, parent: str = "") -> WrittenPoint:
        """Its packs are stored and known to the ledger; nothing is committed."""
        before = len(self.coordinator.packs)
        reader = self.reader(parent) if parent else None
        how = "bitmap" if parent else "full"
        point = write_point(
            self.coordinator, [disk(model.source(), how)], number=number, settings=self.settings, parent=reader
        )
        for pack in self.coordinator.packs[before:]:
            size = self.store.head(pack_name(TENANT, pack.pack_id, 0)).size_bytes
            facts = PackFacts(pack.pack_id, TENANT, PackStanding.STORED, pack.meta, size, len(pack.table), 0)
            self.ledger.stored[pack.pack_id] = facts
        self.points[point.root.point_id] = dict(model.blocks)
        model.forget_changes()
        return point

    def validated(self, point: WrittenPoint) -> PointRoot:
        """PUBLISHING: its refmap lies where the attempt handed it in."""
        digest = object_hash(point.refmap)
        self.store.put(hand_in_name(ATTEMPT, "refmap", digest), point.refmap)
        self.ledger.seq += 1
        root = PointRoot(TENANT, VM, point.root.point_id, RootState.PUBLISHING, self.ledger.seq, ATTEMPT, digest)
        self.ledger.live_attempts.add(ATTEMPT)
        self.ledger.points[root.point_id] = root
        return root

    def committed(self, point: WrittenPoint) -> str:
        """AVAILABLE; its id."""
        names = (TENANT, VM, point.root.point_id)
        statement = Statement(
            lineage_id=self.repository.config.lineage_id,
            tenant=TENANT,
            vm_id=VM,
            point_id=point.root.point_id,
            key_epoch=point.root.key_epoch,
            db_epoch=1,
            published_us=1,
            root_hash=object_hash(point.root_object),
            refmap_hash=object_hash(point.refmap),
            previous_hash=b"",
        )
        self.store.put(refmap_name(*names), point.refmap)
        self.store.put(manifest_name(*names), self.repository.sign_manifest(statement, point.root_object))
        self.ledger.seq += 1
        root = PointRoot(TENANT, VM, point.root.point_id, RootState.AVAILABLE, self.ledger.seq, ATTEMPT, b"")
        self.ledger.points[root.point_id] = root
        return root.point_id

    def add_point(self, number: int, model: ModelDisk, parent: str = "") -> str:
        return self.committed(self.written(number, model, parent))

    def delete_point(self, point_id: str) -> None:
        for name in (manifest_name(TENANT, VM, point_id), refmap_name(TENANT, VM, point_id)):
            self.store.delete(name)
        del self.ledger.points[point_id], self.points[point_id]

    def collection(self, on_step: OnStep = no_step, percent: int = 25, range_slots: int = 1 << 20) -> Collection:
        settings = CollectSettings(grace_us=self.ledger.grace_us, compact_from_percent=percent)
        return Collection(self.repository, self.ledger, self.clock, settings, on_step, range_slots)

    def collect(self, on_step: OnStep = no_step) -> Report:
        return self.collection(on_step).execute()

    def reader(self, point_id: str) -> PointReader:
        """Through the bucket alone."""
        _, root_object = self.repository.read_manifest(TENANT, VM, point_id)
        root = open_root(root_object, self.repository.unseal_data_key(root_object))
        return PointReader(root, self.settings.lineage_id, self.settings.k_dedup, StorePackReader(self.store, TENANT))

    def check_points(self) -> None:
        """Each restores byte for byte."""
        for point_id, blocks in self.points.items():
            assert restored(self.reader(point_id)) == blocks, point_id

    def pack_names(self) -> list[str]:
        return sorted(info.name for info in self.store.list("v1/p/"))

    def twin(self) -> "CollectionWorld":
        """The same bucket and ledger once more."""
        twin = CollectionWorld(ManualClock(self.clock.now_us()), copy.deepcopy(self.ledger), dict(self.points))
        twin.store._objects, twin.store._names = dict(self.store._objects), list(self.store._names)
        twin.coordinator.index = dict(self.coordinator.index)
        return twin


def live_slots(world: CollectionWorld) -> dict[bytes, int]:
    """STORED packs, and how many slots they keep."""
    return {pack.pack_id: pack.left for pack in world.ledger.packs() if pack.standing is PackStanding.STORED}
