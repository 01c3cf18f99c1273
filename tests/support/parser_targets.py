"""Every parser of the repository that meets bytes of others, one target each: seeds, how to read them, what may be refused and how.

Shared by tests/unit/test_fuzz_parsers.py (Hypothesis, every CI run) and tests/fuzz/parsers.py (coverage-guided, by hand). A target's `read`
takes what is mutated and checks by itself that what was accepted is right: AssertionError is a finding, so is any error but `refusals`.
Where bytes are sealed, signed or hashed there are two targets: one over the object as it lies in the bucket, and one over what is inside,
sealed again: else no mutation would ever reach the parser behind the seal.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import zstandard
from blake3 import blake3

from seawall.repository.checking.dedup_keys import DedupKeys
from seawall.repository.checking.verdict import Opener, judge
from seawall.repository.collecting.compact import compacted_bytes, compacted_pack, proven_tail, whole_tail
from seawall.repository.crypto.aead import seal_box
from seawall.repository.crypto.chunk import chunk_id, chunk_key
from seawall.repository.crypto.recovery import parse_recovery_key, recovery_key_text
from seawall.repository.crypto.sealing import recipient_id, seal_to
from seawall.repository.crypto.signing import (
    CONDEMNED_DOMAIN,
    CONFIG_DOMAIN,
    MANIFEST_DOMAIN,
    OPEN_DOMAIN,
    SIGNATURE_BYTES,
    TOMBSTONE_DOMAIN,
    sign,
)
from seawall.repository.errors import (
    ForeignRepository,
    FormatUnsupported,
    IntegrityError,
    RefmapInvalid,
    WrongKey,
)
from seawall.repository.format.canonical import from_canonical, to_canonical
from seawall.repository.format.condemn_log import open_condemn_log, sign_condemn_log
from seawall.repository.format.config import new_config, parse_config
from seawall.repository.format.descriptor import read_descriptor, with_descriptor
from seawall.repository.format.export import ExportFront, open_export
from seawall.repository.format.header import CONFIG, EXPORT, KEYS, MANIFEST, TOMBSTONE
from seawall.repository.format.keyfile import KeyNames, open_key_object
from seawall.repository.format.layout import (
    HandInKind,
    condemned_name,
    epoch_name,
    export_name,
    hand_in_name,
    key_name,
    manifest_name,
    open_name,
    pack_name,
    parse_condemned_name,
    parse_epoch_name,
    parse_export_name,
    parse_hand_in_name,
    parse_key_name,
    parse_open_name,
    parse_pack_name,
    parse_point_name,
    parse_trimmed_name,
    refmap_name,
    tombstone_name,
    trimmed_name,
)
from seawall.repository.format.manifest import (
    decode_leaf,
    decode_node,
    decode_root,
    encode_leaf,
    encode_node,
    encode_root,
)
from seawall.repository.format.open_mark import read_open_mark, sign_open_mark
from seawall.repository.format.pack import (
    FOOTER_BYTES,
    TABLE_ENTRY,
    open_pack_hashes,
    pack_id_of,
    parse_table,
    parse_tail,
)
from seawall.repository.format.pack_hashes import assemble_hashes, hashes_binding
from seawall.repository.format.pack_layout import (
    Footer,
    encode_footer,
    encode_pack_header,
    parse_footer,
    parse_pack_header,
)
from seawall.repository.format.pack_scan import scan_records
from seawall.repository.format.record import ChunkType, Codec, SealedChunk, open_record, open_records
from seawall.repository.format.refmap import decode_refmap
from seawall.repository.format.root_object import (
    assemble_root,
    open_manifest,
    open_root,
    root_front,
    sign_manifest,
    unseal_data_key,
)
from seawall.repository.format.slot_set import SlotSet, decode_slot_set, encode_slot_set, slot_array
from seawall.repository.format.tombstone import open_tombstone
from seawall.repository.held_keys import HeldKeys
from seawall.repository.reading.damage import Damage
from seawall.repository.recovery_sheet import (
    RecoverySheet,
    parse_recovery_material,
    parse_recovery_sheet,
    render_recovery_sheet,
)
from seawall.repository.repository import OpenRepository
from seawall.repository.rescue.how_to import how_to_text
from seawall.repository.rescue.journal import ImageIdentity, header_line, parse_journal
from seawall.repository.rescue.restore import damage_text, parse_damage_text
from seawall.repository.store.location import FolderLocation, LocationInvalid, parse_location
from seawall.repository.store.memory import MemoryStore
from seawall.repository.store.names import is_name
from support import format_golden
from support import format_samples as samples

GOLDEN = format_golden.load()
DATA_PACK = GOLDEN["data_pack"]
SHEET = RecoverySheet(b"\x66" * 32, samples.LINEAGE, samples.SECRETS.signing_public_key, "s3://vault/a?region=eu-1")


@dataclass(frozen=True)
class Target:
    """`seeds`: what is mutated. `read`: parses, proves what it accepted, and returns or raises one of `refusals`."""

    seeds: tuple[bytes, ...]
    read: Callable[[bytes], None]
    refusals: tuple[type[Exception], ...] = (IntegrityError, FormatUnsupported)


def _pack_tail(pack: bytes) -> bytes:
    return pack[-parse_footer(pack[-FOOTER_BYTES:]).tail_bytes :]


DATA_TAIL = _pack_tail(DATA_PACK)
LEAF_TAIL = _pack_tail(GOLDEN["leaf_pack"])
DATA_FOOTER = parse_footer(DATA_PACK[-FOOTER_BYTES:])
DATA_TABLE = DATA_TAIL[: DATA_FOOTER.table_bytes]
DATA_HASHES = b"".join(record.h for record in samples.records())


def _only_seed(read: Callable[[bytes], object], *seeds: bytes) -> Callable[[bytes], None]:
    """What is sealed or signed is itself or nothing."""

    def check(body: bytes) -> None:
        read(body)
        assert body in seeds, "altered, and accepted"

    return check


def _one_encoding(read: Callable[[bytes], bytes]) -> Callable[[bytes], None]:
    """What is accepted is what would be written."""

    def check(body: bytes) -> None:
        assert read(body) == body, "read as something that is written otherwise"

    return check


# -- config, keys, roots, manifests


def _inner_config(descriptor: bytes) -> bytes:
    front = with_descriptor(CONFIG, descriptor[: 1 << 16])
    body = front + sign(samples.SECRETS.signing_secret_key, CONFIG_DOMAIN, front)
    return to_canonical(parse_config(body, samples.SECRETS.signing_public_key))


def _key_object(body: bytes) -> object:
    return open_key_object(body, samples.RECIPIENT_SECRETS["controller"])


def _inner_key_bundle(bundle: bytes) -> bytes:
    public = samples.RECIPIENTS["controller"]
    identity = blake3(bundle, derive_key_context="seawall v1 key bundle id").digest(length=16)
    names = KeyNames(samples.LINEAGE, samples.TENANT, 1, "controller", recipient_id(public), identity)
    front = with_descriptor(KEYS, to_canonical(names))
    return to_canonical(
        open_key_object(
            front + seal_to(public, bundle, b"seawall v1 key bundle\x00" + front),
            samples.RECIPIENT_SECRETS["controller"],
        )[1]
    )


def _root_object(body: bytes) -> object:
    return open_root(body, unseal_data_key(body, samples.SECRETS.repository_secret_key))


def _inner_root(body: bytes) -> None:
    """Sealed by an agent that may write what it likes; opened, and told to a person."""
    opened = decode_root(body)
    assert encode_root(opened) == body
    front = root_front(opened, samples.PUBLIC_KEY)
    sealed = seal_to(samples.PUBLIC_KEY, samples.DATA_KEY, b"seawall v1 root data key\x00" + front)
    again = _root_object(assemble_root(opened, front, sealed, samples.DATA_KEY, samples.nonce(7)))
    assert again == opened
    how_to_text(opened)


def _late_root() -> bytes:
    """Taken by an agent whose clock stands far past the calendar."""
    return encode_root(replace(decode_root(GOLDEN["root"]), instant_us=(1 << 63) - 1))


def _inner_burial(descriptor: bytes) -> bytes:
    """What a tombstone says, signed whatever it is."""
    front = with_descriptor(TOMBSTONE, descriptor[: 1 << 16])
    burial = open_tombstone(
        front + sign(samples.SECRETS.signing_secret_key, TOMBSTONE_DOMAIN, front), samples.SECRETS.signing_public_key
    )
    return to_canonical(burial)


def _inner_statement(descriptor: bytes) -> bytes:
    front = with_descriptor(MANIFEST, descriptor[: 1 << 16])
    signature = sign(samples.SECRETS.signing_secret_key, MANIFEST_DOMAIN, front)
    body = front + signature + GOLDEN["root_object"]
    statement, root_object = open_manifest(body, samples.SECRETS.signing_public_key)
    assert root_object == GOLDEN["root_object"]
    assert sign_manifest(statement, root_object, samples.SECRETS.signing_secret_key) == body
    return to_canonical(statement)


def _inner_condemn_log(content: bytes) -> bytes:
    """Statement and entries of a log, signed anew."""
    body = content + sign(samples.SECRETS.signing_secret_key, CONDEMNED_DOMAIN, content)
    log = open_condemn_log(body, samples.SECRETS.signing_public_key)
    return sign_condemn_log(log, samples.SECRETS.signing_secret_key)[:-SIGNATURE_BYTES]


def _inner_open_mark(content: bytes) -> bytes:
    """Statement and lists of a mark, signed anew."""
    body = content + sign(samples.SECRETS.signing_secret_key, OPEN_DOMAIN, content)
    mark = read_open_mark(body, samples.SECRETS.signing_public_key)
    return sign_open_mark(mark, samples.SECRETS.signing_secret_key)[:-SIGNATURE_BYTES]


OPEN_MARK = GOLDEN["open_mark"]
CONDEMN_LOG = GOLDEN["condemn_log"]
EXPORT_FRAME = zstandard.ZstdCompressor(level=3).compress(samples.EXPORT_DOCUMENT)


def _sealed_export(descriptor: bytes, frame: bytes) -> bytes:
    """As a controller would that writes what it likes: the key follows from the salt, where the front has one."""
    try:
        salt = from_canonical(ExportFront, descriptor, "front").salt
    except IntegrityError:
        salt = samples.export_front().salt
    secret = samples.SECRETS.repository_secret_key
    key = blake3(secret + salt, derive_key_context="seawall v1 export key").digest()
    front = with_descriptor(EXPORT, descriptor[: 1 << 16])
    return front + seal_box(key, samples.nonce(1), frame, front)


def _inner_export_front(descriptor: bytes) -> bytes:
    front, document = open_export(_sealed_export(descriptor, EXPORT_FRAME), samples.SECRETS.repository_secret_key)
    assert document == samples.EXPORT_DOCUMENT
    return to_canonical(front)


def _inner_export_frame(frame: bytes) -> None:
    sealed = _sealed_export(to_canonical(samples.export_front()), frame)
    front, document = open_export(sealed, samples.SECRETS.repository_secret_key)
    assert len(document) == front.document_bytes


def _descriptor(name: str, magic: bytes) -> bytes:
    return read_descriptor(GOLDEN[name], magic, name)[0]


# -- refmaps and slot sets


def _refmap(body: bytes) -> bytes:
    tenant, refmap = decode_refmap(body)
    return refmap.encode(tenant)


def _inner_refmap(content: bytes) -> bytes:
    return _refmap(content + blake3(content).digest())[:-32]


def _slot_set(body: bytes) -> None:
    slots, end = decode_slot_set(body, 0)
    assert encode_slot_set(slots) == body[:end]
    found = SlotSet.parse(body)
    assert len(found) == len(slots) and (found | found) == found and not found - found


# -- packs


def _tail(body: bytes) -> None:
    tail = parse_tail(body, len(DATA_PACK))
    assert isinstance(tail, int) or body.endswith(DATA_TAIL), "an altered end of a pack was accepted"
    if isinstance(tail, int):
        assert len(body) < tail <= len(DATA_PACK)


def _footer(fields: bytes) -> None:
    """With a check that holds: its writer was hostile."""
    body = fields + blake3(fields).digest(length=16)
    parsed = parse_footer(body)
    assert encode_footer(parsed) == body


def _inner_table(table: bytes) -> None:
    """A table of whoever wrote it, with a footer that fits."""
    rows = len(table) // TABLE_ENTRY.itemsize
    hashes = bytes(80 + 28 + 32 * rows)
    footer = Footer(
        samples.LINEAGE,
        False,
        rows,
        DATA_FOOTER.table_offset,
        blake3(table).digest(),
        blake3(hashes).digest(length=16),
    )
    read = parse_table(table + hashes + encode_footer(footer), footer.pack_bytes)
    assert not isinstance(read, int)
    assert read.tobytes() == table
    ends = read["offset"].astype(np.int64) + read["stored_bytes"]
    assert int(ends.max()) <= footer.table_offset
    assert bool(np.all(read["offset"][1:] > ends[:-1]))


def _hashes(body: bytes) -> None:
    """Of as much of the pack's end as holds them."""
    open_pack_hashes(body, samples.SECRETS.repository_secret_key)
    assert body.endswith((DATA_TAIL, LEAF_TAIL)), "an altered list was accepted"


