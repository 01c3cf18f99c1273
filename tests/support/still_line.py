"""A line to a server on loopback that can be made to stand still: its connections stay, new ones are taken too, and no byte passes."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress


class StillLine:
    """Connections to `address` reach the server, while it is not still."""

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listening.getsockname()[1]}"
        self.carried_bytes = 0
        self._moves = threading.Event()
        self._moves.set()
        self._sockets: list[socket.socket] = [self._listening]
        self._threads: list[threading.Thread] = []
        self._begin(self._accept)

    @property
    def is_still(self) -> bool:
        return not self._moves.is_set()

    def still(self, still: bool) -> None:
        """What was sent meanwhile arrives once it moves again."""
        self._moves.clear() if still else self._moves.set()

    def close(self) -> None:
        self._moves.set()
        for each in self._sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for each in self._sockets:
            each.close()

    def _begin(self, target: Callable[..., None], *args: socket.socket) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                server = socket.create_connection(("127.0.0.1", self._server_port))
                self._sockets += [client, server]
                self._begin(self._carry, client, server)
                self._begin(self._carry, server, client)

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                self._moves.wait()
                target.sendall(data)
                self.carried_bytes += len(data)
        for each in (source, target):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


@contextmanager
def still_line(server_port: int) -> Iterator[StillLine]:
    line = StillLine(server_port)
    try:
        yield line
    finally:
        line.close()
