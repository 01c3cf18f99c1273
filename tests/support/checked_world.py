"""A repository of small VMs with a ledger that knows it: what checks and healing work on, without a controller."""

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from seawall.repository.checking.check import CheckRequest, CheckResult, check
from seawall.repository.checking.heal import HealResult, heal
from seawall.repository.checking.port import PackFacts, PointDamage
from seawall.repository.clock import SystemClock
from seawall.repository.format.layout import PointName, pack_name
from seawall.repository.reading.point import PointReader
from seawall.repository.reading.store_packs import StorePackReader
from seawall.repository.reading.window import DiskWindow
from seawall.repository.store.memory import MemoryStore
from seawall.repository.store.port import Store
from support.checking_ledger import MemoryCheckingLedger
from support.memory_disks import BLOCK, ModelDisk
from support.point_writing import manifest_of, restored
from support.rescue_world import LINEAGE, MIB, VM, RescueWorld, patterned

FULL = CheckRequest(read_data_percent=100)


@dataclass
class CheckedWorld:
    """`world` for what lies in the bucket, `ledger` for what the catalogue knows."""

    world: RescueWorld
    ledger: MemoryCheckingLedger

    def back_up(self, number: int, disks: Mapping[str, ModelDisk], vm: UUID = VM) -> str:
        """A committed point; the ledger learns its packs."""
        made = self.world.back_up(number, disks, vm=vm)
        self.ledger.available[PointName(self.world.tenant, str(vm), made)] = None
        for pack in self.world.coordinator.packs:
            name = pack_name(self.world.tenant, pack.pack_id, 0)
            facts = PackFacts(
                pack.pack_id, self.world.tenant, pack.meta, 0, self.store.head(name).size_bytes, len(pack.table)
            )
            self.ledger.stored.setdefault(pack.pack_id, facts)
        return made

    @property
    def store(self) -> Store:
        return self.world.store

    def check(self, request: CheckRequest = FULL) -> CheckResult:
        return check(self.world.repository, self.ledger, request, SystemClock())

    def heal(self, copy: Store) -> HealResult:
        return heal(self.world.repository, self.ledger, copy)

    def check_restores(self) -> tuple[str, ...]:
        """Each point comes back byte for byte, from the bucket alone, all at once and by random reads. What was altered on the way."""
        passed_over: set[str] = set()
        for made, disks in self.world.truth.items():
            root = self.world.readers[made].root
            packs = StorePackReader(self.store, self.world.tenant)
            for name, model in disks.items():
                reader = PointReader(root, LINEAGE, self.world.settings.k_dedup, packs)
                assert restored(reader, name) == model.blocks, made
                window = DiskWindow(PointReader(root, LINEAGE, reader.k_dedup, packs), manifest_of(reader, name))
                for block in sorted(model.blocks)[::40]:
                    assert window.read(block * BLOCK, BLOCK) == model.blocks[block], made
                passed_over |= set(reader.passed_over.sentences())
        return tuple(sorted(passed_over))

    def damage_of(self, made: str) -> PointDamage | None:
        return next(damage for name, damage in self.ledger.available.items() if name.point_id == made)

    def data_pack(self, number: int = 0) -> PackFacts:
        return [pack for pack in self.ledger.stored.values() if not pack.meta][number]

    def meta_pack(self) -> PackFacts:
        return next(pack for pack in self.ledger.stored.values() if pack.meta)

    def name(self, pack: PackFacts, generation: int | None = None) -> str:
        return pack_name(pack.tenant, pack.id, pack.generation if generation is None else generation)

    def copied(self) -> MemoryStore:
        """All objects as they are now."""
        copy = MemoryStore()
        for info in self.store.list(""):
            copy.put(info.name, self.store.get(info.name))
        return copy

    def replace(self, name: str, body: bytes) -> None:
        self.store.put(name, body, create_only=False)


def checked_world(store: Store | None = None) -> CheckedWorld:
    """Two points of one VM; the second has all of the first and more, so both need the first one's packs."""
    made = CheckedWorld(RescueWorld(store or MemoryStore()), MemoryCheckingLedger())
    first = patterned(96 * MIB, 1, (0, 3 * MIB), (70 * MIB, MIB))
    made.back_up(1, {"vda": first})
    second = patterned(96 * MIB, 1, (0, 3 * MIB), (70 * MIB, MIB))
    second.write(5 * MIB, patterned(MIB, 2, (0, MIB)).source().blocks[0])
    made.back_up(2, {"vda": second})
    return made
