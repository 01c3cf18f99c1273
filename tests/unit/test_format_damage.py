"""Damage: any object with a byte changed or its end missing is refused, never read as something else."""

import struct
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from blake3 import blake3

from seawall.repository.crypto.signing import CONDEMNED_DOMAIN, CONFIG_DOMAIN, TOMBSTONE_DOMAIN
from seawall.repository.errors import FormatUnsupported, IntegrityError, RefmapInvalid, RepositoryError, WrongKey
from seawall.repository.format.condemn_log import CondemnLog, open_condemn_log, sign_condemn_log
from seawall.repository.format.config import parse_config
from seawall.repository.format.export import open_export, seal_export
from seawall.repository.format.header import LEAF, NODE, REFMAP, encode_header
from seawall.repository.format.keyfile import open_key_object
from seawall.repository.format.manifest import (
    decode_leaf,
    decode_node,
    decode_root,
    encode_leaf,
    encode_node,
    encode_root,
)
from seawall.repository.format.open_mark import OpenMark, PointIds, read_open_mark, sign_open_mark
from seawall.repository.format.pack import FOOTER_BYTES, open_pack_hashes, parse_table
from seawall.repository.format.pack_scan import scan_records
from seawall.repository.format.record import ChunkType, Codec, open_record
from seawall.repository.format.refmap import MAX_POINT_SLOTS, decode_refmap
from seawall.repository.format.root_object import open_manifest, open_root, unseal_data_key
from seawall.repository.format.slot_set import SlotSet
from seawall.repository.format.tombstone import open_tombstone
from support import format_golden
from support import format_samples as samples
from support.newer_objects import (
    newer_export,
    newer_key_object,
    newer_manifest,
    newer_refmap,
    newer_signed,
    version_2,
)

GOLDEN = format_golden.load()
REFUSALS = (IntegrityError, RefmapInvalid, FormatUnsupported, WrongKey)
TAIL_BYTES = 3 * 48 + (80 + 28 + 3 * 32) + FOOTER_BYTES  # of the golden pack: table, hashes, footer

Reader = Callable[[bytes], object]


def read_record(body: bytes) -> object:
    plaintext = samples.PLAINTEXTS[1]
    h = samples.record(plaintext, 0).h
    return open_record(samples.LINEAGE, samples.K_DEDUP, h, ChunkType.DATA, Codec.ZSTD, len(plaintext), body)


def read_root(body: bytes) -> object:
    return open_root(body, unseal_data_key(body, samples.SECRETS.repository_secret_key))


def read_table(tail: bytes) -> object:
    return parse_table(tail, len(GOLDEN["data_pack"]))


CONDEMN_LOG = sign_condemn_log(
    CondemnLog(samples.LINEAGE, 7, 3, {bytes(16): SlotSet.of([1, 5])}), samples.SECRETS.signing_secret_key
)
OPEN_MARK = sign_open_mark(
    OpenMark(samples.LINEAGE, 7, 1, PointIds.of([samples.POINT]), PointIds.of([samples.POINT]), frozenset({(4, 2)})),
    samples.SECRETS.signing_secret_key,
)
EXPORT = seal_export(
    b"what a controller knows" * 4,
    lineage_id=samples.LINEAGE,
    epoch=3,
    number=7,
    exported_us=5,
    repository_secret_key=b"\x22" * 32,
)
SEALED: dict[str, tuple[bytes, Reader]] = {
    "record": (GOLDEN["record_zstd_body"], read_record),
    "pack tail": (GOLDEN["data_pack"][-TAIL_BYTES:], read_table),
    "pack hashes": (GOLDEN["data_pack"][-TAIL_BYTES:], lambda tail: open_pack_hashes(tail, b"\x22" * 32)),
    "root object": (GOLDEN["root_object"], read_root),
    "manifest": (GOLDEN["manifest"], lambda body: open_manifest(body, samples.SECRETS.signing_public_key)),
    "refmap": (GOLDEN["refmap"], decode_refmap),
    "tombstone": (GOLDEN["tombstone"], lambda body: open_tombstone(body, samples.SECRETS.signing_public_key)),
    "condemn log": (CONDEMN_LOG, lambda body: open_condemn_log(body, samples.SECRETS.signing_public_key)),
    "open mark": (OPEN_MARK, lambda body: read_open_mark(body, samples.SECRETS.signing_public_key)),
    "export": (EXPORT, lambda body: open_export(body, b"\x22" * 32)),
    "config": (GOLDEN["config"], parse_config),
    "key object": (GOLDEN["key_object"], lambda body: open_key_object(body, b"\x55" * 32)),
}
BARE: dict[str, tuple[bytes, Callable[[bytes], bytes]]] = {
    "leaf": (GOLDEN["leaf"], lambda body: encode_leaf(decode_leaf(body))),
    "node": (GOLDEN["node"], lambda body: encode_node(decode_node(body))),
    "root": (GOLDEN["root"], lambda body: encode_root(decode_root(body))),
}