def _inner_hashes(hashes: bytes) -> None:
    table_hash = blake3(DATA_TABLE).digest()
    key = seal_to(samples.PUBLIC_KEY, samples.HASHES_KEY, hashes_binding(samples.LINEAGE, table_hash))
    sealed = assemble_hashes([hashes], samples.LINEAGE, table_hash, key, samples.HASHES_KEY, samples.nonce(99))
    footer = Footer(samples.LINEAGE, False, 3, DATA_FOOTER.table_offset, table_hash, blake3(sealed).digest(length=16))
    body = DATA_PACK[: DATA_FOOTER.table_offset] + DATA_TABLE + sealed + encode_footer(footer)
    opened = open_pack_hashes(body, samples.SECRETS.repository_secret_key)
    assert b"".join(opened.values()) == DATA_HASHES


def _pack_header(body: bytes) -> None:
    """It proves nothing by itself: what it says is what stands there."""
    lineage_id, meta = parse_pack_header(body)
    assert encode_pack_header(lineage_id, meta) == body[:48]


OPENER = Opener(samples.LINEAGE, samples.SECRETS.repository_secret_key, DedupKeys(samples.SECRETS, samples.TENANT))
REPOSITORY = OpenRepository(
    MemoryStore(), new_config(samples.LINEAGE, 65536, samples.SECRETS), HeldKeys(samples.SECRETS)
)


