"""Presigned transfers that keep to a rate: a PUT waits before it sends, a GET's bytes are paid for when they are there."""

from seawall.agent.limits.bucket import RateBucket
from seawall.repository.store.port import SignedPut, SignedTransfer, StoredAs


class ThrottledTransfer:
    """A SignedTransfer. Put it inside the one that repeats calls: what is sent twice is paid for twice."""

    def __init__(self, inner: SignedTransfer, bucket: RateBucket) -> None:
        self._inner = inner
        self._bucket = bucket

    def put(self, target: SignedPut, body: bytes | memoryview) -> StoredAs:
        self._bucket.take(memoryview(body).nbytes)
        return self._inner.put(target, body)

    def get(self, url: str) -> bytes:
        return self._paid(self._inner.get(url))

    def get_range(self, url: str, offset: int, length: int) -> bytes:
        return self._paid(self._inner.get_range(url, offset, length))

    def get_suffix(self, url: str, length: int) -> bytes:
        return self._paid(self._inner.get_suffix(url, length))

    def _paid(self, content: bytes) -> bytes:
        self._bucket.take(len(content))
        return content
