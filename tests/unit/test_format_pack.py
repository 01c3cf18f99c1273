"""Packs: building, reading the end back, and tables that a hostile writer hashed right but filled with lies."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from seawall.repository.crypto.chunk import chunk_hash, chunk_id
from seawall.repository.errors import IntegrityError
from seawall.repository.format.pack import FOOTER_BYTES, PACK_MAX_SLOTS, PackBuilder, open_pack_hashes, parse_table
from seawall.repository.format.pack_hashes import seal_hashes
from seawall.repository.format.pack_layout import encode_footer, hashes_bytes_of, parse_footer
from seawall.repository.format.pack_scan import scan_records
from seawall.repository.format.record import ChunkType, Codec, PlainChunk, Record, open_record, seal_record
from seawall.repository.format.sealed_run import seal_run
from support import format_samples as samples

SECRET = samples.SECRETS.repository_secret_key


@settings(deadline=None, max_examples=40)
@given(st.lists(st.binary(max_size=2000), min_size=1, max_size=20))
def test_what_goes_in_comes_out_by_table_and_by_scan(plaintexts: list[bytes]) -> None:
    builder = PackBuilder(samples.LINEAGE, samples.PUBLIC_KEY, meta=False)
    hashes = [chunk_hash(samples.K_DEDUP, plaintext) for plaintext in plaintexts]
    placed = [
        builder.add(seal_record(samples.LINEAGE, h, plaintext, ChunkType.DATA, 3))
        for h, plaintext in zip(hashes, plaintexts, strict=True)
    ]
    sealed = builder.seal()
    body = bytes(sealed.body)
    assert sealed.pack_id == blake3(body).digest()[:16]
    table = parse_table(body, len(body))
    assert isinstance(table, np.ndarray)
    assert table.tobytes() == sealed.table.tobytes() == scan_records(body).tobytes()
    assert list(zip(table["slot"].tolist(), table["offset"].tolist(), strict=True)) == placed
    assert open_pack_hashes(body, SECRET) == dict(enumerate(hashes))
    for row, h, plaintext in zip(table, hashes, plaintexts, strict=True):
        start, end = int(row["offset"]), int(row["offset"]) + int(row["stored_bytes"])
        codec, raw_bytes = Codec(int(row["codec"])), int(row["raw_bytes"])
        args = (samples.LINEAGE, samples.K_DEDUP, h, ChunkType.DATA, codec, raw_bytes)
        assert open_record(*args, memoryview(body)[start:end]) == plaintext


def packs_of(take: Callable[[PackBuilder, int], int], count: int, target_bytes: int) -> list[bytes]:
    """`take(builder, first)` puts in records from that number on; how many. Sealed with a list of its length that opens nothing."""
    packs, first = [], 0
    while first < count:
        buffer = bytearray(b"from an earlier pack" * 50)
        builder = PackBuilder(samples.LINEAGE, samples.PUBLIC_KEY, meta=False, target_bytes=target_bytes, buffer=buffer)
        while first < count and not builder.full:
            first += take(builder, first)
        packs.append(bytes(builder.seal_with(lambda _, slots=builder.slots: bytes(hashes_bytes_of(slots))).body))  # type: ignore[misc]
    return packs


@settings(deadline=None, max_examples=40)
@given(st.lists(st.binary(max_size=900), min_size=1, max_size=20), st.integers(100, 6000))
def test_a_run_makes_the_packs_that_its_records_would_make(plaintexts: list[bytes], target_bytes: int) -> None:
    hashes = [chunk_hash(samples.K_DEDUP, plaintext) for plaintext in plaintexts]
    chunks = [PlainChunk(h, chunk_id(h), plaintext) for h, plaintext in zip(hashes, plaintexts, strict=True)]
    run = seal_run(samples.LINEAGE, chunks, ChunkType.DATA, 3)
    assert run.stored_bytes == sum(len(record.body) for record in run.records)

    def one_by_one(builder: PackBuilder, first: int) -> int:
        builder.add(run.records[first])
        return 1

    expected = packs_of(one_by_one, len(chunks), target_bytes)
    assert packs_of(lambda builder, first: builder.add_run(run, first), len(chunks), target_bytes) == expected
    assert all(isinstance(parse_table(pack, len(pack)), np.ndarray) for pack in expected)


def test_a_run_ends_a_pack_with_its_last_slot() -> None:
    h = chunk_hash(samples.K_DEDUP, b"")
    run = seal_run(samples.LINEAGE, [PlainChunk(h, chunk_id(h), b"")] * (PACK_MAX_SLOTS // 2 + 1), ChunkType.DATA, 3)
    builder = PackBuilder(samples.LINEAGE, samples.PUBLIC_KEY, meta=False)
    assert (builder.add_run(run, 0), builder.full) == (len(run.records), False)
    assert (builder.add_run(run, 0), builder.full) == (len(run.records) - 2, True)
    with pytest.raises(ValueError, match="no slot left"):
        builder.add_run(run, 0)


def test_the_end_is_asked_for_in_at_most_two_steps() -> None:
    body = bytes(samples.pack(samples.records()).body)
    assert parse_table(b"", len(body)) == FOOTER_BYTES
    needed = parse_table(body[-FOOTER_BYTES:], len(body))
    assert isinstance(needed, int)
    assert parse_table(body[-needed + 1 :], len(body)) == needed
    assert isinstance(parse_table(body[-needed:], len(body)), np.ndarray)


def test_a_pack_of_another_length_than_its_footer_says_is_refused() -> None:
    body = bytes(samples.pack(samples.records()).body)
    for length in (len(body) - 1, len(body) + 1, 0, FOOTER_BYTES):
        with pytest.raises(IntegrityError):
            parse_table(body, length)


def test_full_by_bytes_and_by_slots() -> None:
    small = PackBuilder(samples.LINEAGE, samples.PUBLIC_KEY, meta=False, target_bytes=2000)
    first, second, _ = samples.records()
    small.add(first)
    assert not small.full
    small.add(first)
    assert small.full == (2 * (len(first.body) + 48) + 48 >= 2000)
    many = PackBuilder(samples.LINEAGE, samples.PUBLIC_KEY, meta=False)
    while not many.full:
        many.add(second)
    assert many.slots == PACK_MAX_SLOTS
    with pytest.raises(ValueError, match="no slot left"):
        many.add(second)
    body = bytes(many.seal().body)
    assert len(scan_records(body)) == PACK_MAX_SLOTS
    assert len(open_pack_hashes(body, SECRET)) == PACK_MAX_SLOTS


def test_a_builder_is_used_once_for_one_type() -> None:
    builder = PackBuilder(samples.LINEAGE, samples.PUBLIC_KEY, meta=True)
    with pytest.raises(ValueError, match="not empty"):
        builder.seal()
    with pytest.raises(ValueError, match="packs of their own"):
        builder.add(samples.records(ChunkType.DATA)[0])
    builder.add(samples.records(ChunkType.META)[0])
    builder.seal()
    with pytest.raises(ValueError, match="sealed"):
        builder.add(samples.records(ChunkType.META)[0])
    with pytest.raises(ValueError, match="sealed"):
        builder.seal()


def test_the_hash_list_opens_for_the_repository_alone_and_must_match_the_table() -> None:
    records = samples.records()
    body = bytes(samples.pack(records).body)
    with pytest.raises(IntegrityError):
        open_pack_hashes(body, b"\x99" * 32)
    swapped = [records[0]._replace(h=records[1].h), *records[1:]]
    with pytest.raises(IntegrityError, match="does not match its table"):
        open_pack_hashes(bytes(samples.pack(swapped).body), SECRET)


def slot_twice(table: NDArray[np.void]) -> None:
    table["slot"][1] = 0


def slots_backwards(table: NDArray[np.void]) -> None:
    table["slot"] = [2, 1, 0]


def slot_out_of_bounds(table: NDArray[np.void]) -> None:
    table["slot"][2] = PACK_MAX_SLOTS


def overlap(table: NDArray[np.void]) -> None:
    table["offset"][1] -= 1


def outside(table: NDArray[np.void]) -> None:
    table["offset"][2] += 1 << 20


def over_long(table: NDArray[np.void]) -> None:
    table["stored_bytes"][2] = 0xFFFFFFFF


def over_large(table: NDArray[np.void]) -> None:
    table["raw_bytes"][1] = 1 << 30


def unknown_codec(table: NDArray[np.void]) -> None:
    table["codec"][0] = 2


def other_type(table: NDArray[np.void]) -> None:
    table["type"][0] = ChunkType.META


def raw_of_other_length(table: NDArray[np.void]) -> None:
    table["raw_bytes"][0] += 1


LIES = [
    slot_twice,
    slots_backwards,
    slot_out_of_bounds,
    overlap,
    outside,
    over_long,
    over_large,
    unknown_codec,
    other_type,
    raw_of_other_length,
]


def with_table(records: list[Record], change: Callable[[NDArray[np.void]], None]) -> bytes:
    """The pack with another table, all its hashes right: what a hostile agent can upload."""
    sealed = samples.pack(records)
    body = bytes(sealed.body)
    footer = parse_footer(body[-FOOTER_BYTES:])
    table = sealed.table.copy()
    change(table)
    table_hash = blake3(table.tobytes()).digest()
    hashes = seal_hashes([one.h for one in records], samples.LINEAGE, table_hash, samples.PUBLIC_KEY)
    footer = replace(footer, table_hash=table_hash, hashes_hash=blake3(hashes).digest(length=16))
    return body[: footer.table_offset] + table.tobytes() + hashes + encode_footer(footer)


@pytest.mark.parametrize("lie", LIES, ids=[lie.__name__ for lie in LIES])
def test_a_lying_table_is_refused(lie: Callable[[NDArray[np.void]], None]) -> None:
    body = with_table(samples.records(), lie)
    with pytest.raises(IntegrityError):
        parse_table(body, len(body))


def test_a_later_generation_may_have_gaps_between_slots() -> None:
    def gaps(table: NDArray[np.void]) -> None:
        table["slot"] = [4, 9, 700]

    body = with_table(samples.records(), gaps)
    table = parse_table(body, len(body))
    assert isinstance(table, np.ndarray)
    assert table["slot"].tolist() == [4, 9, 700]
