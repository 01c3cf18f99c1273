"""Records: what was sealed comes back, and nothing else ever does."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.repository.crypto.aead import seal_box
from seawall.repository.crypto.chunk import chunk_hash, chunk_id, chunk_key
from seawall.repository.errors import IntegrityError
from seawall.repository.format.record import (
    MAX_CHUNK_BYTES,
    ChunkType,
    Codec,
    SealedChunk,
    body_hash_of,
    open_record,
    open_records,
    seal_record,
    seal_records,
)

LINEAGE = b"l" * 16
K_DEDUP = b"k" * 32
PAYLOAD = b"seawall " * 1000
H = chunk_hash(K_DEDUP, PAYLOAD)


def forge(packed: bytes, codec: Codec, raw_bytes: int, h: bytes = H) -> bytes:
    """What a writer who knows `h` can seal: any bytes at all, under associated data of his choice."""
    aad = (1).to_bytes(2, "little") + bytes([ChunkType.DATA, codec]) + raw_bytes.to_bytes(4, "little")
    return seal_box(chunk_key(h), b"n" * 12, packed, aad + chunk_id(h) + LINEAGE)


def read(body: bytes | memoryview, codec: Codec = Codec.ZSTD, raw_bytes: int = len(PAYLOAD), h: bytes = H) -> bytes:
    return open_record(LINEAGE, K_DEDUP, h, ChunkType.DATA, codec, raw_bytes, body)


@settings(deadline=None)
@given(st.binary(max_size=3000), st.integers(0, 40), st.sampled_from(ChunkType), st.sampled_from([1, 3]))
def test_round_trip(part: bytes, repeats: int, kind: ChunkType, level: int) -> None:
    plaintext = part * repeats
    record = seal_record(LINEAGE, chunk_hash(K_DEDUP, plaintext), memoryview(plaintext), kind, level)
    assert record.raw_bytes == len(plaintext)
    assert record.chunk_id == chunk_id(record.h)
    assert open_record(LINEAGE, K_DEDUP, record.h, kind, record.codec, record.raw_bytes, record.body) == plaintext


def test_threads_share_nothing() -> None:
    """Compressors are not thread-safe: each thread has its own."""
    plaintexts = [bytes([number]) * 50_000 + PAYLOAD for number in range(64)]

    def there_and_back(plaintext: bytes) -> bytes:
        record = seal_record(LINEAGE, chunk_hash(K_DEDUP, plaintext), plaintext, ChunkType.DATA, 3)
        return read(record.body, record.codec, record.raw_bytes, record.h)

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(there_and_back, plaintexts)) == plaintexts


def test_compression_is_kept_only_where_it_gains() -> None:
    noise = chunk_key(b"x" * 32) * 1
    assert seal_record(LINEAGE, chunk_hash(K_DEDUP, noise), noise, ChunkType.DATA, 3).codec == Codec.RAW
    assert seal_record(LINEAGE, H, PAYLOAD, ChunkType.DATA, 3).codec == Codec.ZSTD


def test_two_seals_of_one_chunk_differ() -> None:
    one, two = (seal_record(LINEAGE, H, PAYLOAD, ChunkType.DATA, 3) for _ in range(2))
    assert (one.chunk_id, one.h) == (two.chunk_id, two.h)
    assert one.body != two.body


MANY = (PAYLOAD, b"", b"x", PAYLOAD * 3, bytes(range(256)) * 16, PAYLOAD)
"""Of both codecs: what is short or without repetition is kept raw."""


def test_many_records_open_one_by_one_and_together() -> None:
    chunks = [(chunk_hash(K_DEDUP, plain), plain) for plain in MANY]
    records = seal_records(LINEAGE, chunks, ChunkType.DATA, 3)
    assert {record.codec for record in records} == set(Codec)
    assert len({bytes(record.body[:12]) for record in records}) == len(records)
    for record, plain in zip(records, MANY, strict=True):
        assert record.body_hash == body_hash_of(record.body)
        assert (
            open_record(LINEAGE, K_DEDUP, record.h, record.type, record.codec, record.raw_bytes, record.body) == plain
        )
    sealed = [SealedChunk(record.h, record.codec, record.raw_bytes, record.body) for record in records]
    assert [bytes(plain) for plain in open_records(LINEAGE, K_DEDUP, ChunkType.DATA, sealed)] == list(MANY)
    assert open_records(LINEAGE, K_DEDUP, ChunkType.DATA, []) == []


BOMB = zstandard.ZstdCompressor(level=1).compress(bytes(64 * 1024 * 1024))


@pytest.mark.parametrize(
    ("content", "codec"),
    [
        (bytes(len(PAYLOAD)), Codec.RAW),
        (zstandard.compress(bytes(len(PAYLOAD))), Codec.ZSTD),
        (zstandard.compress(PAYLOAD + b"!"), Codec.ZSTD),
        (zstandard.compress(PAYLOAD)[:-1], Codec.ZSTD),
        (zstandard.ZstdCompressor(write_content_size=False).compress(PAYLOAD), Codec.ZSTD),
        (BOMB, Codec.ZSTD),
        (b"", Codec.ZSTD),
        (b"no frame at all", Codec.ZSTD),
    ],
    ids=["other bytes", "other bytes in a frame", "too long", "cut short", "no size", "bomb", "empty", "not zstd"],
)
def test_one_false_record_among_many_is_refused(content: bytes, codec: Codec) -> None:
    good = [(chunk_hash(K_DEDUP, plain), plain) for plain in MANY]
    sealed = [
        SealedChunk(record.h, record.codec, record.raw_bytes, record.body)
        for record in seal_records(LINEAGE, good, ChunkType.DATA, 3)
    ]
    false = SealedChunk(H, codec, len(PAYLOAD), forge(content, codec, len(PAYLOAD)))
    with pytest.raises(IntegrityError):
        open_records(LINEAGE, K_DEDUP, ChunkType.DATA, [*sealed[:3], false, *sealed[3:]])


def test_the_forger_of_these_tests_can_make_a_good_record() -> None:
    assert read(forge(zstandard.compress(PAYLOAD), Codec.ZSTD, len(PAYLOAD))) == PAYLOAD


@pytest.mark.parametrize(
    ("lineage", "k_dedup", "kind", "codec", "raw_bytes"),
    [
        (b"m" * 16, K_DEDUP, ChunkType.DATA, Codec.ZSTD, len(PAYLOAD)),
        (LINEAGE, b"j" * 32, ChunkType.DATA, Codec.ZSTD, len(PAYLOAD)),
        (LINEAGE, K_DEDUP, ChunkType.META, Codec.ZSTD, len(PAYLOAD)),
        (LINEAGE, K_DEDUP, ChunkType.DATA, Codec.RAW, len(PAYLOAD)),
        (LINEAGE, K_DEDUP, ChunkType.DATA, Codec.ZSTD, len(PAYLOAD) - 1),
    ],
    ids=["lineage", "dedup key", "type", "codec", "length"],
)
def test_a_record_opens_only_as_what_it_was_sealed_as(
    lineage: bytes, k_dedup: bytes, kind: ChunkType, codec: Codec, raw_bytes: int
) -> None:
    record = seal_record(LINEAGE, H, PAYLOAD, ChunkType.DATA, 3)
    assert record.codec == Codec.ZSTD
    with pytest.raises(IntegrityError):
        open_record(lineage, k_dedup, H, kind, codec, raw_bytes, record.body)


def test_a_record_of_another_chunk_is_refused() -> None:
    other = PAYLOAD + b"!"
    record = seal_record(LINEAGE, chunk_hash(K_DEDUP, other), other, ChunkType.DATA, 3)
    with pytest.raises(IntegrityError, match=chunk_id(H).hex()):
        read(record.body, raw_bytes=record.raw_bytes)


def test_rubbish_under_a_victims_id_is_refused() -> None:
    rubbish = bytes(len(PAYLOAD))
    with pytest.raises(IntegrityError, match="something else under this id"):
        read(forge(zstandard.compress(rubbish), Codec.ZSTD, len(rubbish)))
    with pytest.raises(IntegrityError, match="something else under this id"):
        read(forge(rubbish, Codec.RAW, len(rubbish)), Codec.RAW)


def test_a_bomb_is_refused_before_it_is_decompressed() -> None:
    bomb = zstandard.ZstdCompressor(level=1).compress(bytes(64 * 1024 * 1024))
    assert len(bomb) < 16 * 1024
    with pytest.raises(IntegrityError, match="its frame claims 67108864 bytes"):
        read(forge(bomb, Codec.ZSTD, len(PAYLOAD)))
    with pytest.raises(IntegrityError, match="over the maximum"):
        read(forge(bomb, Codec.ZSTD, 64 * 1024 * 1024), raw_bytes=64 * 1024 * 1024)


@pytest.mark.parametrize(
    "frame",
    [
        zstandard.ZstdCompressor(write_content_size=False).compress(PAYLOAD),
        zstandard.compress(PAYLOAD) + zstandard.compress(PAYLOAD),
        zstandard.compress(PAYLOAD)[:-1],
        b"",
        b"no frame at all",
    ],
    ids=["no size", "two frames", "cut short", "empty", "not zstd"],
)
def test_odd_frames_are_refused(frame: bytes) -> None:
    with pytest.raises(IntegrityError):
        read(forge(frame, Codec.ZSTD, len(PAYLOAD)))


def test_callers_mistakes_are_not_sealed() -> None:
    with pytest.raises(ValueError):
        seal_record(LINEAGE, H, bytes(MAX_CHUNK_BYTES + 1), ChunkType.DATA, 1)
    with pytest.raises(ValueError):
        seal_record(b"short", H, PAYLOAD, ChunkType.DATA, 1)
