"""Format 1 is fixed: the committed objects read as they did, and the writers still write them byte for byte."""

from dataclasses import replace

import numpy as np
import pytest

from seawall.repository.format import header
from seawall.repository.format.condemn_log import open_condemn_log
from seawall.repository.format.config import new_config, parse_config
from seawall.repository.format.export import open_export
from seawall.repository.format.keyfile import open_key_object
from seawall.repository.format.manifest import decode_leaf, decode_node, decode_root
from seawall.repository.format.open_mark import read_open_mark
from seawall.repository.format.pack import open_pack_hashes, pack_id_of, parse_table
from seawall.repository.format.record import ChunkType, Codec, open_record
from seawall.repository.format.refmap import decode_refmap
from seawall.repository.format.root_object import object_hash, open_manifest, open_root, unseal_data_key
from seawall.repository.format.tombstone import open_tombstone
from support import format_golden
from support import format_samples as samples

GOLDEN = format_golden.load()
RANDOM_PARTS = format_golden.random_parts(GOLDEN)


def test_the_writers_write_the_same_bytes() -> None:
    # Compressed bytes are zstandard's: should a new release compress otherwise, only the objects that hold none can be compared.
    assert format_golden.build(RANDOM_PARTS) == GOLDEN


@pytest.mark.parametrize(
    ("name", "plaintext", "codec"),
    [
        ("record_raw_body", samples.PLAINTEXTS[0], Codec.RAW),
        ("record_zstd_body", samples.PLAINTEXTS[1], Codec.ZSTD),
    ],
)
def test_records_open(name: str, plaintext: bytes, codec: Codec) -> None:
    h = samples.record(plaintext, 0).h
    args = (samples.LINEAGE, samples.K_DEDUP, h, ChunkType.DATA, codec, len(plaintext), GOLDEN[name])
    assert open_record(*args) == plaintext


def test_the_pack_lists_its_records_and_their_hashes() -> None:
    body = GOLDEN["data_pack"]
    table = parse_table(body, len(body))
    records = samples.records()
    assert isinstance(table, np.ndarray)
    assert [row.tobytes() for row in table["chunk_id"]] == [record.chunk_id for record in records]
    assert [body[row["offset"] : row["offset"] + row["stored_bytes"]] for row in table] == [one.body for one in records]
    hashes = open_pack_hashes(body, samples.SECRETS.repository_secret_key)
    assert hashes == {slot: record.h for slot, record in enumerate(records)}


def test_manifest_pages_read_from_root_to_chunks() -> None:
    manifest, public_key = GOLDEN["manifest"], samples.SECRETS.signing_public_key
    statement, root_object = open_manifest(manifest, public_key)
    assert statement == samples.statement(GOLDEN["root_object"], GOLDEN["refmap"])
    data_key = unseal_data_key(root_object, samples.SECRETS.repository_secret_key)
    root = open_root(root_object, data_key)
    assert (data_key, root) == (samples.DATA_KEY, decode_root(GOLDEN["root"]))
    assert (root.vm_name, root.disks[0].size_bytes) == ("web-münchen", 256 * 64 * 2**20 + 512)
    node = decode_node(GOLDEN["node"])
    data_pack = pack_id_of(GOLDEN["data_pack"])
    assert [child.chunk is None for child in node.children] == [False, True, False]
    assert node.children[0].slots[data_pack].tolist() == [0, 1, 2]
    assert node.children[2].slots[b"\xaa" * 16].tolist() == list(range(5, 900, 3))
    leaf = decode_leaf(GOLDEN["leaf"])
    assert leaf.packs == ((data_pack, 0),)
    assert leaf.entries["length"].tolist() == [700, 1600, 4096, 1 << 20]


def test_refmap_config_and_keys_read() -> None:
    tenant, refmap = decode_refmap(GOLDEN["refmap"])
    assert tenant == samples.TENANT
    assert refmap.slots()[b"\xbb" * 16].tolist() == [1, 16_383]
    assert parse_config(GOLDEN["config"]) == new_config(samples.LINEAGE, 65536, samples.SECRETS)
    names, bundle = open_key_object(GOLDEN["key_object"], samples.RECIPIENT_SECRETS["controller"])
    assert (names.tenant, names.epoch, names.wrapper, bundle) == ("default", 1, "controller", samples.BUNDLE)


def test_the_tombstone_is_of_the_point() -> None:
    burial = open_tombstone(GOLDEN["tombstone"], samples.SECRETS.signing_public_key)
    assert burial == samples.burial(GOLDEN["manifest"])
    assert (burial.point_id, burial.epoch, burial.manifest_hash) == (samples.POINT, 7, object_hash(GOLDEN["manifest"]))


def test_the_condemn_log_and_the_export_read() -> None:
    log = open_condemn_log(GOLDEN["condemn_log"], samples.SECRETS.signing_public_key)
    assert log == samples.condemn_log()
    assert list(log.slots[b"\xaa" * 16]) == [1, 2, 900] and len(log.slots[b"\xbb" * 16]) == 16_384
    front, document = open_export(GOLDEN["export"], samples.SECRETS.repository_secret_key)
    assert (front, document) == (samples.export_front(), samples.EXPORT_DOCUMENT)


def test_the_open_mark_names_what_counts() -> None:
    mark = read_open_mark(GOLDEN["open_mark"], samples.SECRETS.signing_public_key)
    assert mark == samples.open_mark()
    assert (list(mark.points), list(mark.leaving)) == ([samples.POINT, samples.OTHER_POINT], [samples.POINT])
    assert (mark.epoch, mark.number, sorted(mark.logs)) == (8, 2, [(6, 2), (7, 3)])


def test_there_is_a_vector_of_every_magic() -> None:
    kinds = {name for name, value in vars(header).items() if isinstance(value, bytes) and value.startswith(b"SEAW")}
    held = b"".join(GOLDEN.values())
    assert {name for name in kinds if getattr(header, name) not in held} == set()


def test_a_statement_is_about_one_root() -> None:
    statement = samples.statement(GOLDEN["root_object"], GOLDEN["refmap"])
    assert statement.root_hash == object_hash(GOLDEN["root_object"])
    assert statement != replace(statement, root_hash=bytes(32))
