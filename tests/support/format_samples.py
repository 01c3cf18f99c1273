"""One small object of each kind of format 1, from fixed keys and nonces. Shared by the golden vectors and by the tests that damage objects.

What HPKE makes is random by nature; functions that need such a part take it from the caller, so that the rest is reproducible.
"""

from collections.abc import Sequence

import numpy as np
from blake3 import blake3

from seawall.repository.crypto.chunk import chunk_hash
from seawall.repository.crypto.keys import RepositorySecrets
from seawall.repository.crypto.sealing import public_key_of
from seawall.repository.format.condemn_log import CondemnLog
from seawall.repository.format.config import encode_config, new_config
from seawall.repository.format.export import ExportFront, assemble_export
from seawall.repository.format.keyfile import KeyBundle
from seawall.repository.format.manifest import (
    LEAF_ENTRY,
    NODE_BYTES,
    ZERO_CHILD,
    Checkpoint,
    Child,
    DiskManifest,
    InnerNode,
    Leaf,
    Member,
    Root,
    leaf_slots,
)
from seawall.repository.format.open_mark import OpenMark, PointIds
from seawall.repository.format.pack import PackBuilder, SealedPack
from seawall.repository.format.pack_hashes import assemble_hashes
from seawall.repository.format.record import ChunkType, Codec, Locator, Record, seal_with_nonces
from seawall.repository.format.refmap import Refmap
from seawall.repository.format.root_object import Statement, assemble_root, object_hash, root_front, sign_manifest
from seawall.repository.format.slot_set import EVERY_SLOT, SlotSet
from seawall.repository.format.tombstone import Burial, sign_tombstone

LINEAGE = bytes(range(16))
TENANT = "default"
VM = "6f1f7d3e-0000-4000-8000-000000000001"
POINT = "6f1f7d3e-0000-4000-8000-000000000002"
K_DEDUP = b"\x11" * 32
SECRETS = RepositorySecrets(b"\x22" * 32, b"\x33" * 32, b"\x44" * 32, {(TENANT, 1): K_DEDUP})
PUBLIC_KEY = SECRETS.repository_public_key
RECIPIENT_SECRETS = {"controller": b"\x55" * 32, "recovery": b"\x66" * 32}
RECIPIENTS = {name: public_key_of(secret) for name, secret in RECIPIENT_SECRETS.items()}
DATA_KEY = b"\x77" * 32
HASHES_KEY = b"\x88" * 32

BUNDLE = KeyBundle(SECRETS.repository_secret_key, SECRETS.signing_secret_key, SECRETS.cut_key, K_DEDUP)


def noise(seed: str, length: int) -> bytes:
    """Bytes that do not compress, the same on every run."""
    return blake3(seed.encode()).digest(length)


PLAINTEXTS = (noise("first", 700), b"seawall " * 200, b"z" * 4096)


def nonce(number: int) -> bytes:
    return number.to_bytes(12, "big")


def record(plaintext: bytes, number: int, kind: ChunkType = ChunkType.DATA) -> Record:
    return seal_with_nonces(LINEAGE, [(chunk_hash(K_DEDUP, plaintext), plaintext)], kind, 3, [nonce(number)])[0]


def records(kind: ChunkType = ChunkType.DATA) -> list[Record]:
    return [record(plaintext, number, kind) for number, plaintext in enumerate(PLAINTEXTS)]


def pack(of: Sequence[Record], sealed_key: bytes | None = None) -> SealedPack:
    """With `sealed_key` (HPKE of HASHES_KEY for this very table) the bytes are fixed; without, a fresh key is sealed."""
    builder = PackBuilder(LINEAGE, PUBLIC_KEY, meta=of[0].type == ChunkType.META)
    for one in of:
        builder.add(one)
    if sealed_key is None:
        return builder.seal()
    hashes = [one.h for one in of]
    return builder.seal_with(
        lambda table_hash: assemble_hashes(hashes, LINEAGE, table_hash, sealed_key, HASHES_KEY, nonce(99))
    )


def locator(of: SealedPack, slot: int, generation: int = 0) -> Locator:
    row = of.table[slot]
    lengths = (int(row["offset"]), int(row["stored_bytes"]), int(row["raw_bytes"]))
    return Locator(of.pack_id, generation, slot, *lengths, Codec(int(row["codec"])))


def leaf(data: SealedPack, of: Sequence[Record]) -> Leaf:
    """All records of the pack, then 1 MiB of zeroes."""
    entries = np.zeros(len(of) + 1, dtype=LEAF_ENTRY)
    for slot, one in enumerate(of):
        where = locator(data, slot)
        lengths = (one.raw_bytes, where.stored_bytes, where.offset)
        entries[slot] = (*lengths, 0, slot, one.codec, 0, one.h)
    entries[-1] = (1 << 20, 0, 0, 0, 0, 0, 1, bytes(32))
    return Leaf(entries, ((data.pack_id, 0),))


