"""Bodies on their way, spoiled: slowed, cut, with a wrong bit. Streams of pieces in, streams of pieces out."""

import asyncio
from collections.abc import AsyncIterator

from deploy.lab.fault_proxy.rules import Action, CutAnswer, CutRequest, FlipBit, Trickle

Pieces = AsyncIterator[bytes]

_TRICKLES_PER_SECOND = 10


class Cut(Exception):
    """The connection ends here."""


def spoiled_request(action: Action, pieces: Pieces) -> Pieces:
    match action:
        case Trickle(up=True, bytes_per_second=rate):
            return _trickled(pieces, rate)
        case CutRequest(after_bytes=int(limit)):
            return _cut(pieces, limit)
    return pieces


def spoiled_answer(action: Action, pieces: Pieces) -> Pieces:
    match action:
        case Trickle(down=True, bytes_per_second=rate):
            return _trickled(pieces, rate)
        case CutAnswer(after_bytes=limit):
            return _cut(pieces, limit)
        case FlipBit(at_byte=offset):
            return _flipped(pieces, offset)
    return pieces


async def _trickled(pieces: Pieces, bytes_per_second: float) -> Pieces:
    step = max(1, int(bytes_per_second / _TRICKLES_PER_SECOND))
    async for piece in pieces:
        for start in range(0, len(piece), step):
            drop = piece[start : start + step]
            await asyncio.sleep(len(drop) / bytes_per_second)
            yield drop


async def _cut(pieces: Pieces, limit: int) -> Pieces:
    """A body that is shorter passes, then the connection ends all the same."""
    async for piece in pieces:
        if len(piece) >= limit:
            yield piece[:limit]
            raise Cut
        limit -= len(piece)
        yield piece
    raise Cut


async def _flipped(pieces: Pieces, offset: int) -> Pieces:
    """One piece is kept back, so that the last byte can be the wrong one."""
    before, kept = 0, b""
    async for piece in pieces:
        if kept:
            yield _with_flip(kept, offset - before)
            before += len(kept)
        kept = piece
    if kept:
        yield _with_flip(kept, min(offset - before, len(kept) - 1))


def _with_flip(piece: bytes, at: int) -> bytes:
    if not 0 <= at < len(piece):
        return piece
    return piece[:at] + bytes([piece[at] ^ 1]) + piece[at + 1 :]
