"""A bad network before a good S3 server: an HTTP proxy that loses answers, cuts bodies short and says 503, as planned by the test."""

import http.client
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


class Fault(Enum):
    """What happens to one request."""

    NONE = "it is passed on and answered"
    BUSY = "503, and the server never hears of it"
    CUT_BEFORE = "the connection is closed, and the server never hears of it"
    LOST_ANSWER = "the server does it, then the connection is closed without a byte"
    CUT_ANSWER = "the server does it, the answer's headers come, the body stops half way"


class FaultyProxy:
    """Requests take the faults of `plan` in turn; when it is empty, none. `requests` counts all."""

    def __init__(self, endpoint: str) -> None:
        self.plan: deque[Fault] = deque()
        self.requests = 0
        self._upstream = urlsplit(endpoint).netloc
        self._lock = threading.Lock()
        proxy = self

        class Handler(_Handler):
            def carry_out(self) -> None:
                proxy.serve(self)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @contextmanager
    def running(self) -> Iterator["FaultyProxy"]:
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            thread.join()
            self._server.server_close()

    def serve(self, handler: "_Handler") -> None:
        with self._lock:
            self.requests += 1
            fault = self.plan.popleft() if self.plan else Fault.NONE
        handler.close_connection = True
        body = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        if fault is Fault.CUT_BEFORE:
            return
        if fault is Fault.BUSY:
            handler.answer(503, {}, b"<Error><Code>SlowDown</Code></Error>", cut=False)
            return
        status, headers, content = self._pass_on(handler, body)
        if fault is not Fault.LOST_ANSWER:
            handler.answer(status, headers, content, cut=fault is Fault.CUT_ANSWER)

    def _pass_on(self, handler: "_Handler", body: bytes) -> tuple[int, dict[str, str], bytes]:
        """With the Host of the request: it is part of the signature."""
        connection = http.client.HTTPConnection(self._upstream, timeout=30)
        try:
            headers = {key: value for key, value in handler.headers.items() if key.lower() != "expect"}
            connection.request(handler.command, handler.path, body=body, headers=headers)
            response = connection.getresponse()
            return response.status, dict(response.getheaders()), response.read()
        finally:
            connection.close()


class _Handler(BaseHTTPRequestHandler):
    """One request per connection: closing it is how a fault shows."""

    protocol_version = "HTTP/1.1"  # else a client that expects "100 Continue" waits a second for it

    def carry_out(self) -> None:
        raise AssertionError("the proxy's own handler carries out")

    def do_GET(self) -> None:
        self.carry_out()

    do_PUT = do_HEAD = do_DELETE = do_GET

    def answer(self, status: int, headers: dict[str, str], content: bytes, *, cut: bool) -> None:
        self.send_response(status)
        for key, value in headers.items():
            if key.lower() not in ("content-length", "connection", "transfer-encoding", "date", "server"):
                self.send_header(key, value)
        length = headers.get("Content-Length", "0") if self.command == "HEAD" else str(len(content))
        self.send_header("Content-Length", length)
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content[: len(content) // 2] if cut else content)

    def log_message(self, format: str, *args: object) -> None:
        """Tests say what they saw."""