def _judged(body: bytes) -> None:
    """A verdict, whatever it is: whole is the pack alone, and proven are chunks that stand in it."""
    for known in (None, pack_id_of(DATA_PACK), pack_id_of(body)):
        verdict = judge(body, known, False, OPENER)
        assert verdict.reason is not None or body == DATA_PACK, "an altered pack was called whole"
        _require_there(body, verdict.proven)


def _require_there(body: bytes, slots: SlotSet) -> None:
    records = samples.records()
    assert all(slot < len(records) and bytes(records[slot].body) in body for slot in slots)


def _judged_table(table: bytes) -> None:
    """A hostile writer's: list and footer fit the table."""
    table_hash = blake3(table).digest()
    key = seal_to(samples.PUBLIC_KEY, samples.HASHES_KEY, hashes_binding(samples.LINEAGE, table_hash))
    hashes = [record.h for record in samples.records()]
    sealed = assemble_hashes(hashes, samples.LINEAGE, table_hash, key, samples.HASHES_KEY, samples.nonce(99))
    rows = len(table) // TABLE_ENTRY.itemsize
    footer = replace(DATA_FOOTER, slots=rows, table_hash=table_hash, hashes_hash=blake3(sealed).digest(length=16))
    body = DATA_PACK[: DATA_FOOTER.table_offset] + table + sealed + encode_footer(footer)
    for known in (None, pack_id_of(body)):
        verdict = judge(body, known, False, OPENER)
        assert verdict.reason is not None or table == DATA_TABLE
        assert len(verdict.proven) <= len(hashes)


