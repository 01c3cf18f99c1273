"""Refmaps: the packs and slots that a point needs, data and meta. Not secret; what collection reads instead of manifests.

header | tenant length u16 | tenant | pack count u32 | (pack id (16) | slot set)*, sorted by id | BLAKE3 of all before it (32)
"""

import struct
from collections.abc import Iterable, Mapping

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from seawall.repository.errors import IntegrityError, RefmapInvalid
from seawall.repository.format.altered import told_apart
from seawall.repository.format.header import HEADER_BYTES, REFMAP, check_header, encode_header
from seawall.repository.format.names import check_tenant
from seawall.repository.format.pack_layout import PACK_ID_BYTES
from seawall.repository.format.slot_set import decode_slot_set, encode_slot_set, slot_array

_TENANT_LENGTH = struct.Struct("<H")
_PACK_COUNT = struct.Struct("<I")
_HASH_BYTES = 32

MAX_POINT_SLOTS = 1 << 27
"""Slots of one point, data and meta: 256 MiB decoded, a point of 9 TB at 64 KiB a chunk. A hostile refmap of some KiB could name more."""


class Refmap:
    """A union of slots by pack. Not thread-safe while it is added to."""

    def __init__(self) -> None:
        self._parts: dict[bytes, list[NDArray[np.uint16]]] = {}

    def add(self, pack_id: bytes, slots: NDArray[np.uint16] | Iterable[int]) -> None:
        """Raises ValueError when the id is no pack id or a slot is out of bounds."""
        if len(pack_id) != PACK_ID_BYTES:
            raise ValueError(f"a pack id has {PACK_ID_BYTES} bytes, not {len(pack_id)}")
        part = slot_array(slots)
        if len(part):
            self._parts.setdefault(bytes(pack_id), []).append(part)

    def slots(self) -> Mapping[bytes, NDArray[np.uint16]]:
        """Pack id -> sorted slots, in order of pack id."""
        for pack_id, parts in self._parts.items():
            if len(parts) > 1:
                self._parts[pack_id] = [np.unique(np.concatenate(parts))]
        return {pack_id: self._parts[pack_id][0] for pack_id in sorted(self._parts)}

    def encode(self, tenant: str) -> bytes:
        """The object: header, packs sorted by id with their slot bitmaps, BLAKE3 of all before it. One set has one encoding.

        Raises ValueError on a malformed tenant, or over MAX_POINT_SLOTS: the disks want larger chunks.
        """
        name = check_tenant(tenant).encode("ascii")
        packs = self.slots()
        if sum(len(slots) for slots in packs.values()) > MAX_POINT_SLOTS:
            raise ValueError(f"a point of more than {MAX_POINT_SLOTS} chunks: use larger chunks")
        parts = [encode_header(REFMAP), _TENANT_LENGTH.pack(len(name)), name, _PACK_COUNT.pack(len(packs))]
        for pack_id, slots in packs.items():
            parts += [pack_id, encode_slot_set(slots)]
        body = b"".join(parts)
        return body + blake3(body).digest()


def decode_refmap(body: bytes) -> tuple[str, Refmap]:
    """(tenant, refmap). Raises RefmapInvalid, FormatUnsupported."""
    try:
        return told_apart(_decode, body, "its header")
    except (IntegrityError, UnicodeDecodeError, ValueError, struct.error) as error:
        raise RefmapInvalid(f"refmap: {error}") from error


def _decode(body: bytes) -> tuple[str, Refmap]:
    check_header(body, REFMAP, "refmap")
    content = body[:-_HASH_BYTES]
    if len(content) < HEADER_BYTES or blake3(content).digest() != body[-_HASH_BYTES:]:
        raise IntegrityError("cut short or altered: its own hash does not hold")
    (length,) = _TENANT_LENGTH.unpack_from(content, HEADER_BYTES)
    start = HEADER_BYTES + _TENANT_LENGTH.size
    tenant = check_tenant(content[start : start + length].decode("ascii"))
    (count,) = _PACK_COUNT.unpack_from(content, start + length)
    offset = start + length + _PACK_COUNT.size
    refmap, previous, total = Refmap(), b"", 0
    for _ in range(count):
        pack_id = content[offset : offset + PACK_ID_BYTES]
        if pack_id <= previous:
            raise IntegrityError("its packs are not sorted, or one stands twice")
        slots, offset = decode_slot_set(content, offset + PACK_ID_BYTES)
        total += len(slots)
        if total > MAX_POINT_SLOTS:
            raise IntegrityError(f"it names more than {MAX_POINT_SLOTS} slots")
        refmap.add(pack_id, slots)
        previous = pack_id
    if offset != len(content):
        raise IntegrityError("bytes behind its last pack")
    return tenant, refmap
