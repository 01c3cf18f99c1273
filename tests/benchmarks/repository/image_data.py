"""The bytes that are measured: what a disk image of `make bench` has allocated, without its holes."""

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from seawall.repository.blocks import data_ranges
from seawall.repository.chunking.grid import BLOCK_BYTES

MIB = 1 << 20
_PIECE_BYTES = 4 * MIB

Bytes = NDArray[np.uint8]


def make_dense(image: Path, target: Path, limit_bytes: int | None = None) -> None:
    """A file of the image's allocated blocks, one behind the other: nothing of it is a hole, whatever a tool does with holes."""
    left = limit_bytes if limit_bytes is not None else 1 << 62
    with image.open("rb", buffering=0) as source, target.open("wb", buffering=0) as sink:
        for offset, length in data_ranges(source.fileno(), 0, image.stat().st_size):
            start = -(-offset // BLOCK_BYTES) * BLOCK_BYTES
            end = start + min(left, (offset + length - start) // BLOCK_BYTES * BLOCK_BYTES)
            for at in range(start, end, _PIECE_BYTES):
                sink.write(os.pread(source.fileno(), min(_PIECE_BYTES, end - at), at))
            left -= max(0, end - start)
        sink.flush()
        os.fsync(sink.fileno())


def read_spread(path: Path, length: int, parts: int) -> Bytes:
    """`length` bytes in memory: that many equal parts, evenly spread over the file, whole blocks each."""
    part = length // parts // BLOCK_BYTES * BLOCK_BYTES
    size = path.stat().st_size
    data = np.empty(part * parts, dtype=np.uint8)
    with path.open("rb", buffering=0) as file:
        for number in range(parts):
            place = (size - part) * number // max(1, parts - 1) // BLOCK_BYTES * BLOCK_BYTES
            os.preadv(file.fileno(), [memoryview(data)[number * part : (number + 1) * part]], place)  # type: ignore[arg-type]
    return data
