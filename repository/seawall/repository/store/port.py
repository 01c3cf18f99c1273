"""The store port: what Seawall asks of a bucket or a folder. Adapters: folder, s3, memory; decorators: retry, throttle, count.

Used by the controller, the maintenance worker and rescue. Agents hold no storage keys and use `store.presigned` instead.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
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

    url: str = field(repr=False)  # its query is a permission: no log, no traceback shows it
    headers: Mapping[str, str] = field(default_factory=dict)
    expires_us: int = 0


class StoredAs(Enum):
    """What a create-only PUT through a signed URL came to."""

    NEW = "new"
    EXISTS = "exists"  # an object of that name was there; nobody compared the bytes


@dataclass(frozen=True, slots=True)
class StoreCapabilities:
    """What the probe found in this very bucket. Promises that a store does not keep are kept by nothing else unless it says so."""

    create_only: bool
    """A second create-only PUT of a name is refused."""
    create_only_atomic: bool
    """Of several at once exactly one wins."""
    md5_checked: bool
    """A body that is not what its Content-MD5 says is refused."""
    signed_condition: bool
    """A presigned PUT is refused when its `If-None-Match` is left out: whoever holds the URL cannot overwrite."""
    bare_put: bool = False
    """A presigned PUT without a Content-MD5 is taken, and its length is held to (buckets with Object Lock demand a checksum)."""
    warnings: tuple[str, ...] = ()
    """A plain sentence for each promise that is not kept, for the operator."""


class Store(Protocol):
    """Write-once objects under `/`-separated ASCII names ("v1/p/default/3f/3f…a0.0"); `names.py` says which.

    Contract, checked by tests/contract/test_store.py on every adapter:
    - `put` is atomic: a reader sees no object or all of it, whatever dies. It returns only when the bytes are durable (as the store
      promises it).
    - `put(create_only=True)` raises ObjectExists where the name is taken, and changes nothing. Where the store ignores the condition
      (see StoreCapabilities), it overwrites; nothing's safety may depend on it alone.
    - No name may be the beginning of another at a "/" ("a" beside "a/b"): folders and some servers cannot hold both.
    - Every call may be repeated. `delete` of a missing object is success.
    - `list` yields each object whose name begins with the prefix once, whatever the page size, in an order of the store's own (S3 servers
      do not agree on one: sort what must be sorted). Objects put or deleted meanwhile may or may not show. After a TemporaryError the same
      iterator may be asked again: it goes on where it was.
    - Errors are ours: StoreUnavailable (temporary; StoreBusy where the store asks for a pause), StoreFull, StoreRefused, BucketMissing,
      ObjectMissing, ObjectExists. No call waits for ever: `deadline.py` says how long at most.
      A name outside the rules, a negative offset or length: StoreRefused. The bucket gone: BucketMissing, from every call
      but signing and, on servers that make buckets unasked, `put`.
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
        """A URL for one create-only PUT of exactly this length (bytes) and MD5 (16 bytes; b"": of any content). Asks the store nothing."""

    def sign_get(self, name: str, *, expires_seconds: int) -> str: ...

    @property
    def url(self) -> str:
        """Where it is, without secrets."""


class SignedTransfer(Protocol):
    """Presigned PUTs and GETs: all that an agent can do with a store. `presigned.PresignedClient` is the adapter. Thread-safe.

    Errors: StoreUnavailable (temporary: no answer, 5xx, a body cut short; StoreBusy where the store asks for a pause), StoreFull,
    StoreRefused (expired, wrong signature, wrong length or MD5, a header left out), ObjectMissing, BucketMissing. No call waits for ever:
    `deadline.py` says how long at most.
    """

    def put(self, target: SignedPut, body: bytes | memoryview) -> StoredAs:
        """Sends the body with exactly the target's headers. EXISTS also where an earlier, unanswered call of ours stored it."""

    def get(self, url: str) -> bytes: ...

    def get_range(self, url: str, offset: int, length: int) -> bytes:
        """As Store.get_range: fewer than `length` bytes only where the object ends."""

    def get_suffix(self, url: str, length: int) -> bytes:
        """As Store.get_suffix: the last `length` bytes (at least 1), or the whole object where it is shorter."""
