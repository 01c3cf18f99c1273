"""A server that answers as it likes: what it sends is neither believed nor allowed to fill the memory."""

import gzip
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from seawall.repository.errors import StoreRefused, StoreUnavailable
from seawall.repository.store.locate import open_store
from seawall.repository.store.location import S3Credentials
from seawall.repository.store.presigned import PresignedClient

MUCH = 64 * 1024 * 1024


class _Server(ThreadingHTTPServer):
    """Gives every request the same answer."""

    status = 200
    headers: dict[str, str]
    body = b""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def answer(self, status: int, body: bytes, **headers: str) -> None:
        self.status, self.body = status, body
        self.headers = {
            "Content-Length": str(len(body)),
            "ETag": '"x"',
            "Last-Modified": "Sat, 01 Jan 2000 00:00:00 GMT",
        }
        self.headers |= {name.replace("_", "-"): value for name, value in headers.items()}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        self.send_response(self.server.status)
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.end_headers()
        try:
            self.wfile.write(self.server.body)
        except OSError:  # the client had enough
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def server() -> Iterator[_Server]:
    server = _Server(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_range_is_never_longer_than_asked(server: _Server) -> None:
    with PresignedClient(connections=1) as client:
        for _ in range(2):  # the one connection comes back after each refusal
            server.answer(206, bytes(MUCH))
            with pytest.raises(StoreRefused, match="more than the 10 bytes"):
                client.get_range(server.url, 0, 10)
        server.answer(206, b"0123456789")
        assert client.get_range(server.url, 0, 10) == b"0123456789"


def test_nothing_is_decompressed_on_the_way(server: _Server) -> None:
    """An uploader may give an object a Content-Encoding; its bytes are what was stored all the same."""
    packed = gzip.compress(bytes(MUCH))
    server.answer(200, packed, Content_Encoding="gzip")
    with PresignedClient() as client:
        assert client.get(server.url) == packed


def test_redirects_are_not_followed(server: _Server) -> None:
    server.answer(307, b"", Location="http://127.0.0.1:9/elsewhere")
    with PresignedClient() as client, pytest.raises(StoreRefused, match="307"):
        client.get(server.url)


def test_of_an_error_only_the_beginning_is_read(server: _Server) -> None:
    server.answer(503, b"<Code>SlowDown</Code>" + bytes(MUCH))
    with PresignedClient(connections=1) as client:
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match="SlowDown"):
                client.get(server.url)


def test_a_server_without_ranges_is_refused(server: _Server) -> None:
    server.answer(200, bytes(100))
    store = open_store(f"s3://vault?endpoint={server.url}", S3Credentials("key", "secret"))
    assert store.get_range("a", 0, 100) == bytes(100)
    with pytest.raises(StoreRefused, match="ignored the range"):
        store.get_range("a", 0, 10)
    with pytest.raises(StoreRefused, match="ignored the range"):
        store.get_suffix("a", 10)
