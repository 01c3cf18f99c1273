"""The store port: what Seawall asks of a bucket or a folder. Adapters: folder, s3, memory; decorators: retry, throttle, count.

Used by the controller, the maintenance worker and rescue. Agents hold no storage keys and use `store.presigned` instead.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What a store knows of an object without sending it."""

    name: str
    size_bytes: int
    modified_us: int


@dataclass(frozen=True, slots=True)
class SignedPut:
    """One permitted PUT. Every header must be sent with exactly this value; the URL dies at `expires_us`."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    expires_us: int = 0


class Store(Protocol):
    """Write-once objects under `/`-separated ASCII names ("v1/p/default/3f/3f…a0.0").

    Contract, checked by tests/contract/test_store.py on every adapter:
    - `put` is atomic: a reader sees no object or all of it, whatever dies. It returns only when the bytes are durable (as the store
      promises it).
    - `put(create_only=True)` raises ObjectExists where the name is taken, and changes nothing. Where the store ignores the condition
      (see StoreCapabilities), it overwrites; nothing's safety may depend on it alone.
    - Every call may be repeated. `delete` of a missing object is success.
    - `list` yields each object below the prefix once, sorted by name, whatever the page size; objects put or deleted meanwhile
      may or may not show.
    - Errors are ours: StoreUnavailable (temporary), StoreRefused, BucketMissing, ObjectMissing, ObjectExists. No call waits for ever.
    - Buffers passed in belong to the caller again when the call returns. Thread-safe.
    """

    def put(self, name: str, body: bytes | memoryview, *, create_only: bool = True) -> None: ...

    def get(self, name: str) -> bytes: ...

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        """Exactly `length` bytes, or fewer where the object ends. An offset at or past the end: b""."""

    def get_suffix(self, name: str, length: int) -> bytes:
        """The last `length` bytes, or the whole object where it is shorter."""

    def head(self, name: str) -> ObjectInfo: ...

    def delete(self, name: str) -> None: ...

    def list(self, prefix: str) -> Iterator[ObjectInfo]: ...

    def sign_put(self, name: str, length: int, md5: bytes, *, expires_seconds: int) -> SignedPut:
        """A URL for one create-only PUT of exactly this length and MD5."""

    def sign_get(self, name: str, *, expires_seconds: int) -> str: ...

    @property
    def url(self) -> str:
        """Where it is, without secrets."""
