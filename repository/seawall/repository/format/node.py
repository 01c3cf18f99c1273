"""Inner nodes: 256 consecutive pages of a disk, each with the chunk it is stored in and the data slots below it.

The slots stand here so that a refmap is a union over nodes and nobody decodes every leaf. Layout in repository/DESIGN.md, "Inner node".
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from seawall.repository.crypto.chunk import HASH_BYTES
from seawall.repository.errors import IntegrityError
from seawall.repository.format.header import HEADER_BYTES, NODE, check_header, encode_header
from seawall.repository.format.leaf import MAX_ENTRIES
from seawall.repository.format.pack_layout import FIRST_BODY_OFFSET, PACK_ID_BYTES, PACK_MAX_SLOTS, lengths_agree
from seawall.repository.format.record import MAX_CHUNK_BYTES, Codec, Locator
from seawall.repository.format.slot_set import decode_slot_set, encode_slot_set, slot_array

PAGES_PER_NODE = 256


@dataclass(frozen=True, slots=True)
class Child:
    """A page in its inner node, or an inner node in the root: the sealed META chunk it is stored in, and the data slots below it.

    `chunk is None` = reads as zeroes entirely; then `slots` is empty.
    """

    h: bytes
    chunk: Locator | None
    slots: Mapping[bytes, NDArray[np.uint16]] = field(default_factory=dict, metadata={"json": False})
    """Data pack id -> sorted slots used by the page; empty in the root's children."""


ZERO_CHILD = Child(b"", None, {})


@dataclass(frozen=True, slots=True)
class InnerNode:
    """PAGES_PER_NODE consecutive pages (fewer at the end of the disk)."""

    children: tuple[Child, ...]


_COUNTS = struct.Struct("<III")  # children, packs, bytes of slot lists
_LIST_PACK = struct.Struct("<I")
_CHILD = np.dtype(
    [
        ("h", "V32"),
        ("pack_id", "V16"),
        ("generation", "<u4"),
        ("offset", "<u4"),
        ("stored_bytes", "<u4"),
        ("raw_bytes", "<u4"),
        ("slot", "<u2"),
        ("codec", "u1"),
        ("present", "u1"),  # 0: all zeroes, all other fields are 0
        ("lists", "<u4"),  # slot lists of this child
    ]
)


def encode_node(node: InnerNode) -> bytes:
    """The node as the body of a META chunk. Raises ValueError when it could not be decoded again."""
    packs = sorted({pack_id for child in node.children for pack_id in child.slots})
    positions = {pack_id: position for position, pack_id in enumerate(packs)}
    children = np.array([_child_row(child) for child in node.children], dtype=_CHILD)
    lists = b"".join(_encode_lists(child, positions) for child in node.children)
    counts = _COUNTS.pack(len(children), len(packs), len(lists))
    body = b"".join([encode_header(NODE), counts, *packs, children.tobytes(), lists])
    try:
        decode_node(body)
    except IntegrityError as error:
        raise ValueError(str(error)) from error
    return body


def decode_node(body: bytes) -> InnerNode:
    """Raises IntegrityError on anything but what encode_node writes; FormatUnsupported."""
    check_header(body, NODE, "inner node")
    packs_start = HEADER_BYTES + _COUNTS.size
    if len(body) < packs_start:
        raise IntegrityError("inner node: cut short")
    child_count, pack_count, lists_bytes = _COUNTS.unpack_from(body, HEADER_BYTES)
    children_start = packs_start + pack_count * PACK_ID_BYTES
    lists_start = children_start + child_count * _CHILD.itemsize
    if not 1 <= child_count <= PAGES_PER_NODE or len(body) != lists_start + lists_bytes:
        raise IntegrityError("inner node: its length is not that of its children")
    starts = range(packs_start, children_start, PACK_ID_BYTES)
    packs = [body[start : start + PACK_ID_BYTES] for start in starts]
    rows = np.frombuffer(body, dtype=_CHILD, count=child_count, offset=children_start)
    return InnerNode(_read_children(body, rows, packs, lists_start))


