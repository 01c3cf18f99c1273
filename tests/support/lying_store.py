"""A store that breaks one promise of the port: a decorator over any adapter, for what Seawall must notice or survive."""

import threading
from collections.abc import Callable, Iterator

from seawall.repository.errors import ObjectExists
from seawall.repository.store.port import ObjectInfo, SignedPut, Store

LIES = (
    "overwrites", "lets several win", "loses", "forgets", "shortens", "flips", "sends another object", "sends the first version",
    "hides the last", "hides all", "lists the removed", "keeps the removed", "misplaces ranges",
)  # fmt: skip


class LyingStore:
    """A Store but for `lie`, told of names that `about` chooses.

    loses: acknowledges and keeps nothing · forgets: gone after the first look · hides: from listings · keeps the removed: acknowledges a
    delete and does nothing · sends the first version: of what was overwritten or removed and written again.
    """

    def __init__(self, inner: Store, lie: str, about: Callable[[str], bool] = lambda name: True) -> None:
        assert lie in LIES
        self.inner = inner
        self.lie = lie
        self._about = about
        self._lock = threading.Lock()
        self._first: dict[str, bytes] = {}
        self._removed: dict[str, ObjectInfo] = {}
        self._creating = threading.Barrier(2)

    @property
    def url(self) -> str:
        return self.inner.url

    def put(self, name: str, body: bytes | memoryview, *, create_only: bool = True) -> None:
        if self._tells("loses", name):
            return
        if self._tells("shortens", name):
            body = bytes(body)[:-1]
        if self._tells("lets several win", name) and create_only:
            self._create_beside_others(name, body)
            return
        self.inner.put(name, body, create_only=create_only and not self._tells("overwrites", name))
        with self._lock:
            self._first.setdefault(name, bytes(body))

    def get(self, name: str) -> bytes:
        return self._sent(name, self.inner.get(name))

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        if self._tells("misplaces ranges", name):
            return self.inner.get_range(name, max(0, offset - 1), length)
        if self.lie in ("flips", "sends another object", "sends the first version"):
            return self.get(name)[offset : offset + length]
        found = self.inner.get_range(name, offset, length)
        self._forget(name)
        return found

    def get_suffix(self, name: str, length: int) -> bytes:
        return self._sent(name, self.inner.get(name))[-length:] if length else b""

    def head(self, name: str) -> ObjectInfo:
        return self.inner.head(name)

    def delete(self, name: str) -> None:
        if self._tells("keeps the removed", name):
            return
        if self._tells("lists the removed", name):
            for info in self.inner.list(name):
                self._removed[info.name] = info
        self.inner.delete(name)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        found = sorted(self.inner.list(prefix), key=lambda info: info.name)
        if self.lie == "hides all":
            found = []
        if self.lie == "hides the last":
            found = found[:-1]
        yield from found
        yield from (info for name, info in self._removed.items() if name.startswith(prefix) and info not in found)

    def sign_put(self, name: str, length: int, md5: bytes, *, expires_seconds: int) -> SignedPut:
        return self.inner.sign_put(name, length, md5, expires_seconds=expires_seconds)

    def sign_get(self, name: str, *, expires_seconds: int) -> str:
        return self.inner.sign_get(name, expires_seconds=expires_seconds)

    def _tells(self, lie: str, name: str) -> bool:
        return self.lie == lie and self._about(name)

    def _sent(self, name: str, body: bytes) -> bytes:
        self._forget(name)
        if self._tells("flips", name) and body:
            return body[: len(body) // 2] + bytes([body[len(body) // 2] ^ 4]) + body[len(body) // 2 + 1 :]
        if self._tells("sends another object", name):
            others = [info.name for info in self.inner.list("") if info.name != name and self._about(info.name)]
            return self.inner.get(sorted(others)[0]) if others else body
        if self._tells("sends the first version", name):
            return self._first.get(name, body)
        return body

    def _forget(self, name: str) -> None:
        if self._tells("forgets", name):
            self.inner.delete(name)

    def _create_beside_others(self, name: str, body: bytes | memoryview) -> None:
        """Looks first, waits a moment for somebody else to look too, then writes: each believes it has won."""
        if any(info.name == name for info in self.inner.list(name)):
            raise ObjectExists(f"{name} exists")
        try:
            self._creating.wait(0.2)
        except threading.BrokenBarrierError:
            self._creating.reset()
        self.inner.put(name, body, create_only=False)
