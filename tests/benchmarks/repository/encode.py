"""Unique data on its way into packs, beside zstd alone: level 3, two threads, the same minute, the same bytes, in two ways.

As `zstd -3 -T2` does it, the bytes in a row: that is the figure, as anybody can measure it on his machine. And chunk by chunk, as a
deduplicating store must (a context that is used again, tables that fit the chunk): a harder bound, given beside it.

Ours does everything but storing: reads (from memory), cuts, hashes, looks up (nothing is known), compresses, encrypts, makes packs and
their hashes, pages, root and refmap.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import zstandard
from blake3 import blake3

from seawall.repository.chunking.grid import Grid, folds_of
from seawall.repository.format.manifest import PAGE_BYTES
from seawall.repository.writing.facts import HOW_FULL, WriteSettings

from .alternating import Pair, in_turn, plain, speedup, spent
from .encode_floor import floor_of
from .image_data import MIB, Bytes, read_spread
from .pipeline_ends import ArraySource, Nowhere, write

ROUNDS = 5
_LENGTH = 768 * MIB
_PARTS = 12
_THREADS = 2
_LEVEL = 3


def measure(dense: Path, settings: WriteSettings) -> tuple[float, dict[str, Any]]:
    """(encode / zstd's rate, what was run)."""
    data = read_spread(dense, _LENGTH, _PARTS)
    chunks = unique_chunks(data, settings)
    joined = b"".join(chunks)

    def beside(zstd_alone: Callable[[], None]) -> list[Pair]:
        ours = partial(write, ArraySource(data), HOW_FULL, settings, Nowhere(), 1)
        return in_turn(lambda: spent(ours), lambda: spent(zstd_alone), ROUNDS)

    whole = _rates(beside(lambda: compress_whole(joined)), len(joined))
    return whole["wall_ratio"], {
        "data_mib": len(data) // MIB,
        "unique_mib": len(joined) // MIB,
        "chunks": len(chunks),
        **whole,
        "chunk_by_chunk": _rates(beside(lambda: compress(chunks)), len(joined)),
        "floor": floor_of(data, chunks, settings),
    }


def _rates(pairs: Sequence[Pair], unique_bytes: int) -> dict[str, Any]:
    wall, cpu = speedup(pairs)
    return {
        "wall_ratio": round(wall, 3),
        "cpu_ratio": round(cpu, 3),
        "encode_mb_per_s": round(unique_bytes / 1e6 / min(pair.ours.wall_seconds for pair in pairs)),
        "zstd_mb_per_s": round(unique_bytes / 1e6 / min(pair.theirs.wall_seconds for pair in pairs)),
        "rounds_ours_zstd": plain(pairs),
    }


def unique_chunks(data: Bytes, settings: WriteSettings) -> list[memoryview]:
    """The chunks that the pipeline stores: each content once, none of zeroes."""
    grid = Grid(settings.cut_key, settings.chunk_nominal_bytes)
    found: dict[bytes, memoryview] = {}
    for start in range(0, len(data), PAGE_BYTES):
        page = data[start : start + PAGE_BYTES]
        at = 0
        for cut in grid.cuts(grid.boundaries(folds_of(page)), len(page)):
            if page[at:cut].any():
                chunk = memoryview(page[at:cut])  # type: ignore[arg-type]
                found.setdefault(blake3(chunk).digest(), chunk)
            at = cut
    return list(found.values())


def compress(chunks: Sequence[memoryview]) -> None:
    """zstd alone, chunk by chunk. Each thread takes every second chunk; its compressor is used again, as zstd's manual advises."""

    def run(first: int) -> None:
        compressor = zstandard.ZstdCompressor(level=_LEVEL)
        for chunk in chunks[first::_THREADS]:
            compressor.compress(chunk)

    with ThreadPoolExecutor(_THREADS) as threads:
        list(threads.map(run, range(_THREADS)))


def compress_whole(data: bytes) -> None:
    """What `zstd -3 -T2` does with a file of these bytes, but for reading and writing it."""
    zstandard.ZstdCompressor(level=_LEVEL, threads=_THREADS).compress(data)
