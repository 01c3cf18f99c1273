"""Refmaps: the packs and slots that a point needs, data and meta. Not secret; what collection reads instead of manifests."""

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray


class Refmap:
    """A union of slots by pack."""

    def __init__(self) -> None:
        raise NotImplementedError

    def add(self, pack_id: bytes, slots: NDArray[np.uint16] | Iterable[int]) -> None: ...

    def slots(self) -> Mapping[bytes, NDArray[np.uint16]]:
        """Pack id -> sorted slots."""
        raise NotImplementedError

    def encode(self, tenant: str) -> bytes:
        """The object: header, packs sorted by id with their slot bitmaps, BLAKE3 of all before it. One set has one encoding."""
        raise NotImplementedError


def decode_refmap(body: bytes) -> tuple[str, Refmap]:
    """(tenant, refmap). Raises RefmapInvalid, FormatUnsupported."""
    raise NotImplementedError
