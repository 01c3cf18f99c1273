"""TLS of both ways to a store: a server is trusted through the named CA file, and never otherwise."""

import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import trustme

from seawall.repository.errors import StoreRefused
from seawall.repository.store.locate import open_store
from seawall.repository.store.location import S3Credentials
from seawall.repository.store.presigned import PresignedClient

KEYS = S3Credentials("tester", "secret")


class OneObject(BaseHTTPRequestHandler):
    """Answers every GET with the same body; who asks is not the question here."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "4")
        self.end_headers()
        self.wfile.write(b"body")

    def log_message(self, format: str, *args: object) -> None:
        """Tests say what they saw."""


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


@pytest.fixture
def endpoint(authority: trustme.CA) -> Iterator[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    server = ThreadingHTTPServer(("127.0.0.1", 0), OneObject)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"https://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_server_of_the_named_authority_is_trusted(endpoint: str, ca_file: Path) -> None:
    store = open_store(f"s3://vault?endpoint={endpoint}&ca_file={ca_file}", KEYS)
    assert store.get("v1/x") == b"body"
    with PresignedClient(ca_file=ca_file) as client:
        assert client.get(store.sign_get("v1/x", expires_seconds=60)) == b"body"


def test_any_other_server_is_refused_for_good(endpoint: str) -> None:
    store = open_store(f"s3://vault?endpoint={endpoint}", KEYS)
    with pytest.raises(StoreRefused, match="certificate"):
        store.get("v1/x")
    with PresignedClient() as client, pytest.raises(StoreRefused, match="certificate"):
        client.get(store.sign_get("v1/x", expires_seconds=60))
