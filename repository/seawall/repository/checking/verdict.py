"""What the bytes of a pack are worth. Pure: bytes in, verdict out; each byte may be damaged, or a hostile writer's.

Every chunk is decrypted, decompressed and hashed again with the `h` that its writer sealed for us. Where table, list or footer are
damaged, the records are found by their own headers. What cannot be proven counts as bad.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from seawall.repository.checking.dedup_keys import DedupKeys
from seawall.repository.checking.finding import Reason
from seawall.repository.crypto.chunk import chunk_id
from seawall.repository.errors import FormatUnsupported, IntegrityError
from seawall.repository.format.pack import pack_id_of
from seawall.repository.format.pack_hashes import unseal_hashes
from seawall.repository.format.pack_layout import (
    BODY_HASH_BYTES,
    FOOTER_BYTES,
    PACK_MAX_SLOTS,
    RECORD_HEADER_BYTES,
    TABLE_ENTRY,
    hashes_bytes_of,
    parse_footer,
    parse_pack_header,
    parse_record_header,
    record_check_holds,
)
from seawall.repository.format.pack_scan import scan_records
from seawall.repository.format.pack_table import parse_tail
from seawall.repository.format.record import ChunkType, Codec
from seawall.repository.format.slot_set import NO_SLOTS, SlotSet


@dataclass(frozen=True, slots=True)
class Opener:
    """What it takes to open the packs of a tenant."""

    lineage_id: bytes
    secret_key: bytes
    keys: DedupKeys


@dataclass(frozen=True, slots=True)
class CopyVerdict:
    """One object of a pack. `reason` None: whole, and `table` is its table. `proven`: slots whose chunk was opened and hashed again."""

    reason: Reason | None
    sentence: str
    proven: SlotSet = NO_SLOTS
    table: NDArray[np.void] | None = None


def judge(body: bytes, bytes_hash: bytes | None, meta: bool, opener: Opener) -> CopyVerdict:
    """One generation. `bytes_hash`: what its bytes hash to, the pack's id of the first; None: nobody knows."""
    as_written = bytes_hash is None or pack_id_of(body) == bytes_hash
    try:
        return _judge(body, bytes_hash, meta, opener, as_written=as_written)
    except FormatUnsupported as error:
        if as_written and bytes_hash is not None:
            return CopyVerdict(Reason.NEEDS_UPGRADE, str(error))
        # Not what was written: another version in it is damage like any other.
        return CopyVerdict(Reason.PACK_DAMAGED, f"it cannot be read: {error}")


def _judge(body: bytes, bytes_hash: bytes | None, meta: bool, opener: Opener, *, as_written: bool) -> CopyVerdict:
    try:
        table, hashes = _sound_end(body, opener)
    except IntegrityError as error:
        return _salvaged(body, opener, str(error))
    except FormatUnsupported as error:
        if as_written:
            raise
        return _salvaged(body, opener, str(error))
    if bool(table["type"][0]) != meta:
        return CopyVerdict(Reason.PACK_FOREIGN, "it holds chunks of the other kind: another pack's bytes lie here")
    view = memoryview(body)
    proven, flawed_headers = [], 0
    for row, h in zip(table, hashes, strict=True):
        if _opens(view, row, h, opener):
            proven.append(int(row["slot"]))
        flawed_headers += not _header_stands(view, row)
    slots = SlotSet.of(proven)
    if len(slots) == len(table) and not flawed_headers and _front_stands(body, meta, opener):
        if not as_written:  # whole, but for another name
            return CopyVerdict(Reason.PACK_FOREIGN, "it holds another pack's bytes")
        return CopyVerdict(None, "", slots, table)
    return _incomplete(slots, len(table), as_written and bytes_hash is not None, opener)


def _sound_end(body: bytes, opener: Opener) -> tuple[NDArray[np.void], list[bytes]]:
    """(table, hashes in table order). Raises IntegrityError."""
    tail = parse_tail(body, len(body))
    if isinstance(tail, int):
        raise IntegrityError("pack: cut short in its table of contents")
    if tail.footer.lineage_id != opener.lineage_id:
        raise IntegrityError("a pack of another repository")
    hashes = unseal_hashes(tail.sealed_hashes, opener.lineage_id, tail.footer.table_hash, opener.secret_key)
    if [identity.tobytes() for identity in tail.table["chunk_id"]] != [chunk_id(h) for h in hashes]:
        raise IntegrityError("pack: its list of hashes does not match its table of contents")
    return tail.table, hashes


