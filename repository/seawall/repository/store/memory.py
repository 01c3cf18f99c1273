"""A store in this process's memory: for tests of everything above the port. It passes the same contract suite as the real ones."""

import threading
from bisect import bisect_left, insort
from collections.abc import Iterator

from seawall.repository.clock import Clock, SystemClock
from seawall.repository.errors import ObjectExists, ObjectMissing
from seawall.repository.store.names import check_length, check_name, check_prefix
from seawall.repository.store.port import ObjectInfo, SignedPut
from seawall.repository.store.signed_headers import put_headers

_BEYOND_NAMES = "\x7f"
"""Names are ASCII letters, digits and a few marks: all of a prefix come before this."""


class MemoryStore:
    """A Store. Its signed URLs have the right shape and headers, but only `put` and `get` of this object reach its content."""

    def __init__(self, url: str = "memory://store", clock: Clock | None = None) -> None:
        self._url = url
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._objects: dict[str, tuple[bytes, ObjectInfo]] = {}
        self._names: list[str] = []
        """Sorted: who asks for the objects of one pack must not look at all of a large bucket."""

    @property
    def url(self) -> str:
        return self._url

    def put(self, name: str, body: bytes | memoryview, *, create_only: bool = True) -> None:
        content = bytes(body)
        info = ObjectInfo(check_name(name), len(content), self._clock.now_us())
        with self._lock:
            if create_only and name in self._objects:
                raise ObjectExists(f"{name} in {self._url} exists")
            if name not in self._objects:
                insort(self._names, name)
            self._objects[name] = (content, info)

    def get(self, name: str) -> bytes:
        return self._find(name)[0]

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        return self._find(name)[0][check_length(offset) : offset + check_length(length)]

    def get_suffix(self, name: str, length: int) -> bytes:
        content = self._find(name)[0]
        return content[max(0, len(content) - check_length(length)) :]

    def head(self, name: str) -> ObjectInfo:
        return self._find(name)[1]

    def delete(self, name: str) -> None:
        with self._lock:
            if self._objects.pop(check_name(name), None) is not None:
                del self._names[bisect_left(self._names, name)]

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        check_prefix(prefix)
        with self._lock:
            first = bisect_left(self._names, prefix)
            beyond = bisect_left(self._names, prefix + _BEYOND_NAMES, first)
            infos = [self._objects[name][1] for name in self._names[first:beyond]]
        yield from infos

    def sign_put(self, name: str, length: int, md5: bytes, *, expires_seconds: int) -> SignedPut:
        headers = put_headers(length, md5)
        return SignedPut(f"{self._url}/{check_name(name)}", headers, self._clock.now_us() + expires_seconds * 1_000_000)

    def sign_get(self, name: str, *, expires_seconds: int) -> str:
        return f"{self._url}/{check_name(name)}"

    def _find(self, name: str) -> tuple[bytes, ObjectInfo]:
        check_name(name)
        with self._lock:
            found = self._objects.get(name)
        if found is None:
            raise ObjectMissing(f"{name} is not in {self._url}")
        return found
