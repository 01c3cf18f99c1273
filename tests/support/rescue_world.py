"""A repository with points of small VMs, made without controller and agent: what a rescue finds when both are gone."""

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, field, replace
from pathlib import Path
from uuid import UUID

import numpy as np

from seawall.repository.crypto.keys import RepositorySecrets, new_secrets
from seawall.repository.crypto.sealing import public_key_of
from seawall.repository.format.layout import manifest_name, pack_name, refmap_name
from seawall.repository.format.record import ChunkType
from seawall.repository.format.root_object import Statement, object_hash
from seawall.repository.format.tombstone import Burial, sign_tombstone
from seawall.repository.reading.point import PointReader
from seawall.repository.recovery_sheet import RecoveryMaterial, RecoverySheet, render_recovery_sheet
from seawall.repository.repository import OpenRepository, create_repository
from seawall.repository.store.port import Store
from seawall.repository.writing.facts import PointFacts, WriteSettings
from seawall.repository.writing.point import PointWriter
from support.direct_coordinator import DirectCoordinator
from support.memory_disks import BLOCK, ModelDisk
from support.point_writing import disk

LINEAGE = b"lineage-rescued!"
CONTROLLER, RECOVERY = b"\x01" * 32, b"\x02" * 32
VM = UUID(int=7)
MIB = 1 << 20
DOMAIN_XML = b"<domain type='kvm'><name>web</name></domain>\n"


def point_id(number: int) -> str:
    return str(UUID(int=(0x0192F3C1 << 96) + number))


