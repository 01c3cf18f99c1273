"""One request through the proxy, spoiled as its rule says. Called by the serving loop for each request of a connection."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from deploy.lab.fault_proxy.book import LiveRule, RuleBook
from deploy.lab.fault_proxy.messages import (
    PIECE_BYTES,
    BadMessage,
    Head,
    answer_framing,
    read_body,
    read_head,
    request_framing,
    write_body,
)
from deploy.lab.fault_proxy.rules import Action, Answer, CutRequest, Delay, HalfOpen, Hold, LostAnswer, Pass
from deploy.lab.fault_proxy.spoiled import Cut, spoiled_answer, spoiled_request

LONGEST_WAIT_SECONDS = 900.0
"""Nothing is held, delayed or kept half open for longer."""
ANSWER_SECONDS = 300.0
"""How long the server may take to begin its answer."""
REST_SECONDS = 5.0
"""How long the end of a request's body may come after the end of its answer."""


@dataclass
class Side:
    """A connection: to the client, or to the server."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


class Exchange:
    """`run` passes a request to the server and its answer back. What was moved stands in the three counts, whatever ended it."""

    def __init__(
        self, head: Head, client: Side, connect: Callable[[], Awaitable[Side]], book: RuleBook, live: LiveRule | None
    ) -> None:
        self._head = head
        self._client = client
        self._connect = connect
        self._book = book
        self._live = live
        self._action: Action = live.rule.action if live is not None else Pass()
        self.status = 0
        self.sent_bytes = 0
        self.received_bytes = 0

    async def run(self) -> bool:
        """Whether the connections can take another request. Raises Cut, BadMessage, OSError, TimeoutError."""
        if isinstance(self._action, Answer):
            await self._continue()
            await self._throw_away(read_body(self._client.reader, request_framing(self._head)))
            await self._say(self._action)
            return self._head.stays_open
        await self._wait_before()
        server = await self._connect()
        await self._continue()
        sending = asyncio.create_task(self._send(server))
        try:
            answer = await self._answer_head(server, sending)
            reusable = await self._pass_back(answer, server)
            await asyncio.wait({sending}, timeout=REST_SECONDS if reusable else 0)
            return reusable and sending.done()
        finally:
            sending.cancel()
            with contextlib.suppress(asyncio.CancelledError, Cut, BadMessage, OSError):
                await sending

    async def _continue(self) -> None:
        """The proxy itself says yes to a client that asks before it sends a body."""
        if self._head.value("expect"):
            self._client.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    async def _wait_before(self) -> None:
        match self._action:
            case CutRequest(after_bytes=None):
                raise Cut
            case HalfOpen(reading=reading):
                await self._continue()
                await self._stay_silent(reading)
            case Delay(seconds=seconds):
                await asyncio.sleep(min(seconds, LONGEST_WAIT_SECONDS))
            case Hold(answered=False):
                await self._hold()

    async def _send(self, server: Side) -> None:
        server.writer.write(self._head.to_bytes())
        framing = request_framing(self._head)
        pieces = spoiled_request(self._action, read_body(self._client.reader, framing))
        await write_body(server.writer, framing, self._counted_up(pieces))

    async def _answer_head(self, server: Side, sending: "asyncio.Task[None]") -> Head:
        """The server may answer before it has all of the body; and where sending to it failed, its answer says why."""
        reading = asyncio.create_task(_final_head(server))
        try:
            await asyncio.wait({reading, sending}, return_when=asyncio.FIRST_COMPLETED)
            if sending.done() and isinstance(sending.exception(), Cut | BadMessage):
                await sending  # the client's body ended, not the server's patience
            return await asyncio.wait_for(reading, ANSWER_SECONDS)
        finally:
            reading.cancel()
            with contextlib.suppress(asyncio.CancelledError, BadMessage, OSError):
                await reading

    async def _pass_back(self, answer: Head, server: Side) -> bool:
        framing = answer_framing(answer, self._head.method)
        body = read_body(server.reader, framing)
        match self._action:
            case LostAnswer(silent=silent):
                await self._throw_away(body)
                if silent:
                    await self._stay_silent(reading=True)
                raise Cut
            case Hold(answered=True):
                await self._hold()
        reusable = answer.stays_open and self._head.stays_open and not framing.until_end
        self.status = answer.status
        self._client.writer.write(answer.to_bytes([] if reusable else [("Connection", "close")]))
        await write_body(self._client.writer, framing, self._counted_down(spoiled_answer(self._action, body)))
        return reusable

    async def _say(self, answer: Answer) -> None:
        text = f'<?xml version="1.0"?><Error><Code>{answer.code}</Code><Message>{answer.message}</Message></Error>'
        headers = [("Content-Type", "application/xml"), ("Content-Length", str(len(text)))]
        if answer.retry_after_seconds:
            headers.append(("Retry-After", str(answer.retry_after_seconds)))
        self.status = answer.status
        body = b"" if self._head.method == "HEAD" else text.encode()
        self._client.writer.write(Head(f"HTTP/1.1 {answer.status} Fault", ()).to_bytes(headers) + body)
        await self._client.writer.drain()

    async def _hold(self) -> None:
        live = self._live
        assert live is not None
        await self._book.note(lambda: _held(live, 1))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(live.ended.wait(), LONGEST_WAIT_SECONDS)
        await self._book.note(lambda: _held(live, -1))

    async def _stay_silent(self, reading: bool) -> None:
        """Until the client ends the connection (seen only when reading), the rule ends, or the longest wait is over."""
        assert self._live is not None
        ends: list[asyncio.Task[Any]] = [asyncio.create_task(self._live.ended.wait())]
        if reading:
            ends.append(asyncio.create_task(_until_end(self._client.reader)))
        try:
            await asyncio.wait(ends, timeout=LONGEST_WAIT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in ends:
                each.cancel()
        raise Cut

    async def _throw_away(self, pieces: AsyncIterator[bytes]) -> None:
        async for _ in pieces:
            pass

    async def _counted_up(self, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for piece in pieces:
            self.sent_bytes += len(piece)
            yield piece

    async def _counted_down(self, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for piece in pieces:
            self.received_bytes += len(piece)
            yield piece


async def _final_head(server: Side) -> Head:
    while True:
        head = await read_head(server.reader)
        if head is None:
            raise BadMessage("the server ended the connection without an answer")
        if head.status >= 200:
            return head


async def _until_end(reader: asyncio.StreamReader) -> None:
    with contextlib.suppress(OSError):
        while await reader.read(PIECE_BYTES):
            pass


def _held(live: LiveRule, change: int) -> None:
    live.held += change
