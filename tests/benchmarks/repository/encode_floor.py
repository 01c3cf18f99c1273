"""What encoding cannot do without, each step alone on one thread: the bound of `encode_vs_zstd_limit`, whatever the pipeline does."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import zstandard
from blake3 import blake3

from seawall.repository.chunking.grid import folds_of
from seawall.repository.crypto.aead import new_nonce, seal_box
from seawall.repository.crypto.chunk import chunk_hash, chunk_key
from seawall.repository.format.compression import frames_of
from seawall.repository.format.record import body_hash_of
from seawall.repository.store.signed_headers import md5_of
from seawall.repository.writing.facts import WriteSettings

from .image_data import MIB, Bytes

_PIECE_BYTES = 2 * MIB
_PACK_BYTES = 32 * MIB
_LEVEL = 3
_GROUP = 16
"""Chunks that are compressed by one call, as in the pipeline."""


def floor_of(data: Bytes, chunks: Sequence[memoryview], settings: WriteSettings) -> dict[str, Any]:
    """CPU seconds of each step over these chunks, and what of the rate of zstd alone would be left if there were nothing else.

    Beside them, in no sum: the MD5 that a store behind http:// asks for.
    """
    compressor = zstandard.ZstdCompressor(level=_LEVEL)
    frames: list[memoryview] = []
    hashes: list[bytes] = []
    bodies: list[bytes] = []
    steps: dict[str, Callable[[], object]] = {
        "zstd_alone": lambda: list(map(compressor.compress, chunks)),
        "compress": lambda: frames.extend(
            frame for at in range(0, len(chunks), _GROUP) for frame in frames_of(chunks[at : at + _GROUP], _LEVEL)
        ),
        "fold": lambda: [folds_of(data[at : at + _PIECE_BYTES]) for at in range(0, len(data), _PIECE_BYTES)],
        "blake3_chunks": lambda: hashes.extend(chunk_hash(settings.k_dedup, chunk) for chunk in chunks),
        "aes": lambda: bodies.extend(
            seal_box(chunk_key(h), new_nonce(), frame, b"") for h, frame in zip(hashes, frames, strict=True)
        ),
        "blake3_bodies": lambda: [body_hash_of(body) for body in bodies],
    }
    seconds = {name: _cpu(step) for name, step in steps.items()}
    stored = memoryview(b"".join(bodies))
    packs = [stored[at : at + _PACK_BYTES] for at in range(0, len(stored), _PACK_BYTES)]
    seconds["blake3_packs"] = _cpu(lambda: [blake3(pack).digest() for pack in packs])
    return {
        "cpu_seconds": {name: round(took, 3) for name, took in seconds.items()},
        "md5_of_packs_seconds": round(_cpu(lambda: list(map(md5_of, packs))), 3),
        "best_possible": round(seconds["zstd_alone"] / (sum(seconds.values()) - seconds["zstd_alone"]), 3),
    }


def _cpu(step: Callable[[], object]) -> float:
    began = time.thread_time()
    step()
    return time.thread_time() - began
