"""The data path of agents: presigned PUTs and GETs over plain HTTP, a third of boto3's CPU per byte and no storage keys.

`https://`, `http://` and `file://` URLs, as `Store.sign_put` and `Store.sign_get` make them. Retries are
`retry.RetryingTransfer`'s. No call takes longer than `deadline` says, however slowly the bytes drip.
"""

import re
import ssl
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import cast

import urllib3
from urllib3 import BaseHTTPResponse
from urllib3.exceptions import HTTPError

from seawall.repository.clock import Clock, SystemClock
from seawall.repository.errors import ObjectExists, RepositoryError, StoreRefused, StoreUnavailable
from seawall.repository.store.deadline import CONNECT_SECONDS, LONGEST_BODY_BYTES, SILENCE_SECONDS, Deadline, Watchdog
from seawall.repository.store.names import check_length
from seawall.repository.store.port import SignedPut, StoredAs
from seawall.repository.store.s3_errors import from_status
from seawall.repository.store.signed_file import SignedFiles

_TIMEOUT = urllib3.Timeout(connect=CONNECT_SECONDS, read=SILENCE_SECONDS)
_BLOCK_BYTES = 1 << 20
_TALK_BYTES = 64 * 1024
"""Read of an answer that is no object."""
_CODE = re.compile(rb"<Code>([A-Za-z0-9]{1,64})</Code>")


class PresignedClient:
    """A SignedTransfer. Keeps connections alive; up to `connections` to a server at once. Close it, or use it as a context."""

    def __init__(self, *, ca_file: Path | None = None, connections: int = 16, clock: Clock | None = None) -> None:
        # Plain settings, not the environment's: a proxy variable must not see presigned URLs.
        self._pool = urllib3.PoolManager(
            num_pools=8,
            maxsize=connections,
            block=True,
            retries=False,
            timeout=_TIMEOUT,
            blocksize=_BLOCK_BYTES,
            ssl_context=ssl.create_default_context(cafile=str(ca_file) if ca_file else None),
        )
        self._clock = clock or SystemClock()
        self._files = SignedFiles(self._clock)
        self._watchdog = Watchdog()

    def put(self, target: SignedPut, body: bytes | memoryview) -> StoredAs:
        try:
            if target.url.startswith("file://"):
                self._files.put(target, body)
            else:
                _check_length(target, body)
                self._send("PUT", target.url, target.headers, body)
        except ObjectExists:
            return StoredAs.EXISTS
        return StoredAs.NEW

    def get(self, url: str) -> bytes:
        if url.startswith("file://"):
            return self._files.get(url)
        return self._send("GET", url, {})

    def get_range(self, url: str, offset: int, length: int) -> bytes:
        check_length(offset)
        if check_length(length) == 0:
            return b""
        if url.startswith("file://"):
            return self._files.get(url, offset, length)
        return self._send("GET", url, {"Range": f"bytes={offset}-{offset + length - 1}"}, ranged_bytes=length)

    def get_suffix(self, url: str, length: int) -> bytes:
        if check_length(length) == 0:
            return b""
        if url.startswith("file://"):
            return self._files.get_suffix(url, length)
        return self._send("GET", url, {"Range": f"bytes=-{length}"}, ranged_bytes=length)

    def close(self) -> None:
        self._pool.clear()

    def __enter__(self) -> "PresignedClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | memoryview | None = None,
        ranged_bytes: int | None = None,
    ) -> bytes:
        """The answer's body, all of it, as it was sent: what ends before its Content-Length is an error, never a short result.

        `ranged_bytes`: the length of the range that the headers ask for. A store that sends more is refused before it fills the memory.
        """
        label = f"{method} {_without_signature(url)}"
        if not url.startswith(("http://", "https://")):
            raise StoreRefused(f"{label}: a signed URL is https://, http:// or file://")
        deadline = Deadline(self._clock, label)
        sent = dict(headers)
        if body is not None:
            sent.setdefault("Content-Length", str(memoryview(body).nbytes))
        try:
            response = self._pool.request(
                method,
                url,
                headers=sent,
                body=None if body is None else cast(Iterable[bytes], deadline.pieces(body)),
                redirect=False,
                preload_content=False,
                decode_content=False,
            )
            with self._watchdog.over(deadline, response.shutdown):
                content = _content(response, _TALK_BYTES if method == "PUT" else ranged_bytes, deadline)
            deadline.check()
        except (
            ValueError
        ) as error:  # urllib3's LocationValueError too; its text may hold the URL, so nothing of it goes on
            raise StoreRefused(f"{label}: the URL or its headers cannot be sent: {type(error).__name__}") from None
        except HTTPError as error:
            deadline.check()
            raise _transport_error(error, label) from error
        return _judge(response.status, content, ranged_bytes, label)


def _check_length(target: SignedPut, body: bytes | memoryview) -> None:
    """A server would wait for the bytes that a short body lacks."""
    length = str(memoryview(body).nbytes)
    if target.headers.get("Content-Length", length) != length:
        raise StoreRefused(f"PUT {_without_signature(target.url)}: the body is not of the length that was signed")


def _content(response: BaseHTTPResponse, longest: int | None, deadline: Deadline) -> bytes:
    """Up to one byte more than it may have. Never decompressed: objects are what was stored, whatever header came with them."""
    if not 200 <= response.status < 300:
        longest = _TALK_BYTES
    try:
        told = response.length_remaining or 0  # urllib3's reading of Content-Length; the header itself may be anything
        deadline.allow_body(min(told, LONGEST_BODY_BYTES) if longest is None else longest)
        most = LONGEST_BODY_BYTES if longest is None else longest
        content = response.read(most + 1, decode_content=False)
        while len(content) <= most and (more := response.read(most + 1 - len(content), decode_content=False)):
            content += more
        return content
    finally:
        if not response.closed:  # something is left unread: this connection is of no more use
            response.close()
        response.release_conn()


def _judge(status: int, content: bytes, ranged_bytes: int | None, label: str) -> bytes:
    ranged = ranged_bytes is not None
    if ranged and status == 416:  # the range begins at or past the end
        return b""
    if ranged and status == 200:
        raise StoreRefused(f"{label}: the store ignored the range and sent the whole object")
    if 200 <= status < 300:
        if ranged_bytes is not None and len(content) > ranged_bytes:
            raise StoreRefused(f"{label}: the store sent more than the {ranged_bytes} bytes asked for")
        if len(content) > LONGEST_BODY_BYTES:
            raise StoreRefused(f"{label}: the store sent over {LONGEST_BODY_BYTES} bytes, which no object has")
        return content
    code = _CODE.search(content)
    raise from_status(status, code[1].decode() if code else "", label)


def _transport_error(error: HTTPError, label: str) -> RepositoryError:
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return StoreRefused(f"{label}: the server's certificate is not trusted: give its CA file")
    return StoreUnavailable(f"{label}: {type(error).__name__}")


def _without_signature(url: str) -> str:
    """A signed URL is a permission: logs and errors never show its query."""
    return url.partition("?")[0]
