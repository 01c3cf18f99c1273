"""Leaf pages: the chunks of one 64 MiB page of a disk, as columns (they compress better than rows). Layout in repository/DESIGN.md, "Leaf".

One page has one encoding, so that an unchanged page is an unchanged chunk: packs stand in order of first use, runs of zeroes are one entry.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seawall.repository.errors import IntegrityError
from seawall.repository.format.header import HEADER_BYTES, LEAF, check_header, encode_header
from seawall.repository.format.pack_layout import (
    FIRST_BODY_OFFSET,
    PACK_ID_BYTES,
    PACK_MAX_SLOTS,
    all_lengths_agree,
)
from seawall.repository.format.record import Codec

PAGE_BYTES = 64 * 1024 * 1024
MAX_ENTRIES = PAGE_BYTES // 4096

LEAF_ENTRY = np.dtype(
    [
        (
            "length",
            "<u4",
        ),  # bytes of the disk; a zero entry may cover many maximum-size zero chunks and the last, shorter one
        ("stored_bytes", "<u4"),
        ("offset", "<u4"),  # of the body in that generation of the pack
        ("pack", "<u2"),  # position in Leaf.packs
        ("slot", "<u2"),
        ("codec", "u1"),
        ("zero", "u1"),  # 1: reads as zeroes; all other fields but length are 0
        ("h", "V32"),
    ]
)

_COUNTS = struct.Struct("<II")
_PACK = np.dtype([("pack_id", "V16"), ("generation", "<u4")])
_COLUMNS = tuple(LEAF_ENTRY.names or ())
_NO_HASH = bytes(32)


@dataclass(frozen=True, slots=True)
class Leaf:
    """One page. Entries in disk order; their lengths add up to the page's length (the last page of a disk may be short)."""

    entries: NDArray[np.void]  # LEAF_ENTRY
    packs: tuple[tuple[bytes, int], ...]  # (pack id, generation)


def encode_leaf(leaf: Leaf) -> bytes:
    """The page as the body of a META chunk. Adjacent zero entries are merged and packs renumbered first.

    Raises ValueError when an entry could not be decoded again: the caller is wrong, nothing was damaged.
    """
    canonical = canonical_leaf(leaf)
    try:
        _check_leaf(canonical)
    except IntegrityError as error:
        raise ValueError(str(error)) from error
    packs = np.array(list(canonical.packs), dtype=_PACK)
    columns = [canonical.entries[name].tobytes() for name in _COLUMNS]
    counts = _COUNTS.pack(len(canonical.entries), len(packs))
    return b"".join([encode_header(LEAF), counts, packs.tobytes(), *columns])


def decode_leaf(body: bytes) -> Leaf:
    """Raises IntegrityError on anything but what encode_leaf writes; FormatUnsupported."""
    check_header(body, LEAF, "leaf page")
    packs_start = HEADER_BYTES + _COUNTS.size
    if len(body) < packs_start:
        raise IntegrityError("leaf page: cut short")
    entry_count, pack_count = _COUNTS.unpack_from(body, HEADER_BYTES)
    columns_start = packs_start + pack_count * _PACK.itemsize
    sound = pack_count <= entry_count <= MAX_ENTRIES
    if not sound or len(body) != columns_start + entry_count * LEAF_ENTRY.itemsize:
        raise IntegrityError("leaf page: its length is not that of its entries")
    packs = np.frombuffer(body, dtype=_PACK, count=pack_count, offset=packs_start)
    leaf = Leaf(_read_columns(body, columns_start, entry_count), _pack_tuples(packs))
    _check_leaf(leaf)
    return leaf


def canonical_leaf(leaf: Leaf) -> Leaf:
    """The one form of this page that is encoded: zero runs merged, packs in order of first use, unused and repeated packs gone."""
    entries = _merge_zero_runs(np.asarray(leaf.entries, dtype=LEAF_ENTRY))
    data = entries["zero"] == 0
    used = entries["pack"][data].astype(np.int64)
    if used.size and int(used.max()) >= len(leaf.packs):
        raise ValueError("an entry names a pack that the leaf does not list")
    values, first_use = np.unique(used, return_index=True)
    order: dict[tuple[bytes, int], int] = {}
    renumbered = np.zeros(len(leaf.packs), dtype=np.uint16)
    for position in values[np.argsort(first_use)].tolist():
        renumbered[position] = order.setdefault(leaf.packs[position], len(order))
    entries["pack"][data] = renumbered[used]
    return Leaf(entries, tuple(order))


