"""A server that answers every request with the same bytes, whatever they are, and hangs up: for clients that must survive anything."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_HEAD_END = b"\r\n\r\n"


class RawServer:
    """`answer` may be changed at any time; each connection gets the present one, once."""

    def __init__(self) -> None:
        self.answer = b""
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._thread = threading.Thread(target=self._serve, name="raw-server")
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, suppress(OSError):
                connection.settimeout(10)
                _read_request(connection)
                connection.sendall(self.answer)


def _read_request(connection: socket.socket) -> None:
    """Head and body: a client that is hung up on while it sends sees another error than the one to be tested."""
    received = bytearray()
    while _HEAD_END not in received:
        part = connection.recv(65536)
        if not part:
            return
        received += part
    head, _, body = bytes(received).partition(_HEAD_END)
    length = next(
        (int(line.partition(b":")[2]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
    )
    if b"expect: 100-continue" in head.lower():
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    while len(body) < length:
        part = connection.recv(65536)
        if not part:
            return
        body += part


@contextmanager
def raw_server() -> Iterator[RawServer]:
    server = RawServer()
    try:
        yield server
    finally:
        server.close()