def _compacted(body: bytes) -> None:
    """Made of an altered pack: only of one whose kept bodies are whole, and those stand in it as they were, and no other."""
    made = compacted_pack(REPOSITORY, body, SlotSet.of([1]))
    before, after = whole_tail(body).table, proven_tail(made).table
    kept = before[before["slot"] != 1]
    assert len(made) == compacted_bytes(whole_tail(body), SlotSet.of([1]))
    for name in ("slot", "chunk_id", "stored_bytes", "raw_bytes", "codec", "type", "body_hash"):
        assert np.array_equal(kept[name], after[name])


def _scan(body: bytes) -> None:
    """Each record's check holds, worked out here anew. It proves nothing of who wrote it: a fuzzer that sees comparisons makes one."""
    found = scan_records(body)
    end = 0
    for row in np.sort(found, order="offset"):
        start, stored = int(row["offset"]), int(row["stored_bytes"])
        assert start >= end and start + stored <= len(body)
        body_hash = blake3(body[start : start + stored]).digest(length=16)
        assert row["body_hash"].tobytes() == body_hash
        assert body[start - 16 : start] == blake3(body[start - 48 : start - 16] + body_hash).digest(length=16)
        end = start + stored
    assert len(set(found["slot"].tolist())) == len(found)


# -- records