@dataclass
class RescueWorld:
    """`store` holds the repository; `truth` is what each disk of each point holds."""

    store: Store
    secrets: RepositorySecrets = field(default_factory=new_secrets)
    tenant: str = "default"
    truth: dict[str, dict[str, ModelDisk]] = field(default_factory=dict)
    readers: dict[str, PointReader] = field(default_factory=dict)
    recipients: Mapping[str, bytes] = field(
        default_factory=lambda: {"controller": public_key_of(CONTROLLER), "recovery": public_key_of(RECOVERY)}
    )
    db_epoch: int = 1
    """Of the manifests that are written."""

    def __post_init__(self) -> None:
        self.repository: OpenRepository = create_repository(
            self.store,
            lineage_id=LINEAGE,
            chunk_nominal_bytes=64 * 1024,
            recipients=self.recipients,
            secrets=self.secrets,
        )
        self.coordinator = DirectCoordinator(self.store, self.tenant)

    @property
    def settings(self) -> WriteSettings:
        return WriteSettings(
            lineage_id=LINEAGE,
            tenant=self.tenant,
            key_epoch=self.secrets.newest_epoch(self.tenant),
            k_dedup=self.secrets.k_dedup(self.tenant, self.secrets.newest_epoch(self.tenant)),
            cut_key=self.secrets.cut_key,
            repository_public_key=self.secrets.repository_public_key,
            chunk_nominal_bytes=64 * 1024,
            compression_level=1,
            pack_target_bytes=1 << 20,
        )

    def back_up(
        self,
        number: int,
        disks: Mapping[str, ModelDisk],
        *,
        vm: UUID = VM,
        vm_name: str = "web",
        instant_us: int = 1_700_000_000_000_000,
        members: Mapping[str, bytes] | None = None,
        parent: PointReader | None = None,
    ) -> str:
        """A committed point, on top of `parent` where there is one; its id."""
        made = point_id(number)
        facts = PointFacts(str(vm), vm_name, made, instant_us + number * 1_000_000, number % 2 == 1, None)
        how = "bitmap" if parent else "full"
        with PointWriter(self.settings, self.coordinator, parent=parent, bad=(), stop=lambda: None) as writer:
            for name, model in disks.items():
                writer.write_disk(disk(model.source(), how, name), None)
            for name, body in ({"domain.xml": DOMAIN_XML} if members is None else members).items():
                writer.add_member(name, body)
            written = writer.finish(facts)
        self.publish(written.root_object, written.refmap, str(vm), made)
        self.truth[made] = dict(disks)
        root = self.repository.open_root(written.root_object)
        self.readers[made] = PointReader(root, LINEAGE, self.settings.k_dedup, self.coordinator)
        return made

    def publish(self, root_object: bytes, refmap: bytes, vm_id: str, made: str) -> None:
        statement = Statement(
            LINEAGE,
            self.tenant,
            vm_id,
            made,
            self.settings.key_epoch,
            self.db_epoch,
            1_700_000_000_000_000,
            object_hash(root_object),
            object_hash(refmap),
            b"",
        )
        self.store.put(refmap_name(self.tenant, vm_id, made), refmap)
        self.store.put(manifest_name(self.tenant, vm_id, made), self.repository.sign_manifest(statement, root_object))

    @property
    def sheet(self) -> RecoverySheet:
        return RecoverySheet(RECOVERY, LINEAGE, self.secrets.signing_public_key, self.store.url)

    @property
    def material(self) -> RecoveryMaterial:
        return RecoveryMaterial(RECOVERY, self.sheet)

    def copied_to(self, store: Store) -> "RescueWorld":
        """The same repository in another store; `readers` go on reading this one."""
        for info in self.store.list(""):
            store.put(info.name, self.store.get(info.name))
        made = copy(self)
        made.store, made.repository = store, replace(self.repository, store=store)
        return made

    def write_sheet(self, path: Path) -> Path:
        path.write_text(render_recovery_sheet(self.sheet))
        path.chmod(0o600)
        return path

    def manifest_name(self, made: str, vm: UUID = VM) -> str:
        return manifest_name(self.tenant, str(vm), made)

    def tombstone(self, made: str, vm: UUID = VM) -> bytes:
        """Signed, for a point that lies there; not stored."""
        manifest = self.store.get(self.manifest_name(made, vm))
        burial = Burial(LINEAGE, self.tenant, str(vm), made, object_hash(manifest), epoch=1, decided_us=1)
        return sign_tombstone(burial, self.secrets.signing_secret_key)

    def flip(self, name: str, at: int, bit: int = 1) -> None:
        """One bit of an object."""
        body = bytearray(self.store.get(name))
        body[at] ^= bit
        self.store.put(name, bytes(body), create_only=False)

    def chunk_place(self, made: str, disk_name: str, page: int, entry: int) -> tuple[str, int, int, int]:
        """(pack, offset of the record in it, where the chunk begins on the disk, its length) of the n-th data chunk of a page."""
        reader = self.readers[made]
        manifest = reader.disk(disk_name)
        assert manifest is not None
        leaf = reader.leaf(reader.page(manifest, page), manifest, page)
        index = int(np.flatnonzero(leaf.entries["zero"] == 0)[entry])
        row = leaf.entries[index]
        start = page * 64 * MIB + int(leaf.entries["length"][:index].sum())
        pack_id, generation = leaf.packs[int(row["pack"])]
        return pack_name(self.tenant, pack_id, generation), int(row["offset"]), start, int(row["length"])

    def bytes_behind(self, made: str, disk_name: str, pack: str, offset: int) -> int:
        """What of a disk lies in this pack from this offset on."""
        reader = self.readers[made]
        manifest = reader.disk(disk_name)
        assert manifest is not None
        total = 0
        for page, child in reader.pages(manifest):
            if child.chunk is None:
                continue
            leaf = reader.leaf(child, manifest, page)
            for row in leaf.entries[leaf.entries["zero"] == 0]:
                pack_id, generation = leaf.packs[int(row["pack"])]
                if pack_name(self.tenant, pack_id, generation) == pack and int(row["offset"]) >= offset:
                    total += int(row["length"])
        return total

    def packs(self, *, meta: bool, generation: int = 0) -> list[str]:
        kind = ChunkType.META if meta else ChunkType.DATA
        found = []
        for info in sorted(self.store.list(f"v1/p/{self.tenant}/"), key=lambda info: info.name):
            if info.name.endswith(f".{generation}"):
                pack_id = bytes.fromhex(info.name.rsplit("/", 1)[1].split(".")[0])
                table = self.repository.read_table(self.tenant, pack_id, generation)
                if table["type"][0] == kind:
                    found.append(info.name)
        return found


def patterned(size_bytes: int, seed: int, *places: tuple[int, int]) -> ModelDisk:
    """A disk of noise at these (offset, length), zeroes elsewhere."""
    made = ModelDisk(size_bytes)
    noise = np.random.default_rng(seed)
    for offset, length in places:
        made.write(offset, noise.bytes(length))
    return made


def differences(model: ModelDisk, path: Path) -> list[int]:
    """MiB of the image (their numbers) that are not the disk's; the image must have the disk's length."""
    assert path.stat().st_size == model.size_bytes
    content: dict[int, bytearray] = {}
    for block, data in model.blocks.items():
        number, inside = divmod(block * BLOCK, MIB)
        content.setdefault(number, bytearray(MIB))[inside : inside + len(data)] = data
    nothing = bytes(MIB)
    wrong = []
    with path.open("rb") as file:
        for number in range(-(-model.size_bytes // MIB)):
            found = file.read(MIB)
            if found != bytes(content.get(number, nothing))[: len(found)]:
                wrong.append(number)
    return wrong


def stored_bytes(path: Path) -> int:
    return path.stat().st_blocks * 512