def leaf_slots(leaf: Leaf) -> dict[bytes, NDArray[np.uint16]]:
    """The data slots that a page names: what its Child carries."""
    data = leaf.entries[leaf.entries["zero"] == 0]
    by_pack: dict[bytes, list[NDArray[np.uint16]]] = {}
    for position in np.unique(data["pack"]).tolist():
        by_pack.setdefault(leaf.packs[position][0], []).append(data["slot"][data["pack"] == position])
    return {pack_id: np.unique(np.concatenate(slots)).astype(np.uint16) for pack_id, slots in by_pack.items()}


def entry_offsets(leaf: Leaf) -> Sequence[int]:
    """Start of each entry within its page."""
    lengths = leaf.entries["length"].astype(np.int64)
    offsets: list[int] = (np.cumsum(lengths) - lengths).tolist()
    return offsets


def _merge_zero_runs(entries: NDArray[np.void]) -> NDArray[np.void]:
    zero = entries["zero"] == 1
    continues = np.zeros(len(entries), dtype=bool)
    continues[1:] = zero[1:] & zero[:-1]
    starts = np.flatnonzero(~continues)
    merged = entries[starts].copy()
    if len(starts):
        merged["length"] = np.add.reduceat(entries["length"].astype(np.int64), starts)
    return merged


def _read_columns(body: bytes, start: int, count: int) -> NDArray[np.void]:
    entries = np.empty(count, dtype=LEAF_ENTRY)
    for name in _COLUMNS:
        column = LEAF_ENTRY[name]
        entries[name] = np.frombuffer(body, dtype=column, count=count, offset=start)
        start += count * column.itemsize
    return entries


def _pack_tuples(packs: NDArray[np.void]) -> tuple[tuple[bytes, int], ...]:
    return tuple((row["pack_id"].tobytes(), int(row["generation"])) for row in packs)


def _check_leaf(leaf: Leaf) -> None:
    entries = leaf.entries
    lengths = entries["length"].astype(np.int64)
    if not 1 <= len(entries) <= MAX_ENTRIES or int(lengths.min()) < 1 or int(lengths.sum()) > PAGE_BYTES:
        raise IntegrityError("leaf page: the lengths of its entries are out of bounds")
    if int(entries["zero"].max()) > 1:
        raise IntegrityError("leaf page: an entry's zero mark is neither 0 nor 1")
    zero = entries["zero"] == 1
    if bool(np.any(zero[1:] & zero[:-1])):
        raise IntegrityError("leaf page: a run of zeroes is not one entry")
    _check_zero_entries(entries[zero])
    _check_data_entries(entries[~zero])
    _check_places(entries[~zero])
    _check_packs(entries[~zero], leaf.packs)


def _check_zero_entries(entries: NDArray[np.void]) -> None:
    for name in ("stored_bytes", "offset", "pack", "slot", "codec"):
        if bool(np.any(entries[name])):
            raise IntegrityError("leaf page: a zero entry names a chunk")
    if any(h.tobytes() != _NO_HASH for h in entries["h"]):
        raise IntegrityError("leaf page: a zero entry names a chunk")


def _check_data_entries(entries: NDArray[np.void]) -> None:
    ends = entries["offset"].astype(np.int64) + entries["stored_bytes"]
    sound = (
        all_lengths_agree(entries, "length")
        & (entries["codec"] <= Codec.ZSTD)
        & (entries["offset"] >= FIRST_BODY_OFFSET)
        & (entries["slot"] < PACK_MAX_SLOTS)
        & (ends < 1 << 32)
    )
    if not bool(np.all(sound)):
        raise IntegrityError("leaf page: an entry's lengths, offset, slot or codec are out of bounds")


def _check_places(entries: NDArray[np.void]) -> None:
    """Entries that share a place in a pack are the same chunk: a reader fetches and proves each place once."""
    for field in ("offset", "slot"):
        place = (entries["pack"].astype(np.int64) << 32) | entries[field]
        order = np.argsort(place, kind="stable")
        rows = np.ascontiguousarray(entries[order]).view(np.uint8).reshape(len(entries), LEAF_ENTRY.itemsize)
        shared = np.diff(place[order]) == 0
        if bool(np.any(rows[1:][shared] != rows[:-1][shared])):
            raise IntegrityError("leaf page: two entries name one place of a pack for different chunks")


def _check_packs(entries: NDArray[np.void], packs: tuple[tuple[bytes, int], ...]) -> None:
    """Each pack is listed once, used, and stands in order of first use."""
    values, first_use = np.unique(entries["pack"], return_index=True)
    if values.tolist() != list(range(len(packs))) or not bool(np.all(np.diff(first_use) > 0)):
        raise IntegrityError("leaf page: its packs are not those that its entries use, in order of first use")
    well_formed = all(len(pack_id) == PACK_ID_BYTES and 0 <= generation < 1 << 32 for pack_id, generation in packs)
    if len(set(packs)) != len(packs) or not well_formed:
        raise IntegrityError("leaf page: a pack is listed twice or malformed")
