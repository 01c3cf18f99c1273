"""The proxy's connections. Each of a client has at most one to the server, opened when first needed, kept as long as both stay."""

import asyncio
import contextlib
import time

from deploy.lab.fault_proxy.book import LiveRule, RuleBook
from deploy.lab.fault_proxy.exchange import Exchange, Side
from deploy.lab.fault_proxy.messages import HEAD_LIMIT_BYTES, BadMessage, Head, read_head
from deploy.lab.fault_proxy.rules import Logged
from deploy.lab.fault_proxy.spoiled import Cut

MOST_CONNECTIONS = 512
IDLE_SECONDS = 300.0
CONNECT_SECONDS = 10.0


class Proxy:
    """Serves until it is cancelled. A server that cannot be reached shows as a connection that ends without an answer."""

    def __init__(self, server_address: str, server_port: int, book: RuleBook) -> None:
        self._server = (server_address, server_port)
        self._book = book
        self._open = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client's connection, to its end."""
        if self._open >= MOST_CONNECTIONS:
            writer.transport.abort()
            return
        self._open += 1
        link = _ServerLink(*self._server)
        try:
            with contextlib.suppress(BadMessage, OSError, TimeoutError):
                client = Side(reader, writer)
                while (head := await asyncio.wait_for(read_head(reader), IDLE_SECONDS)) is not None:
                    if not await self._one(head, client, link):
                        break
        finally:
            self._open -= 1
            link.drop()
            writer.close()

    async def _one(self, head: Head, client: Side, link: "_ServerLink") -> bool:
        live = self._book.choose(head.method, head.path)
        if live is not None:
            await self._book.note(lambda: None)
        exchange = Exchange(head, client, link.side, self._book, live)
        began = time.monotonic()
        try:
            return await exchange.run()
        except Cut:
            return False
        finally:
            await self._book.note(lambda: self._log(head, live, exchange, time.monotonic() - began))

    def _log(self, head: Head, live: LiveRule | None, exchange: Exchange, seconds: float) -> None:
        self._book.requests += 1
        if live is not None:
            live.over += 1
        entry = Logged(
            self._book.requests,
            head.method,
            head.path,
            exchange.status,
            live.number if live is not None else 0,
            exchange.sent_bytes,
            exchange.received_bytes,
            round(seconds, 3),
        )
        self._book.log.append(entry)
        print(f"{entry.method} {entry.path} {entry.status} rule={entry.rule} {entry.seconds}s", flush=True)


class _ServerLink:
    def __init__(self, address: str, port: int) -> None:
        self._place = (address, port)
        self._side: Side | None = None

    async def side(self) -> Side:
        """The server may have ended an idle connection meanwhile: then a new one. Raises OSError, TimeoutError."""
        if self._side is None or self._side.reader.at_eof() or self._side.writer.is_closing():
            self.drop()
            opening = asyncio.open_connection(*self._place, limit=HEAD_LIMIT_BYTES)
            self._side = Side(*await asyncio.wait_for(opening, CONNECT_SECONDS))
        return self._side

    def drop(self) -> None:
        """What was written still goes out."""
        if self._side is not None:
            self._side.writer.close()
        self._side = None