def _opens(view: memoryview, row: np.void, h: bytes, opener: Opener) -> bool:
    start = int(row["offset"])
    body = view[start : start + int(row["stored_bytes"])]
    if blake3(body).digest(length=BODY_HASH_BYTES) != row["body_hash"].tobytes():
        return False
    kind, codec = ChunkType(int(row["type"])), Codec(int(row["codec"]))
    return opener.keys.opens(opener.lineage_id, h, kind, codec, int(row["raw_bytes"]), body)


def _header_stands(view: memoryview, row: np.void) -> bool:
    """The record's own header, by which it is found when the table is lost."""
    at = int(row["offset"]) - RECORD_HEADER_BYTES
    header = parse_record_header(view, at)
    if header is None or (header.slot, header.chunk_id) != (int(row["slot"]), row["chunk_id"].tobytes()):
        return False
    return record_check_holds(view, at, row["body_hash"].tobytes())


def _front_stands(body: bytes, meta: bool, opener: Opener) -> bool:
    try:
        return parse_pack_header(body) == (opener.lineage_id, meta)
    except (IntegrityError, FormatUnsupported):
        return False


def _incomplete(proven: SlotSet, slots: int, as_written: bool, opener: Opener) -> CopyVerdict:
    lost = slots - len(proven)
    if not lost:
        return CopyVerdict(Reason.PACK_DAMAGED, "headers in it are altered; all its chunks can be read", proven)
    if opener.keys.lacking:
        why = f"{lost} of its {slots} chunks cannot be proven: {opener.keys.lacking[0]}"
        return CopyVerdict(Reason.KEYS_MISSING, why, proven)
    if as_written:
        return CopyVerdict(
            Reason.CHUNKS_FALSE, f"{lost} of its {slots} chunks are not what their writer said, and were never", proven
        )
    return CopyVerdict(Reason.CHUNKS_DAMAGED, f"{lost} of its {slots} chunks are altered", proven)


def _salvaged(body: bytes, opener: Opener, why: str) -> CopyVerdict:
    """Its end is damaged: chunks are looked for by their headers and proven by what is left of the list of hashes."""
    try:
        rows = scan_records(body)
    except IntegrityError as error:
        return CopyVerdict(Reason.PACK_DAMAGED, f"neither its end nor its beginning can be read: {why}; {error}")
    hashes = _left_of_hashes(body, rows, opener)
    if not hashes:
        return CopyVerdict(Reason.PACK_DAMAGED, f"its chunks cannot be proven: {why}")
    view = memoryview(body)
    proven = [
        int(row["slot"])
        for row in rows
        if row["chunk_id"].tobytes() in hashes and _opens(view, row, hashes[row["chunk_id"].tobytes()], opener)
    ]
    sentence = f"its end is damaged ({why}); {len(proven)} chunks were found and proven all the same"
    return CopyVerdict(Reason.PACK_DAMAGED, sentence, SlotSet.of(proven))


def _left_of_hashes(body: bytes, rows: NDArray[np.void], opener: Opener) -> Mapping[bytes, bytes]:
    """Chunk id -> h, from the sealed list, found with or without the footer. Empty where it is lost too."""
    for table_hash, sealed in (*_by_footer(body), *_by_records(body, rows)):
        try:
            hashes = unseal_hashes(sealed, opener.lineage_id, table_hash, opener.secret_key)
        except IntegrityError:
            continue
        return {chunk_id(h): h for h in hashes}
    return {}


def _by_footer(body: bytes) -> list[tuple[bytes, bytes]]:
    try:
        footer = parse_footer(body[-FOOTER_BYTES:])
    except (IntegrityError, FormatUnsupported):
        return []
    end = len(body) - FOOTER_BYTES
    return [(footer.table_hash, body[max(0, end - footer.hashes_bytes) : end])]


def _by_records(body: bytes, rows: NDArray[np.void]) -> list[tuple[bytes, bytes]]:
    """Behind the last record come table and list, whose lengths follow from the number of slots."""
    if not len(rows):
        return []
    start = int(rows["offset"].max()) + int(rows["stored_bytes"][int(rows["offset"].argmax())])
    slots, rest = divmod(len(body) - start - FOOTER_BYTES - hashes_bytes_of(0), TABLE_ENTRY.itemsize + 32)
    if rest or not 0 < slots <= PACK_MAX_SLOTS:
        return []
    behind_table = start + slots * TABLE_ENTRY.itemsize
    table_hash = blake3(body[start:behind_table]).digest()
    return [(table_hash, body[behind_table : behind_table + hashes_bytes_of(slots)])]
