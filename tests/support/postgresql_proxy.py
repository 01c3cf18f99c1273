"""A line to a PostgreSQL server that breaks at the one moment that matters: around a commit."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import Enum

COMMIT = b"Q\x00\x00\x00\x0bCOMMIT\x00"
TERMINATE = b"X\x00\x00\x00\x04"


class Break(Enum):
    NEVER = "never"
    BEFORE = "the server never hears of the commit"
    AFTER = "the server commits, the client never hears of it"


class BreakingLine:
    """Connections to `port` reach the server. `break_next` is used up by the next commit."""

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self.break_next = Break.NEVER
        self.broken = 0
        self._sockets: list[socket.socket] = [self._listening]
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        with self._lock:
            for each in self._sockets:
                _shut(each)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                server = socket.create_connection(("127.0.0.1", self._server_port))
                with self._lock:
                    self._sockets += [client, server]
                cut = threading.Event()
                threading.Thread(target=self._to_server, args=(client, server, cut), daemon=True).start()
                threading.Thread(target=self._to_client, args=(client, server, cut), daemon=True).start()

    def _to_server(self, client: socket.socket, server: socket.socket, cut: threading.Event) -> None:
        with suppress(OSError):
            while data := client.recv(65536):
                how = self._used_up() if data == COMMIT else Break.NEVER
                if how is Break.BEFORE:
                    break
                if how is Break.AFTER:
                    cut.set()
                server.sendall(data)
        if not cut.is_set():
            _shut(client)
            _shut(server)

    def _to_client(self, client: socket.socket, server: socket.socket, cut: threading.Event) -> None:
        with suppress(OSError):
            while data := server.recv(65536):
                if cut.is_set():
                    break
                client.sendall(data)
        _shut(client)
        _shut(server)

    def _used_up(self) -> Break:
        with self._lock:
            how, self.break_next = self.break_next, Break.NEVER
            self.broken += how is not Break.NEVER
            return how


@contextmanager
def breaking_line(server_port: int) -> Iterator[BreakingLine]:
    line = BreakingLine(server_port)
    try:
        yield line
    finally:
        line.close()


def _shut(each: socket.socket) -> None:
    with suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
    each.close()
