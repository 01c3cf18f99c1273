"""What is really so, whatever the database says: what was captured, what was promised, and what the bucket restores."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from seawall.repository.errors import RepositoryError
from seawall.repository.reading.point import PointReader
from seawall.repository.reading.restore import restore_disk
from seawall.repository.reading.store_packs import StorePackReader
from seawall.repository.repository import OpenRepository
from seawall.repository.store.memory import MemoryStore
from support.memory_disks import MemorySink

TENANT = "default"


@dataclass
class Truth:
    """`contents`: attempt -> (VM, its disk's blocks at that instant). `promised`: point -> the attempt that was told of it."""

    repository: OpenRepository
    store: MemoryStore
    problem: Callable[[str], None]
    contents: dict[str, tuple[str, dict[int, bytes]]] = field(default_factory=dict)
    promised: dict[str, str] = field(default_factory=dict)
    attempt_of: dict[str, str] = field(default_factory=dict)
    """Point -> the attempt that the database published for it."""
    deleted: set[str] = field(default_factory=set)
    """Somebody, or a policy, gave them up."""
    restores: int = 0
    read_back: int = 0
    """Points that were read from the bucket and compared."""

    def captured(self, attempt_id: str, vm_id: str, blocks: dict[int, bytes]) -> None:
        self.contents[attempt_id] = (vm_id, dict(blocks))

    def acknowledged(self, point_id: str, attempt_id: str) -> None:
        before = self.promised.setdefault(point_id, attempt_id)
        if before != attempt_id:
            self.problem(f"point {point_id} was promised to two attempts, {before} and {attempt_id}")

    def published(self, point_id: str, attempt_id: str) -> None:
        """The database says AVAILABLE: the bucket must say so too, with that attempt's bytes."""
        before = self.attempt_of.setdefault(point_id, attempt_id)
        if before != attempt_id:
            self.problem(f"point {point_id} was published by two attempts, {before} and {attempt_id}")
        self.check(point_id)

    def restored(self, point_id: str, blocks: dict[int, bytes]) -> None:
        """By an agent."""
        self.restores += 1
        attempt_id = self.attempt_of.get(point_id)
        if attempt_id is not None and self.contents[attempt_id][1] != blocks:
            self.problem(f"a restore of point {point_id} has other bytes")

    def check(self, point_id: str) -> None:
        attempt_id = self.attempt_of[point_id]
        if attempt_id not in self.contents:
            self.problem(f"point {point_id} is of attempt {attempt_id}, which captured nothing")
            return
        vm_id, blocks = self.contents[attempt_id]
        self.read_back += 1
        try:
            if self._read(vm_id, point_id) != blocks:
                self.problem(f"point {point_id} restores other bytes")
        except RepositoryError as error:
            self.problem(f"point {point_id} cannot be restored: {type(error).__name__}: {error}")

    def check_some(self, most: int, rng: random.Random) -> None:
        """Of the points that were published, and that nobody gave up: all, where there are not more."""
        standing = sorted(self.attempt_of.keys() - self.deleted)
        for point_id in standing if len(standing) <= most else rng.sample(standing, most):
            self.check(point_id)

    def check_all(self) -> None:
        """Every point that was promised or published, and that nobody gave up."""
        for point_id in sorted(self.promised.keys() | self.attempt_of.keys()):
            self.attempt_of.setdefault(point_id, self.promised.get(point_id, ""))
            if point_id not in self.deleted:
                self.check(point_id)

    def _read(self, vm_id: str, point_id: str) -> dict[int, bytes]:
        statement, root_object = self.repository.read_manifest(TENANT, vm_id, point_id)
        k_dedup = self.repository.secrets.k_dedup(TENANT, statement.key_epoch)
        root = self.repository.open_root(root_object)
        reader = PointReader(root, self.repository.config.lineage_id, k_dedup, StorePackReader(self.store, TENANT))
        manifest = reader.disk("vda")
        if manifest is None:
            raise AssertionError("every point has its disk")
        sink = MemorySink(manifest.size_bytes)
        restore_disk(reader, manifest, sink)
        return sink.content()
