"""zstd for chunks, many in one call: between two calls threads wait for the interpreter's lock, inside of one they do not. Thread-safe."""

import threading
from array import array
from collections.abc import Sequence

import zstandard

from seawall.repository.errors import IntegrityError

_SMALL_BYTES = 256 * 1024
"""Up to here level 3 works with smaller tables than zstd's own: less time for no more bytes (DESIGN.md, decision of 2026-11-23)."""


class _Zstandard(threading.local):
    """A compressor per thread and kind, a decompressor per thread: neither may be shared while it works."""

    def __init__(self) -> None:
        self.decompressor = zstandard.ZstdDecompressor()
        self._compressors: dict[tuple[int, bool], zstandard.ZstdCompressor] = {}

    def compressor(self, level: int, longest_bytes: int) -> zstandard.ZstdCompressor:
        kind = (level, longest_bytes <= _SMALL_BYTES)
        found = self._compressors.get(kind)
        if found is None:
            found = self._compressors[kind] = _new_compressor(*kind)
        return found


def _new_compressor(level: int, small: bool) -> zstandard.ZstdCompressor:
    if (level, small) != (3, True):
        return zstandard.ZstdCompressor(level=level)
    tables = zstandard.ZstdCompressionParameters(compression_level=3, chain_log=13, hash_log=15, min_match=4)
    return zstandard.ZstdCompressor(compression_params=tables)


_zstandard = _Zstandard()


def frames_of(plaintexts: Sequence[bytes | memoryview], level: int) -> list[memoryview]:
    """One frame with its content size for each; none of them empty."""
    if not plaintexts:
        return []
    compressor = _zstandard.compressor(level, max(map(len, plaintexts)))
    if len(plaintexts) == 1:  # saves a context
        return [memoryview(compressor.compress(plaintexts[0]))]
    frames = compressor.multi_compress_to_buffer(list(plaintexts))
    return [memoryview(frames[number]) for number in range(len(plaintexts))]  # type: ignore[arg-type]


def decompressed(frame: bytes | memoryview, raw_bytes: int, what: str) -> bytes:
    """The size in the frame is compared before a byte is decompressed: 32 KiB can claim, and become, 1 GiB. Raises IntegrityError."""
    try:
        claimed = zstandard.get_frame_parameters(frame).content_size
        if claimed != raw_bytes:
            raise IntegrityError(f"{what}: its frame claims {claimed} bytes, its record {raw_bytes}")
        return _zstandard.decompressor.decompress(frame, max_output_size=raw_bytes, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise IntegrityError(f"{what}: does not decompress") from error


def plaintexts_of(frames: Sequence[tuple[bytes, int]]) -> list[memoryview]:
    """`decompressed` of each (frame, length of its plaintext), but what stands behind a frame is not looked at. Raises IntegrityError."""
    if not frames:
        return []
    lengths = array("Q", (length for _, length in frames))
    try:
        if any(zstandard.frame_content_size(frame) != length for frame, length in frames):
            raise IntegrityError("a frame claims another length than its record")
        found = _zstandard.decompressor.multi_decompress_to_buffer(
            [frame for frame, _ in frames], decompressed_sizes=lengths.tobytes()
        )
    except zstandard.ZstdError as error:
        raise IntegrityError("a frame does not decompress") from error
    return [memoryview(found[number]) for number in range(len(frames))]  # type: ignore[arg-type]