def flips(body: bytes) -> Iterator[bytes]:
    """Each byte changed, one at a time, by another bit each."""
    for position in range(len(body)):
        yield flipped(body, position)


def flipped(body: bytes, position: int) -> bytes:
    return body[:position] + bytes([body[position] ^ (1 << position % 8)]) + body[position + 1 :]


def truncations(body: bytes) -> Iterator[bytes]:
    yield from (body[:length] for length in range(len(body)))


@pytest.mark.parametrize("kind", SEALED)
def test_every_flipped_byte_is_refused(kind: str) -> None:
    body, read = SEALED[kind]
    read(body)
    for damaged in flips(body):
        with pytest.raises(REFUSALS):
            read(damaged)


@pytest.mark.parametrize("kind", SEALED)
def test_every_truncation_is_refused(kind: str) -> None:
    body, read = SEALED[kind]
    for cut in truncations(body):
        if kind == "pack tail" and len(cut) < FOOTER_BYTES:
            assert read(cut) == FOOTER_BYTES  # too little to tell: the footer is asked for
            continue
        with pytest.raises(REFUSALS):
            read(cut)
    if not kind.startswith("pack"):
        with pytest.raises(REFUSALS):
            read(body + b"\0")


@pytest.mark.parametrize("kind", BARE)
def test_pages_have_one_encoding_and_no_other_is_read(kind: str) -> None:
    """Pages travel inside sealed chunks. Alone, a changed hash is another page; but whatever is read must be what was written."""
    body, again = BARE[kind]
    assert again(body) == body
    refused = 0
    for damaged in [*flips(body), *truncations(body), body + b"\0"]:
        try:
            assert again(damaged) == damaged
        except REFUSALS:
            refused += 1
    assert refused >= len(body)  # each truncation at least


@pytest.mark.parametrize("kind", ["pack tail", "pack hashes", "leaf", "node"])
def test_a_future_version_or_suite_is_named_as_such(kind: str) -> None:
    """Of parts of objects: what proves them is around them."""
    body, read = (SEALED | BARE)[kind]
    at = len(body) - FOOTER_BYTES if kind.startswith("pack") else 0
    for position, word in ((8, "version 2"), (10, "suite 2")):
        future = body[: at + position] + b"\x02" + body[at + position + 1 :]
        with pytest.raises(FormatUnsupported, match=word):
            read(future)


SIGNING_KEY = samples.SECRETS.signing_secret_key
NEWER: dict[str, Callable[[bytes], bytes]] = {
    "manifest": lambda body: newer_manifest(body, SIGNING_KEY),
    "refmap": newer_refmap,
    "tombstone": lambda body: newer_signed(body, TOMBSTONE_DOMAIN, SIGNING_KEY),
    "condemn log": lambda body: newer_signed(body, CONDEMNED_DOMAIN, SIGNING_KEY),
    "config": lambda body: newer_signed(body, CONFIG_DOMAIN, SIGNING_KEY),
    "key object": lambda body: newer_key_object(body, b"\x55" * 32),
    "export": lambda body: newer_export(body, b"\x22" * 32),
}


