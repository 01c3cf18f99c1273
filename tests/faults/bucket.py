"""A bucket that many controllers and hosts share, and lines to it on which requests are lost, late, repeated, or the last ever sent."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum

from seawall.repository.errors import ObjectExists, StoreUnavailable
from seawall.repository.store.memory import MemoryStore
from seawall.repository.store.port import ObjectInfo, SignedPut


class Died(BaseException):
    """The process ends here."""


class Fault(Enum):
    """What becomes of one request."""

    STOP_BEFORE = "the process ends before it"
    STOP_AFTER = "the process ends after it"
    LOST = "it never arrives"
    ANSWER_LOST = "it arrives, its answer does not"
    LATE = "it arrives much later"
    TWICE = "it arrives, and much later again"
    LATE_STOP = "it arrives much later, and the process ends before"
    LIED = "it is answered as done and never arrives"


HONEST = tuple(fault for fault in Fault if fault is not Fault.LIED)
"""What networks and processes do. A store that lies is another matter."""


@dataclass
class SharedBucket:
    """`late`: requests under way, that arrive whenever the world says so."""

    store: MemoryStore
    late: list[Callable[[], None]] = field(default_factory=list)

    def arrive(self, number: int) -> None:
        self.late.pop(number)()

    def arrive_all(self) -> None:
        while self.late:
            self.arrive(0)


class Line:
    """A Store: one process's way to the bucket. `plan`: number of a changing request (from 0, in this process) -> its fault."""

    def __init__(self, bucket: SharedBucket, plan: dict[int, Fault] | None = None) -> None:
        self._bucket = bucket
        self.plan = plan or {}
        self.changes = 0
        self.before_delete: Callable[[str], None] = lambda name: None
        self.dead = False

    @property
    def url(self) -> str:
        return self._bucket.store.url

    def put(self, name: str, body: bytes | memoryview, *, create_only: bool = True) -> None:
        content = bytes(body)
        self._change(
            lambda: self._bucket.store.put(name, content, create_only=create_only),
            lambda: _quietly(lambda: self._bucket.store.put(name, content, create_only=create_only)),
        )

    def delete(self, name: str) -> None:
        def delete() -> None:
            self._bucket.store.delete(name)

        self.before_delete(name)
        self._change(delete, delete)

    def get(self, name: str) -> bytes:
        return self._read().get(name)

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        return self._read().get_range(name, offset, length)

    def get_suffix(self, name: str, length: int) -> bytes:
        return self._read().get_suffix(name, length)

    def head(self, name: str) -> ObjectInfo:
        return self._read().head(name)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        return self._read().list(prefix)

    def sign_put(self, name: str, length: int, md5: bytes, *, expires_seconds: int) -> SignedPut:
        return self._bucket.store.sign_put(name, length, md5, expires_seconds=expires_seconds)

    def sign_get(self, name: str, *, expires_seconds: int) -> str:
        return self._bucket.store.sign_get(name, expires_seconds=expires_seconds)

    def _read(self) -> MemoryStore:
        if self.dead:
            raise Died
        return self._bucket.store

    def _change(self, now: Callable[[], None], later: Callable[[], None]) -> None:
        if self.dead:
            raise Died
        fault = self.plan.get(self.changes)
        self.changes += 1
        if fault is Fault.STOP_BEFORE:
            self.dead = True
            raise Died
        if fault in (Fault.LATE, Fault.LATE_STOP):
            self._bucket.late.append(later)
        if fault is Fault.LATE_STOP:
            self.dead = True
            raise Died
        if fault is Fault.LIED:
            return
        if fault in (Fault.LOST, Fault.LATE):
            raise StoreUnavailable("the request was lost")
        now()
        if fault is Fault.STOP_AFTER:
            self.dead = True
            raise Died
        if fault is Fault.TWICE:
            self._bucket.late.append(later)
        if fault is Fault.ANSWER_LOST:
            raise StoreUnavailable("the answer was lost")


def _quietly(put: Callable[[], None]) -> None:
    """Nobody hears the answer of a late request."""
    try:
        put()
    except ObjectExists:
        return
