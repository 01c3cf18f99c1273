"""The object store of the simulated fleet: one bucket in memory, and lines to it that are slow, cut, or lose answers."""

import asyncio
import random
from collections.abc import Callable, Iterator
from typing import TypeVar

from seawall.repository.errors import ObjectExists, StoreRefused, StoreUnavailable
from seawall.repository.store.memory import MemoryStore
from seawall.repository.store.port import ObjectInfo, SignedPut, StoredAs

from .fibres import AT_ONCE, wait_for
from .process import CURRENT, Process

T = TypeVar("T")
LATENCY_SECONDS = (0.005, 0.08)
SLOW_SECONDS = (1.0, 9.0)


class Bucket:
    """`cut`: names of machines that do not reach it. `trouble`: the part of requests that meets a fault."""

    def __init__(self, store: MemoryStore, rng: random.Random, loop: asyncio.AbstractEventLoop) -> None:
        self.store = store
        self.loop = loop
        self.rng = rng
        self.trouble = 0.0
        self.cut: set[str] = set()
        self.refused = ""
        """Where a policy of the bucket lets nobody write: a prefix of names."""

    def request(self, machine: str, act: Callable[[], T]) -> T:
        """One request. Raises StoreUnavailable: it was lost, or its answer was (then it was carried out)."""
        seconds = self.rng.uniform(*LATENCY_SECONDS)
        fault = self.rng.random() < self.trouble
        kind = self.rng.randrange(3) if fault else -1
        if kind == 2:
            seconds = self.rng.uniform(*SLOW_SECONDS)
        self._pass(seconds)
        if machine in self.cut or kind == 0:
            self._pass(2.0)
            raise StoreUnavailable("the request was lost")
        result = act()
        if kind == 1:
            raise StoreUnavailable("the answer was lost")
        return result

    def _pass(self, seconds: float) -> None:
        process, seconds = CURRENT.get(), seconds / AT_ONCE.get()

        async def passed() -> None:
            await asyncio.sleep(seconds)
            if process is not None:
                await process.awake()

        wait_for(passed)


class Line:
    """A Store: a controller's way to the bucket."""

    def __init__(self, bucket: Bucket, machine: str) -> None:
        self._bucket = bucket
        self._machine = machine

    @property
    def url(self) -> str:
        return self._bucket.store.url

    def put(self, name: str, body: bytes | memoryview, *, create_only: bool = True) -> None:
        content = bytes(body)
        if self._bucket.refused and name.startswith(self._bucket.refused):
            raise StoreRefused(f"nobody may write {name} now")
        self._request(lambda: self._bucket.store.put(name, content, create_only=create_only))

    def get(self, name: str) -> bytes:
        return self._request(lambda: self._bucket.store.get(name))

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        return self._request(lambda: self._bucket.store.get_range(name, offset, length))

    def get_suffix(self, name: str, length: int) -> bytes:
        return self._request(lambda: self._bucket.store.get_suffix(name, length))

    def head(self, name: str) -> ObjectInfo:
        return self._request(lambda: self._bucket.store.head(name))

    def delete(self, name: str) -> None:
        self._request(lambda: self._bucket.store.delete(name))

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        return iter(self._request(lambda: list(self._bucket.store.list(prefix))))

    def sign_put(self, name: str, length: int, md5: bytes, *, expires_seconds: int) -> SignedPut:
        return self._bucket.store.sign_put(name, length, md5, expires_seconds=expires_seconds)

    def sign_get(self, name: str, *, expires_seconds: int) -> str:
        return self._bucket.store.sign_get(name, expires_seconds=expires_seconds)

    def _request(self, act: Callable[[], T]) -> T:
        return self._bucket.request(self._machine, act)


class SignedLine:
    """A SignedTransfer: an agent's way to the bucket, with signed URLs."""

    def __init__(self, bucket: Bucket, process: Process, machine: str) -> None:
        self._bucket = bucket
        self._process = process
        self._machine = machine

    def put(self, target: SignedPut, body: bytes | memoryview) -> StoredAs:
        content, name = bytes(body), self._name(target.url)
        try:
            self._bucket.request(self._machine, lambda: self._bucket.store.put(name, content))
        except ObjectExists:
            return StoredAs.EXISTS
        return StoredAs.NEW

    def get(self, url: str) -> bytes:
        return self._bucket.request(self._machine, lambda: self._bucket.store.get(self._name(url)))

    def get_range(self, url: str, offset: int, length: int) -> bytes:
        return self._bucket.request(
            self._machine, lambda: self._bucket.store.get_range(self._name(url), offset, length)
        )

    def get_suffix(self, url: str, length: int) -> bytes:
        return self._bucket.request(self._machine, lambda: self._bucket.store.get_suffix(self._name(url), length))

    def _name(self, url: str) -> str:
        return url.removeprefix(f"{self._bucket.store.url}/")