def _record(body: bytes) -> object:
    """Any codec that a table may name."""
    plain = samples.PLAINTEXTS[1]
    h = samples.record(plain, 0).h
    opened = open_record(samples.LINEAGE, samples.K_DEDUP, h, ChunkType.DATA, Codec.ZSTD, len(plain), body)
    assert opened == plain
    return opened


def _inner_frame(frame: bytes) -> None:
    """A frame that whoever knew the chunk sealed: right is only the one that becomes the chunk."""
    plain = samples.PLAINTEXTS[1]
    h = samples.record(plain, 0).h
    aad = b"\x01\x00\x00\x01" + len(plain).to_bytes(4, "little") + chunk_id(h) + samples.LINEAGE
    body = seal_box(chunk_key(h), samples.nonce(5), frame, aad)
    opened = open_record(samples.LINEAGE, samples.K_DEDUP, h, ChunkType.DATA, Codec.ZSTD, len(plain), body)
    assert opened == plain


def _inner_run(frame: bytes) -> None:
    """Neighbours that are opened by one call."""
    plain = samples.PLAINTEXTS[1]
    h = samples.record(plain, 0).h
    aad = b"\x01\x00\x00\x01" + len(plain).to_bytes(4, "little") + chunk_id(h) + samples.LINEAGE
    one = SealedChunk(h, Codec.ZSTD, len(plain), memoryview(seal_box(chunk_key(h), samples.nonce(5), frame, aad)))
    opened = open_records(samples.LINEAGE, samples.K_DEDUP, ChunkType.DATA, [one, one])
    assert [bytes(each) for each in opened] == [plain, plain]


def _golden_frame() -> bytes:
    return zstandard.ZstdCompressor(level=3).compress(samples.PLAINTEXTS[1])


# -- what people type and what stands beside images


def _text(body: bytes) -> str:
    return body.decode("utf-8", errors="replace")


def _recovery_key(body: bytes) -> None:
    secret = parse_recovery_key(_text(body))
    assert secret == b"\x66" * 32, "a mistyped key was taken for another one"


def _recovery_sheet(body: bytes) -> None:
    sheet = parse_recovery_sheet(_text(body))
    assert (sheet.secret_key, len(sheet.lineage_id), len(sheet.signing_public_key)) == (b"\x66" * 32, 16, 32)


def _recovery_material(body: bytes) -> None:
    assert parse_recovery_material(_text(body)).secret_key == b"\x66" * 32


IDENTITY = ImageIdentity(samples.POINT, "vda", 1 << 30, "ab" * 32)
JOURNAL = (header_line(IDENTITY, 77) + "\n0\n1\n5\n12\n\ncomplete\n").encode()
DAMAGE = damage_text(samples.POINT, [Damage("vda", "v1/p/x", "gone", ((0, 512), (4096, 8192)))]).encode()


def _journal(body: bytes) -> None:
    state = parse_journal(body)
    if state is not None:
        assert all(page >= 0 for page in state.pages)


