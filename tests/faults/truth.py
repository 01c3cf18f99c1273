"""What must be true of the bucket, read from the bucket alone, as a rescue would."""

from collections.abc import Collection
from dataclasses import dataclass, field

from seawall.controller.config import ControllerConfig
from seawall.controller.initialise import load_wrapper_key
from seawall.controller.secrets import SecretBox
from seawall.repository.errors import RepositoryError
from seawall.repository.format.layout import (
    HAND_INS_PREFIX,
    MANIFESTS_PREFIX,
    PACKS_PREFIX,
    REFMAPS_PREFIX,
    PointName,
    parse_pack_name,
    parse_point_name,
)
from seawall.repository.reading.point import PointReader
from seawall.repository.reading.restore import restore_disk
from seawall.repository.reading.store_packs import StorePackReader
from seawall.repository.repository import OpenRepository, open_repository
from seawall.repository.store.memory import MemoryStore
from support.memory_disks import MemorySink

from .host import TENANT


@dataclass
class Truth:
    """What was promised. `contents`: point -> (VM, its blocks); `forgotten`: somebody asked for their deletion; `undecided`: of those, the
    ones of which he was told that it failed: they may be there or not.
    """

    contents: dict[str, tuple[str, dict[int, bytes]]] = field(default_factory=dict)
    acknowledged: set[str] = field(default_factory=set)
    forgotten: set[str] = field(default_factory=set)
    undecided: set[str] = field(default_factory=set)

    @property
    def kept(self) -> list[str]:
        return sorted(self.acknowledged - self.forgotten)


@dataclass
class Findings:
    """What a round found wrong, as sentences."""

    wrong_bytes: list[str] = field(default_factory=list)
    lost_points: list[str] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    """A step failed in a way that no step may."""

    @property
    def all(self) -> list[str]:
        return [*self.wrong_bytes, *self.lost_points, *self.leftovers, *self.broken]


def opened(config: ControllerConfig, store: MemoryStore) -> OpenRepository:
    box = SecretBox.from_file(config.paths.kek)
    return open_repository(store, "controller", load_wrapper_key(config.paths, box).reveal())


def check_points(
    repository: OpenRepository, store: MemoryStore, truth: Truth, shown: Collection[str], findings: Findings
) -> None:
    """Each point that was acknowledged, or that an operator sees (`shown`), and that nobody forgot, counts and restores byte for byte.

    Whose acknowledgement was lost is shown all the same, and its run succeeded: someone counts on it.
    """
    committed = set(repository.points(TENANT))
    there = {point.point_id for point in committed}
    for point_id in sorted(
        {*truth.kept, *(set(shown) - truth.forgotten), *(truth.undecided & truth.acknowledged & there)}
    ):
        if point_id not in truth.contents:
            findings.broken.append(f"point {point_id} is shown, and nobody backed it up")
            continue
        vm_id, blocks = truth.contents[point_id]
        try:
            if PointName(TENANT, vm_id, point_id) not in committed:
                findings.lost_points.append(f"point {point_id} does not count, and nobody forgot it")
            elif restored(repository, store, vm_id, point_id) != blocks:
                findings.wrong_bytes.append(f"point {point_id} restores other bytes")
        except RepositoryError as error:
            findings.lost_points.append(f"point {point_id} cannot be restored: {type(error).__name__}: {error}")


def restored(repository: OpenRepository, store: MemoryStore, vm_id: str, point_id: str) -> dict[int, bytes]:
    statement, root_object = repository.read_manifest(TENANT, vm_id, point_id)
    k_dedup = repository.secrets.k_dedup(TENANT, statement.key_epoch)
    reader = PointReader(
        repository.open_root(root_object), repository.config.lineage_id, k_dedup, StorePackReader(store, TENANT)
    )
    manifest = reader.disk("vda")
    if manifest is None:
        raise AssertionError("every point has its disk")
    sink = MemorySink(manifest.size_bytes)
    restore_disk(reader, manifest, sink)
    return sink.content()


def check_leftovers(repository: OpenRepository, store: MemoryStore, truth: Truth, findings: Findings) -> None:
    """Nothing but what the points that count need, and these are the acknowledged ones and those that might have been."""
    lying = {point for info in store.list(MANIFESTS_PREFIX) if (point := parse_point_name(info.name)) is not None}
    for point in sorted(lying, key=str):
        if point.point_id in truth.forgotten - truth.undecided:
            findings.leftovers.append(f"the manifest of {point.point_id}, which was forgotten")
    points = set(repository.points(TENANT))
    needed: dict[bytes, set[int]] = {}
    for point in points:
        try:
            refmap = repository.read_refmap(point.tenant, point.vm_id, point.point_id)
        except RepositoryError as error:
            findings.broken.append(
                f"the refmap of point {point.point_id}, which counts: {type(error).__name__}: {error}"
            )
            continue
        for pack_id, slots in refmap.slots().items():
            needed.setdefault(pack_id, set()).update(slots.tolist())
    for info in store.list(REFMAPS_PREFIX):
        if parse_point_name(info.name) not in points:
            findings.leftovers.append(f"{info.name}: a refmap without a manifest")
    findings.leftovers += [f"{info.name}: a hand-in" for info in store.list(HAND_INS_PREFIX)]
    _check_packs(repository, store, needed, findings)


def _check_packs(
    repository: OpenRepository, store: MemoryStore, needed: dict[bytes, set[int]], findings: Findings
) -> None:
    copies: dict[bytes, int] = {}
    for info in store.list(PACKS_PREFIX):
        name = parse_pack_name(info.name)
        if name is None:
            findings.leftovers.append(f"{info.name}: no name of ours")
            continue
        tail = repository.read_tail(name.tenant, name.pack_id, name.generation)
        spare = set(tail.table["slot"].tolist()) - needed.get(name.pack_id, set())
        if spare:
            findings.leftovers.append(f"{info.name}: {len(spare)} of {len(tail.table)} slots belong to no point")
        copies[name.pack_id] = copies.get(name.pack_id, 0) + 1
        if copies[name.pack_id] > (2 if tail.footer.meta else 1):
            findings.leftovers.append(f"{info.name}: one generation too many")
