"""HTTP/1.1 as far as a proxy needs it: heads as bytes that stay as they are, bodies as streams of pieces. No body is ever held whole."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass

HEAD_LIMIT_BYTES = 64 * 1024
PIECE_BYTES = 64 * 1024
_HOP_BY_HOP = ("connection", "keep-alive", "proxy-connection", "expect")

Headers = tuple[tuple[str, str], ...]


class BadMessage(Exception):
    """What came is no HTTP that this proxy understands, or ended in the middle."""


@dataclass(frozen=True)
class Head:
    """A request's or an answer's first line, as it came, and its headers in their order."""

    first: str
    headers: Headers

    def value(self, name: str) -> str:
        """Of the header, "" where there is none."""
        return next((value for key, value in self.headers if key.lower() == name), "")

    @property
    def method(self) -> str:
        return self.first.split(" ")[0]

    @property
    def path(self) -> str:
        """Without the query, which may be a permission."""
        return self.first.split(" ")[1].partition("?")[0]

    @property
    def status(self) -> int:
        return int(self.first.split(" ")[1])

    @property
    def stays_open(self) -> bool:
        return self.value("connection").lower() != "close" and self.first.find("HTTP/1.0") < 0

    def to_bytes(self, extra: Iterable[tuple[str, str]] = ()) -> bytes:
        """Without what concerns one connection alone. Host stays: it is part of signatures."""
        kept = [(key, value) for key, value in self.headers if key.lower() not in _HOP_BY_HOP]
        lines = [self.first, *(f"{key}: {value}" for key, value in [*kept, *extra])]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


async def read_head(reader: asyncio.StreamReader) -> Head | None:
    """None where the connection ended between messages. Raises BadMessage, OSError."""
    try:
        raw = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise BadMessage("a head that ends in the middle") from error
        return None
    except asyncio.LimitOverrunError as error:
        raise BadMessage("a head without an end") from error
    first, *lines = raw[:-4].decode("latin-1").split("\r\n")
    if first.count(" ") < 1:
        raise BadMessage(f"no first line: {first[:80]!r}")
    pairs = (line.partition(":") for line in lines)
    return Head(first, tuple((key.strip(), value.strip()) for key, _, value in pairs))


@dataclass(frozen=True)
class Framing:
    """How a body's end is told: `length` bytes, `chunked`, or (neither) by the end of the connection."""

    length: int | None = None
    chunked: bool = False

    @property
    def until_end(self) -> bool:
        return self.length is None and not self.chunked


def request_framing(head: Head) -> Framing:
    if "chunked" in head.value("transfer-encoding").lower():
        return Framing(chunked=True)
    return Framing(int(head.value("content-length") or 0))


def answer_framing(head: Head, method: str) -> Framing:
    if method == "HEAD" or head.status in (204, 304):
        return Framing(0)
    if "chunked" in head.value("transfer-encoding").lower():
        return Framing(chunked=True)
    length = head.value("content-length")
    return Framing(int(length)) if length else Framing()


async def read_body(reader: asyncio.StreamReader, framing: Framing) -> AsyncIterator[bytes]:
    """The payload in pieces. Raises BadMessage where it ends early, OSError."""
    if framing.chunked:
        while (length := await _chunk_length(reader)) > 0:
            async for piece in _exactly(reader, length):
                yield piece
            await _line(reader)
        while await _line(reader):
            pass  # trailers: no server here needs them
    elif framing.length is not None:
        async for piece in _exactly(reader, framing.length):
            yield piece
    else:
        while piece := await reader.read(PIECE_BYTES):
            yield piece


async def write_body(writer: asyncio.StreamWriter, framing: Framing, pieces: AsyncIterator[bytes]) -> None:
    async for piece in pieces:
        writer.write(b"%x\r\n%b\r\n" % (len(piece), piece) if framing.chunked else piece)
        await writer.drain()
    if framing.chunked:
        writer.write(b"0\r\n\r\n")
    await writer.drain()


async def _chunk_length(reader: asyncio.StreamReader) -> int:
    try:
        return int((await _line(reader)).split(b";")[0], 16)
    except ValueError as error:
        raise BadMessage("a chunk without a length") from error


async def _line(reader: asyncio.StreamReader) -> bytes:
    try:
        return (await reader.readuntil(b"\r\n"))[:-2]
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        raise BadMessage("a chunked body that ends in the middle") from error


async def _exactly(reader: asyncio.StreamReader, length: int) -> AsyncIterator[bytes]:
    while length > 0:
        piece = await reader.read(min(length, PIECE_BYTES))
        if not piece:
            raise BadMessage(f"a body that lacks {length} bytes")
        length -= len(piece)
        yield piece