def node(data: SealedPack, of: Leaf, stored: Record, meta: SealedPack) -> InnerNode:
    """The leaf's page (stored as slot 0 of the meta pack), a page of zeroes, a page with other sets of slots."""
    other = {data.pack_id: np.array([0, 2], dtype=np.uint16), b"\xaa" * 16: np.arange(5, 900, 3, dtype=np.uint16)}
    chunk = locator(meta, 0)
    return InnerNode((Child(stored.h, chunk, leaf_slots(of)), ZERO_CHILD, Child(stored.h, chunk, other)))


def root(stored_node: Record, meta: SealedPack) -> Root:
    disk = DiskManifest(
        disk="vda",
        size_bytes=NODE_BYTES + 512,
        format="qcow2",
        source="/var/lib/libvirt/images/web.qcow2",
        sector_bytes=512,
        grid_phase=0,
        chunk_nominal_bytes=65536,
        how="full",
        why="no parent point",
        nodes=(Child(stored_node.h, locator(meta, 0), {}), ZERO_CHILD),
    )
    return Root(
        lineage_id=LINEAGE,
        tenant=TENANT,
        vm_id=VM,
        vm_name="web-münchen",
        point_id=POINT,
        parent_point_id="",
        key_epoch=1,
        instant_us=1_700_000_000_000_000,
        guest_frozen=True,
        disks=(disk,),
        members=(Member("domain.xml", stored_node.h, locator(meta, 0)),),
        checkpoint=Checkpoint("seawall-1", "a1", "<domaincheckpoint/>", ("vda",)),
        warnings=(("GUEST_AGENT_MISSING", "not frozen"),),
    )


def root_object(of: Root, sealed_key: bytes) -> bytes:
    """`sealed_key`: HPKE of DATA_KEY for this root's front."""
    return assemble_root(of, root_front(of, PUBLIC_KEY), sealed_key, DATA_KEY, nonce(7))


def statement(root_body: bytes, refmap_body: bytes) -> Statement:
    return Statement(
        lineage_id=LINEAGE,
        tenant=TENANT,
        vm_id=VM,
        point_id=POINT,
        key_epoch=1,
        db_epoch=3,
        published_us=1_700_000_100_000_000,
        root_hash=object_hash(root_body),
        refmap_hash=object_hash(refmap_body),
        previous_hash=b"",
    )


def manifest(root_body: bytes, refmap_body: bytes) -> bytes:
    return sign_manifest(statement(root_body, refmap_body), root_body, SECRETS.signing_secret_key)


def refmap(*packs: SealedPack) -> Refmap:
    """All slots of these packs, and one pack with gaps."""
    union = Refmap()
    for one in packs:
        union.add(one.pack_id, one.table["slot"])
    union.add(b"\xaa" * 16, range(5, 900, 3))
    union.add(b"\xbb" * 16, [1, 16_383])
    return union


def burial(manifest_body: bytes) -> Burial:
    return Burial(LINEAGE, TENANT, VM, POINT, object_hash(manifest_body), epoch=7, decided_us=1_700_000_200_000_000)


def tombstone(manifest_body: bytes) -> bytes:
    return sign_tombstone(burial(manifest_body), SECRETS.signing_secret_key)


def condemn_log() -> CondemnLog:
    """Some slots of one pack, and an id that became VOID."""
    return CondemnLog(LINEAGE, 7, 3, {b"\xaa" * 16: SlotSet.of([1, 2, 900]), b"\xbb" * 16: EVERY_SLOT})


OTHER_POINT = "6f1f7d3e-0000-4000-8000-000000000003"


def open_mark() -> OpenMark:
    """Two points, the deletion of one of them decided, and two logs."""
    points, logs = PointIds.of([OTHER_POINT, POINT]), frozenset({(6, 2), (7, 3)})
    return OpenMark(LINEAGE, 8, 2, points, PointIds.of([POINT]), logs)


EXPORT_DOCUMENT = b'{"repository_id":"r"}'


def export_front() -> ExportFront:
    return ExportFront(LINEAGE, 3, 7, 1_700_000_300_000_000, len(EXPORT_DOCUMENT), b"\x99" * 32)


def export_object() -> bytes:
    return assemble_export(export_front(), EXPORT_DOCUMENT, SECRETS.repository_secret_key, nonce(8))


def config_object() -> bytes:
    return encode_config(new_config(LINEAGE, 65536, SECRETS), SECRETS.signing_secret_key)
