"""`python -m deploy.lab.fault_proxy ADDRESS PORT SERVER_ADDRESS SERVER_PORT SOCKET`: listen, pass on, be told over SOCKET.

Serves until SIGTERM. Port 0 is any: SOCKET.port then says which. Its log on standard output has a line for each request. One thread;
at most 512 connections; nothing waits longer than 15 minutes.
"""

import asyncio
import contextlib
import signal
import sys
from pathlib import Path

from deploy.lab.fault_proxy.book import RuleBook
from deploy.lab.fault_proxy.commands import LINE_BYTES, Commands
from deploy.lab.fault_proxy.messages import HEAD_LIMIT_BYTES
from deploy.lab.fault_proxy.serving import Proxy


async def serve(address: str, port: int, server_address: str, server_port: int, socket: Path) -> None:
    book = RuleBook()
    proxy, commands = Proxy(server_address, server_port, book), Commands(book)
    ended = asyncio.Event()
    for ending in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(ending, ended.set)
    listening = await asyncio.start_server(proxy.serve, address, port, limit=HEAD_LIMIT_BYTES)
    socket.unlink(missing_ok=True)
    told = await asyncio.start_unix_server(commands.serve, socket, limit=LINE_BYTES)
    _announce(socket, listening.sockets[0].getsockname()[1])
    await ended.wait()
    told.close()
    listening.close()
    book.end_all()


def _announce(socket: Path, port: int) -> None:
    """Whole or not at all: whoever waits for the file reads it at once."""
    unfinished = socket.with_name(f"{socket.name}.new")
    unfinished.write_text(f"{port}\n")
    unfinished.rename(socket.with_name(f"{socket.name}.port"))


def main() -> None:
    address, port, server_address, server_port, socket = sys.argv[1:]
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(address, int(port), server_address, int(server_port), Path(socket)))


if __name__ == "__main__":
    main()
