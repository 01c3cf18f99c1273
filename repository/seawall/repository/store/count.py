"""Requests and bytes of a store by verb: what a store costs, and where the time of a run went. Signing asks nothing and is not counted."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal

from seawall.repository.store.port import ObjectInfo, SignedPut, Store

Verb = Literal["put", "get", "head", "delete", "list"]


@dataclass(frozen=True, slots=True)
class VerbCount:
    """`bytes` are of bodies; a failed request counts as a request and as a failure, without bytes. A list
    counts as one request, whatever its pages and failures."""

    requests: int = 0
    failures: int = 0
    bytes: int = 0


class CountingStore:
    """A Store that counts. Below the retry decorator it sees every attempt, above it every call."""

    def __init__(self, inner: Store) -> None:
        self._inner = inner
        self._lock = threading.Lock()
        self._counts: dict[Verb, VerbCount] = {}

    def counts(self) -> Mapping[Verb, VerbCount]:
        """A copy. Verbs never used are missing."""
        with self._lock:
            return dict(self._counts)

    @property
    def url(self) -> str:
        return self._inner.url

    def put(self, name: str, body: bytes | memoryview, *, create_only: bool = True) -> None:
        with self._request("put"):
            self._inner.put(name, body, create_only=create_only)
        self._add("put", length_bytes=memoryview(body).nbytes)

    def get(self, name: str) -> bytes:
        with self._request("get"):
            return self._received(self._inner.get(name))

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        with self._request("get"):
            return self._received(self._inner.get_range(name, offset, length))

    def get_suffix(self, name: str, length: int) -> bytes:
        with self._request("get"):
            return self._received(self._inner.get_suffix(name, length))

    def head(self, name: str) -> ObjectInfo:
        with self._request("head"):
            return self._inner.head(name)

    def delete(self, name: str) -> None:
        with self._request("delete"):
            self._inner.delete(name)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        self._add("list", requests=1)
        return self._inner.list(prefix)

    def sign_put(self, name: str, length: int, md5: bytes, *, expires_seconds: int) -> SignedPut:
        return self._inner.sign_put(name, length, md5, expires_seconds=expires_seconds)

    def sign_get(self, name: str, *, expires_seconds: int) -> str:
        return self._inner.sign_get(name, expires_seconds=expires_seconds)

    @contextmanager
    def _request(self, verb: Verb) -> Iterator[None]:
        self._add(verb, requests=1)
        try:
            yield
        except Exception:
            self._add(verb, failures=1)
            raise

    def _received(self, content: bytes) -> bytes:
        self._add("get", length_bytes=len(content))
        return content

    def _add(self, verb: Verb, *, requests: int = 0, failures: int = 0, length_bytes: int = 0) -> None:
        with self._lock:
            old = self._counts.get(verb, VerbCount())
            self._counts[verb] = replace(
                old,
                requests=old.requests + requests,
                failures=old.failures + failures,
                bytes=old.bytes + length_bytes,
            )
