"""Chunks of one page that are opened and written together. Pure; called by `reading.restore`."""

from collections.abc import Iterable, Iterator, Sequence

from seawall.repository.reading.requests import WantedChunk

RUN_BYTES = 1024 * 1024
"""Plain bytes opened at once: a few calls of the decoder and of the target instead of one for each chunk, and not much to hold."""

Placed = tuple[int, bytes | memoryview]
"""Where in the page, and what."""


def batches(chunks: Iterable[WantedChunk]) -> Iterator[list[WantedChunk]]:
    """In the order of their first places, about RUN_BYTES in each."""
    batch: list[WantedChunk] = []
    held = 0
    for chunk in sorted(chunks, key=lambda chunk: chunk.places[0]):
        batch.append(chunk)
        held += chunk.raw_bytes
        if held >= RUN_BYTES:
            yield batch
            batch, held = [], 0
    if batch:
        yield batch


def runs(chunks: Sequence[WantedChunk], plaintexts: Sequence[bytes | memoryview]) -> Iterator[Placed]:
    """Every place of every chunk once; what stands side by side in the page is joined, up to RUN_BYTES and a chunk."""
    placed = sorted(
        ((place, plain) for chunk, plain in zip(chunks, plaintexts, strict=True) for place in chunk.places),
        key=lambda each: each[0],
    )
    start, parts, length = 0, list[bytes | memoryview](), 0
    for place, plain in placed:
        if place != start + length or length >= RUN_BYTES:
            if parts:
                yield start, _joined(parts)
            start, parts, length = place, [], 0
        parts.append(plain)
        length += len(plain)
    if parts:
        yield start, _joined(parts)


def _joined(parts: list[bytes | memoryview]) -> bytes | memoryview:
    return parts[0] if len(parts) == 1 else b"".join(parts)
