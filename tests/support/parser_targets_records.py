"""Targets: record bodies, alone and in runs."""

import zstandard

from seawall.repository.crypto.aead import seal_box
from seawall.repository.crypto.chunk import chunk_id, chunk_key
from seawall.repository.errors import IntegrityError
from seawall.repository.format.record import ChunkType, Codec, SealedChunk, open_record, open_records
from support import format_samples as samples
from support.parser_target import GOLDEN, Target, only_seed


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


RECORDS: dict[str, Target] = {
    "record": Target((GOLDEN["record_zstd_body"],), only_seed(_record, GOLDEN["record_zstd_body"]), (IntegrityError,)),
    "record, sealed": Target((_golden_frame(),), _inner_frame, (IntegrityError,)),
    "records of a run, sealed": Target((_golden_frame(),), _inner_run, (IntegrityError,)),
}