def _damage(body: bytes) -> None:
    for damage in parse_damage_text(body):
        assert damage.length == sum(length for _, length in damage.ranges)


# -- names and URLs


def _name(body: bytes) -> None:
    name = _text(body)
    is_name(name)
    pack, key, point, hand_in, epoch, condemned = (
        parse_pack_name(name),
        parse_key_name(name),
        parse_point_name(name),
        parse_hand_in_name(name),
        parse_epoch_name(name),
        parse_condemned_name(name),
    )
    export, trimmed, opened = parse_export_name(name), parse_trimmed_name(name), parse_open_name(name)
    if pack is not None:
        assert pack_name(pack.tenant, pack.pack_id, pack.generation) == name
    if key is not None:
        assert key_name(key.tenant, key.epoch, key.wrapper) == name
    if point is not None:
        makers = (manifest_name, refmap_name, tombstone_name)
        assert name in {make(point.tenant, point.vm_id, point.point_id) for make in makers}
    if hand_in is not None:
        kinds: tuple[HandInKind, ...] = ("root", "refmap", "log")
        assert name in {hand_in_name(hand_in.attempt_id, kind, hand_in.content_hash) for kind in kinds}
    if epoch is not None:
        assert epoch_name(*epoch) == name
    if condemned is not None:
        assert condemned_name(*condemned) == name
    if export is not None:
        assert export_name(*export) == name
    if trimmed is not None:
        assert trimmed_name(trimmed) == name
    if opened is not None:
        assert open_name(*opened) == name
    every = (pack, key, point, hand_in, epoch, condemned, export, trimmed, opened)
    parsed = [found for found in every if found is not None]
    assert len(parsed) <= 1 and (is_name(name) or not parsed)


def _location(body: bytes) -> None:
    found = parse_location(_text(body))
    if isinstance(found, FolderLocation):
        assert found.path.is_absolute() and ".." not in found.path.parts
    else:
        assert parse_location(found.url) == found


NAMES = (
    f"v1/p/default/3f/{'3f' * 16}.0",
    "v1/keys/default/1.controller",
    f"v1/m/default/{samples.VM}/{samples.POINT}",
    f"v1/a/{samples.POINT}/root-{'ab' * 32}",
    f"v1/c/epoch/000000000017-{samples.POINT}",
    "v1/c/condemned/000000000017-000000000003",
    "v1/c/export/000000000003-000000000017",
    "v1/c/trimmed/000000000017",
    "v1/c/open/000000000017-000000000003",
)
URLS = ("file:///srv/seawall", "s3://vault/a/b?endpoint=https://s3.example.net:9000&region=eu-1&ca_file=/etc/ca.pem")
SLOT_SETS = ([3, 4, 5], list(range(5, 900, 3)), [1, 16_383])

