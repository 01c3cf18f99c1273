"""Packs: many records in one object. Layout in repository/DESIGN.md, "Pack".

header | (record header | body)* | table of contents | sealed list of h | footer
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seawall.repository.format.record import Record

PACK_TARGET_BYTES = 32 * 1024 * 1024
PACK_MAX_SLOTS = 16_384

TABLE_ENTRY = np.dtype(
    [
        ("chunk_id", "V16"),
        ("offset", "<u4"),
        ("stored_bytes", "<u4"),
        ("raw_bytes", "<u4"),
        ("slot", "<u2"),
        ("codec", "u1"),
        ("type", "u1"),
        ("body_hash", "V16"),  # BLAKE3 of the body
    ]
)


@dataclass(frozen=True, slots=True)
class SealedPack:
    """A closed pack: its id is the BLAKE3 of its bytes, 16 bytes."""

    pack_id: bytes
    body: bytes | bytearray
    md5: bytes
    table: NDArray[np.void]  # TABLE_ENTRY
    meta: bool


class PackBuilder:
    """Collects records until full. Not thread-safe: one owner. A builder is used once."""

    def __init__(
        self, lineage_id: bytes, repository_public_key: bytes, *, meta: bool, target_bytes: int = PACK_TARGET_BYTES
    ) -> None:
        raise NotImplementedError

    def add(self, record: Record) -> tuple[int, int]:
        """Append; returns (slot, offset of the body within the pack)."""
        raise NotImplementedError

    @property
    def full(self) -> bool:
        """Reached the target size or the slot limit: seal it now."""
        raise NotImplementedError

    @property
    def slots(self) -> int:
        raise NotImplementedError

    def seal(self) -> SealedPack:
        raise NotImplementedError


FOOTER_BYTES = 0  # fixed; set by the format


def parse_table(tail: bytes, pack_bytes: int) -> NDArray[np.void] | int:
    """The table of contents from the pack's last bytes, its BLAKE3 checked; or the number of last bytes that it takes to read it.

    Raises IntegrityError (wrong magic, hash, slot twice, offsets outside the pack), FormatUnsupported.
    """
    raise NotImplementedError
