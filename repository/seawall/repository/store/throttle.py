"""A limit on bytes per second, for a store. One bucket may be shared by several stores: the limit is then theirs together."""

import threading
from collections.abc import Iterator

from seawall.repository.clock import Clock
from seawall.repository.store.port import ObjectInfo, SignedPut, Store


class TokenBucket:
    """`take(n)` returns when n more bytes keep the rate. A body larger than the burst makes a debt that the next taker waits for."""

    def __init__(self, bytes_per_second: float, clock: Clock, *, burst_bytes: float | None = None) -> None:
        if bytes_per_second <= 0:
            raise ValueError("a rate of zero would stop the store: leave the throttle out, or pause the run")
        self._rate = bytes_per_second
        self._burst = bytes_per_second if burst_bytes is None else burst_bytes
        self._clock = clock
        self._lock = threading.Lock()
        self._tokens = self._burst
        self._counted_at_seconds = clock.monotonic_seconds()

    def take(self, length_bytes: int) -> None:
        """Blocks. Waiters are served in the order of their calls."""
        wait_seconds = self._reserve(length_bytes)
        if wait_seconds > 0:
            self._clock.sleep_seconds(wait_seconds)

    def _reserve(self, length_bytes: int) -> float:
        with self._lock:
            now = self._clock.monotonic_seconds()
            earned = (now - self._counted_at_seconds) * self._rate
            self._counted_at_seconds = now
            self._tokens = min(self._burst, self._tokens + earned) - length_bytes
            return -self._tokens / self._rate


class ThrottledStore:
    """A Store whose bodies keep to the rate: a PUT waits before it sends, a GET after it received. Calls without a body are free."""

    def __init__(self, inner: Store, bucket: TokenBucket) -> None:
        self._inner = inner
        self._bucket = bucket

    @property
    def url(self) -> str:
        return self._inner.url

    def put(self, name: str, body: bytes | memoryview, *, create_only: bool = True) -> None:
        self._bucket.take(memoryview(body).nbytes)
        self._inner.put(name, body, create_only=create_only)

    def get(self, name: str) -> bytes:
        return self._paid(self._inner.get(name))

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        return self._paid(self._inner.get_range(name, offset, length))

    def get_suffix(self, name: str, length: int) -> bytes:
        return self._paid(self._inner.get_suffix(name, length))

    def head(self, name: str) -> ObjectInfo:
        return self._inner.head(name)

    def delete(self, name: str) -> None:
        self._inner.delete(name)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        return self._inner.list(prefix)

    def sign_put(self, name: str, length: int, md5: bytes, *, expires_seconds: int) -> SignedPut:
        return self._inner.sign_put(name, length, md5, expires_seconds=expires_seconds)

    def sign_get(self, name: str, *, expires_seconds: int) -> str:
        return self._inner.sign_get(name, expires_seconds=expires_seconds)

    def _paid(self, content: bytes) -> bytes:
        self._bucket.take(len(content))
        return content
