"""Targets: pages, refmaps, and packs with all that stands in them beside records."""

from dataclasses import replace

import numpy as np
from blake3 import blake3

from seawall.repository.checking.dedup_keys import DedupKeys
from seawall.repository.checking.verdict import Opener, judge
from seawall.repository.collecting.compact import compacted_bytes, compacted_pack, proven_tail, whole_tail
from seawall.repository.crypto.sealing import seal_to
from seawall.repository.errors import FormatUnsupported, IntegrityError, RefmapInvalid
from seawall.repository.format.config import new_config
from seawall.repository.format.manifest import decode_leaf, decode_node, encode_leaf, encode_node
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
from seawall.repository.format.refmap import decode_refmap
from seawall.repository.format.slot_set import SlotSet, decode_slot_set, encode_slot_set, slot_array
from seawall.repository.held_keys import HeldKeys
from seawall.repository.repository import OpenRepository
from seawall.repository.store.memory import MemoryStore
from support import format_samples as samples
from support.parser_target import GOLDEN, Target, one_encoding, only_seed

DATA_PACK = GOLDEN["data_pack"]
SLOT_SETS = ([3, 4, 5], list(range(5, 900, 3)), [1, 16_383])


def _pack_tail(pack: bytes) -> bytes:
    return pack[-parse_footer(pack[-FOOTER_BYTES:]).tail_bytes :]


DATA_TAIL = _pack_tail(DATA_PACK)
LEAF_TAIL = _pack_tail(GOLDEN["leaf_pack"])
DATA_FOOTER = parse_footer(DATA_PACK[-FOOTER_BYTES:])
DATA_TABLE = DATA_TAIL[: DATA_FOOTER.table_bytes]
DATA_HASHES = b"".join(record.h for record in samples.records())


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
        samples.LINEAGE, False, rows, DATA_FOOTER.table_offset, blake3(table).digest(), blake3(hashes).digest(length=16)
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


PACKS: dict[str, Target] = {
    "leaf": Target((GOLDEN["leaf"],), one_encoding(lambda body: encode_leaf(decode_leaf(body)))),
    "node": Target((GOLDEN["node"],), one_encoding(lambda body: encode_node(decode_node(body)))),
    "refmap": Target((GOLDEN["refmap"],), only_seed(_refmap, GOLDEN["refmap"]), (RefmapInvalid, FormatUnsupported)),
    "refmap, hashed": Target(
        (GOLDEN["refmap"][:-32],), one_encoding(_inner_refmap), (RefmapInvalid, FormatUnsupported)
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
}