@pytest.mark.parametrize("kind", NEWER)
def test_a_version_is_believed_only_where_its_object_was_written_with_it(kind: str) -> None:
    """Else a flipped byte would tell the operator to upgrade."""
    body, read = SEALED[kind]
    with pytest.raises(FormatUnsupported, match="version 2"):
        read(NEWER[kind](body))
    for at in range(16):
        why = "its version was altered" if 8 <= at < 12 else None
        with pytest.raises((IntegrityError, RefmapInvalid), match=why):
            read(flipped(body, at))


@pytest.mark.parametrize("kind", NEWER)
def test_what_is_altered_beside_its_version_is_not_told_from_newer(kind: str) -> None:
    """Nothing proves it either way: it is not read, and nothing claims to know why."""
    body, read = SEALED[kind]
    with pytest.raises(FormatUnsupported):
        read(version_2(flipped(body, len(body) - 1)))


def test_a_scan_finds_every_record_without_table_or_footer() -> None:
    body = GOLDEN["data_pack"]
    table = parse_table(body, len(body))
    assert isinstance(table, np.ndarray)
    for length in range(len(body) - TAIL_BYTES, len(body), 7):
        assert scan_records(body[:length]).tobytes() == table.tobytes()


def test_a_scan_leaves_out_exactly_the_damaged_record() -> None:
    body = GOLDEN["data_pack"]
    table = parse_table(body, len(body))
    assert isinstance(table, np.ndarray)
    for damaged_slot, row in enumerate(table):
        for position in (int(row["offset"]) - 48, int(row["offset"]) - 30, int(row["offset"]) + 3):
            damaged = bytearray(body[:-TAIL_BYTES])
            damaged[position] ^= 0x40
            found = scan_records(damaged)["slot"].tolist()
            assert found == [slot for slot in range(3) if slot != damaged_slot]


def test_a_scan_of_false_headers_gives_up() -> None:
    body = GOLDEN["data_pack"]
    header = body[48:96]
    false = header[:12] + (2000).to_bytes(4, "little") + header[16:]
    false = false[:8] + (1972).to_bytes(4, "little") + false[12:]
    with pytest.raises(IntegrityError, match="false record headers"):
        scan_records(body[:48] + false * 500)


def page_of_ranges(packs: int) -> bytes:
    """A node of one page that claims all slots of many packs: 43 bytes of it for 32 KiB of slots."""
    ids = [number.to_bytes(16, "big") for number in range(packs)]
    lists = b"".join(struct.pack("<IHHHB", number, 0, 16_383, 16_384, 0) for number in range(packs))
    child = b"\1" * 32 + ids[0] + struct.pack("<IIIIHBBI", 0, 96, 1000, 972, 0, 0, 1, packs)
    return encode_header(NODE) + struct.pack("<III", 1, packs, len(lists)) + b"".join(ids) + child + lists


def refmap_of_ranges(packs: int) -> bytes:
    ids = (number.to_bytes(16, "big") for number in range(1, packs + 1))
    body = encode_header(REFMAP) + struct.pack("<H7sI", 7, b"default", packs)
    body += b"".join(pack_id + struct.pack("<HHHB", 0, 16_383, 16_384, 0) for pack_id in ids)
    return body + blake3(body).digest()


def test_small_objects_do_not_fill_the_memory() -> None:
    decode_node(page_of_ranges(1))
    with pytest.raises(IntegrityError, match="more slots than it has blocks"):
        decode_node(page_of_ranges(2))
    many = MAX_POINT_SLOTS // 16_384 + 1
    with pytest.raises(RefmapInvalid, match="more than"):
        decode_refmap(refmap_of_ranges(many))
    leaf = encode_header(LEAF) + struct.pack("<II", 1, 2) + bytes(2 * 20 + 20) + bytes(32)
    with pytest.raises(IntegrityError, match="its length is not"):
        decode_leaf(leaf)


def test_errors_are_of_one_family() -> None:
    assert all(issubclass(error, RepositoryError) for error in REFUSALS)