TARGETS: dict[str, Target] = {
    "config": Target(
        (GOLDEN["config"],),
        _only_seed(lambda body: parse_config(body, samples.SECRETS.signing_public_key), GOLDEN["config"]),
        (IntegrityError, FormatUnsupported, ForeignRepository),
    ),
    "config, signed": Target(
        (_descriptor("config", CONFIG),),
        _one_encoding(_inner_config),
        (IntegrityError, FormatUnsupported, ForeignRepository),
    ),
    "key object": Target(
        (GOLDEN["key_object"],),
        _only_seed(_key_object, GOLDEN["key_object"]),
        (IntegrityError, FormatUnsupported, WrongKey),
    ),
    "key bundle, sealed": Target((to_canonical(samples.BUNDLE),), _one_encoding(_inner_key_bundle)),
    "root object": Target(
        (GOLDEN["root_object"],),
        _only_seed(_root_object, GOLDEN["root_object"]),
        (IntegrityError, FormatUnsupported, WrongKey),
    ),
    "root, sealed": Target((GOLDEN["root"], _late_root()), _inner_root),
    "manifest": Target(
        (GOLDEN["manifest"],),
        _only_seed(lambda body: open_manifest(body, samples.SECRETS.signing_public_key), GOLDEN["manifest"]),
    ),
    "tombstone": Target(
        (GOLDEN["tombstone"],),
        _only_seed(lambda body: open_tombstone(body, samples.SECRETS.signing_public_key), GOLDEN["tombstone"]),
    ),
    "burial, signed": Target((_descriptor("tombstone", TOMBSTONE),), _one_encoding(_inner_burial)),
    "statement, signed": Target((_descriptor("manifest", MANIFEST),), _one_encoding(_inner_statement)),
    "condemn log": Target(
        (CONDEMN_LOG,),
        _only_seed(lambda body: open_condemn_log(body, samples.SECRETS.signing_public_key), CONDEMN_LOG),
    ),
    "open mark": Target(
        (OPEN_MARK,),
        _only_seed(lambda body: read_open_mark(body, samples.SECRETS.signing_public_key), OPEN_MARK),
    ),
    "open mark, signed": Target((OPEN_MARK[:-SIGNATURE_BYTES],), _one_encoding(_inner_open_mark)),
    "export": Target(
        (GOLDEN["export"],),
        _only_seed(lambda body: open_export(body, samples.SECRETS.repository_secret_key), GOLDEN["export"]),
    ),
    "export's front, sealed": Target((to_canonical(samples.export_front()),), _one_encoding(_inner_export_front)),
    "export's document, sealed": Target((EXPORT_FRAME,), _inner_export_frame),
    "condemn log, signed": Target((CONDEMN_LOG[:-SIGNATURE_BYTES],), _one_encoding(_inner_condemn_log)),
    "leaf": Target((GOLDEN["leaf"],), _one_encoding(lambda body: encode_leaf(decode_leaf(body)))),
    "node": Target((GOLDEN["node"],), _one_encoding(lambda body: encode_node(decode_node(body)))),
    "refmap": Target((GOLDEN["refmap"],), _only_seed(_refmap, GOLDEN["refmap"]), (RefmapInvalid, FormatUnsupported)),
    "refmap, hashed": Target(
        (GOLDEN["refmap"][:-32],), _one_encoding(_inner_refmap), (RefmapInvalid, FormatUnsupported)
    ),
    "slot set": Target(tuple(encode_slot_set(slot_array(slots)) for slots in SLOT_SETS), _slot_set, (IntegrityError,)),
    "pack tail": Target((DATA_TAIL,), _tail),
    "pack footer, hashed": Target((DATA_TAIL[-FOOTER_BYTES:-16],), _footer),
    "pack table, hashed": Target((DATA_TABLE,), _inner_table),
    "pack hashes": Target((DATA_TAIL,), _hashes),
    "pack hashes, sealed": Target((DATA_HASHES,), _inner_hashes),
    "pack header": Target((DATA_PACK[:48],), _pack_header),
    "pack judged": Target((DATA_PACK,), _judged, ()),
    "pack judged, table sealed": Target((DATA_TABLE,), _judged_table, ()),
    "pack compacted": Target((DATA_PACK,), _compacted),
    "pack scan": Target((DATA_PACK, GOLDEN["leaf_pack"]), _scan),
    "record": Target((GOLDEN["record_zstd_body"],), _only_seed(_record, GOLDEN["record_zstd_body"]), (IntegrityError,)),
    "record, sealed": Target((_golden_frame(),), _inner_frame, (IntegrityError,)),
    "records of a run, sealed": Target((_golden_frame(),), _inner_run, (IntegrityError,)),
    "recovery key": Target((recovery_key_text(b"\x66" * 32).encode(),), _recovery_key, (WrongKey,)),
    "recovery sheet": Target(
        (render_recovery_sheet(SHEET).encode(),),
        _recovery_sheet,
        (WrongKey, IntegrityError, FormatUnsupported),
    ),
    "recovery file": Target(
        (render_recovery_sheet(SHEET).encode(), b"The key of this:\n\n" + recovery_key_text(b"\x66" * 32).encode()),
        _recovery_material,
        (WrongKey, IntegrityError, FormatUnsupported),
    ),
    "rescue journal": Target((JOURNAL,), _journal, ()),
    "rescue damage file": Target((DAMAGE,), _damage, ()),
    "object name": Target(tuple(name.encode() for name in NAMES), _name, ()),
    "store URL": Target(tuple(url.encode() for url in URLS), _location, (LocationInvalid,)),
}