def locator_is_sound(chunk: Locator) -> bool:
    """Whether a record body can lie there."""
    return (
        len(chunk.pack_id) == PACK_ID_BYTES
        and 0 <= chunk.generation < 1 << 32
        and 0 <= chunk.slot < PACK_MAX_SLOTS
        and FIRST_BODY_OFFSET <= chunk.offset < (1 << 32) - chunk.stored_bytes
        and 0 <= chunk.raw_bytes <= MAX_CHUNK_BYTES
        and lengths_agree(chunk.codec, chunk.raw_bytes, chunk.stored_bytes)
    )


def child_is_sound(child: Child) -> bool:
    """Whether hash, chunk and slots belong together: all of them, or none for zeroes."""
    if child.chunk is None:
        return child.h == b"" and not child.slots
    return len(child.h) == HASH_BYTES and locator_is_sound(child.chunk)


def _child_row(child: Child) -> tuple[bytes, bytes, int, int, int, int, int, int, int, int]:
    if not child_is_sound(child):
        raise ValueError("a child's hash, chunk and slots do not belong together")
    chunk = child.chunk
    if chunk is None:
        return bytes(HASH_BYTES), bytes(PACK_ID_BYTES), 0, 0, 0, 0, 0, 0, 0, 0
    lengths = (chunk.generation, chunk.offset, chunk.stored_bytes, chunk.raw_bytes)
    return (child.h, chunk.pack_id, *lengths, chunk.slot, chunk.codec, 1, len(child.slots))


def _encode_lists(child: Child, positions: Mapping[bytes, int]) -> bytes:
    lists = [
        _LIST_PACK.pack(positions[pack_id]) + encode_slot_set(_not_empty(slot_array(child.slots[pack_id])))
        for pack_id in sorted(child.slots)
    ]
    return b"".join(lists)


def _not_empty(slots: NDArray[np.uint16]) -> NDArray[np.uint16]:
    if not len(slots):
        raise ValueError("a child names a pack without a slot")
    return slots


def _read_children(body: bytes, rows: NDArray[np.void], packs: Sequence[bytes], lists_start: int) -> tuple[Child, ...]:
    children: list[Child] = []
    used: set[bytes] = set()
    offset = lists_start
    for row in rows:
        slots, offset = _read_lists(body, offset, int(row["lists"]), packs)
        used.update(slots)
        children.append(_read_child(row, slots))
    if offset != len(body):
        raise IntegrityError("inner node: bytes behind its slot lists")
    if list(packs) != sorted(used):
        raise IntegrityError("inner node: its packs are not those that its children use, sorted")
    return tuple(children)


def _read_lists(
    body: bytes, offset: int, count: int, packs: Sequence[bytes]
) -> tuple[dict[bytes, NDArray[np.uint16]], int]:
    slots: dict[bytes, NDArray[np.uint16]] = {}
    previous, total = -1, 0
    for _ in range(count):
        if len(body) < offset + _LIST_PACK.size:
            raise IntegrityError("inner node: cut short in its slot lists")
        (position,) = _LIST_PACK.unpack_from(body, offset)
        if not previous < position < len(packs):
            raise IntegrityError("inner node: a slot list names no pack of the node, or one out of order")
        slots[packs[position]], offset = decode_slot_set(body, offset + _LIST_PACK.size)
        total += len(slots[packs[position]])
        if total > MAX_ENTRIES:  # a range of 11 bytes becomes 32 KiB: without this a small node fills the memory
            raise IntegrityError("inner node: a page uses more slots than it has blocks")
        previous = position
    return slots, offset


def _read_child(row: np.void, slots: Mapping[bytes, NDArray[np.uint16]]) -> Child:
    if int(row["present"]) == 0:
        if any(row.tobytes()):
            raise IntegrityError("inner node: a page of zeroes names a chunk")
        return ZERO_CHILD
    if int(row["present"]) != 1 or int(row["codec"]) > Codec.ZSTD:
        raise IntegrityError("inner node: a child's kind or codec is unknown")
    chunk = Locator(
        pack_id=row["pack_id"].tobytes(),
        generation=int(row["generation"]),
        slot=int(row["slot"]),
        offset=int(row["offset"]),
        stored_bytes=int(row["stored_bytes"]),
        raw_bytes=int(row["raw_bytes"]),
        codec=Codec(int(row["codec"])),
    )
    child = Child(row["h"].tobytes(), chunk, slots)
    if not child_is_sound(child):
        raise IntegrityError("inner node: a child's chunk is out of bounds")
    return child
