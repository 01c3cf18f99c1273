"""Retries of temporary errors, for stores and for presigned transfers: the repository's only user of tenacity.

Full jitter (each pause is a random part of a bound that doubles), a total deadline, and the caller's clock.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception_type

from seawall.repository.clock import Clock
from seawall.repository.errors import ObjectExists, ObjectMissing, StoreBusy, TemporaryError
from seawall.repository.store.pace import Pace, Waits
from seawall.repository.store.port import ObjectInfo, SignedPut, SignedTransfer, Store, StoredAs

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long to go on. No pause is begun that would end after the deadline; a call under way is not cut short by it."""

    first_bound_seconds: float = 0.2
    """The first pause is a random part of this; each next bound is twice the one before."""
    last_bound_seconds: float = 20.0
    deadline_seconds: float = 120.0
    """Counted from the beginning of the first attempt."""


class Retrier:
    """Runs a call until it succeeds, fails for good, or the deadline passes; then the last error is raised as it came.

    Where one call met a busy store, the others begin no sooner than that one is repeated.
    """

    def __init__(self, clock: Clock, policy: RetryPolicy, jitter: random.Random) -> None:
        self.waits = Waits(clock, "the store")
        self._pace = Pace(clock)
        self._clock = clock
        self._policy = policy
        self._jitter = jitter

    def run(self, call: Callable[[], T]) -> T:
        deadline = self._clock.monotonic_seconds() + self._policy.deadline_seconds

        def is_over(state: RetryCallState) -> bool:
            return self._clock.monotonic_seconds() + state.upcoming_sleep > deadline

        def paced() -> T:
            self._pace.keep()
            return call()

        retrying = Retrying(
            retry=retry_if_exception_type(TemporaryError),
            wait=self._pause_seconds,
            stop=is_over,
            before_sleep=self._note,
            sleep=self._clock.sleep_seconds,
            reraise=True,
        )
        try:
            return retrying(paced)
        finally:
            self.waits.over()

    def _note(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome is not None else None
        if isinstance(error, StoreBusy):
            self._pace.slow_down(state.upcoming_sleep)
        self.waits.failed(str(error))

    def _pause_seconds(self, state: RetryCallState) -> float:
        doublings = min(state.attempt_number - 1, 30)
        bound = min(self._policy.last_bound_seconds, self._policy.first_bound_seconds * 2**doublings)
        return self._jitter.uniform(0.0, bound)


class RetryingStore:
    """A Store that repeats what failed for now. Put it outermost but for counters that should see one call as one."""

    def __init__(
        self, inner: Store, clock: Clock, policy: RetryPolicy | None = None, jitter: random.Random | None = None
    ) -> None:
        self._inner = inner
        self._retrier = Retrier(clock, policy or RetryPolicy(), jitter or random.Random())  # noqa: S311 - no secret

    @property
    def url(self) -> str:
        return self._inner.url

    def put(self, name: str, body: bytes | memoryview, *, create_only: bool = True) -> None:
        tried = False

        def put_once() -> None:
            nonlocal tried
            again, tried = tried, True
            try:
                self._inner.put(name, body, create_only=create_only)
            except ObjectExists:
                # Only a repeated call may have met its own object: the first one's answer was lost after the write.
                if not (again and self._holds(name, body)):
                    raise

        self._retrier.run(put_once)

    def get(self, name: str) -> bytes:
        return self._retrier.run(lambda: self._inner.get(name))

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        return self._retrier.run(lambda: self._inner.get_range(name, offset, length))

    def get_suffix(self, name: str, length: int) -> bytes:
        return self._retrier.run(lambda: self._inner.get_suffix(name, length))

    def head(self, name: str) -> ObjectInfo:
        return self._retrier.run(lambda: self._inner.head(name))

    def delete(self, name: str) -> None:
        self._retrier.run(lambda: self._inner.delete(name))

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        return _Listing(self._inner.list(prefix), self._retrier)

    def sign_put(self, name: str, length: int, md5: bytes, *, expires_seconds: int) -> SignedPut:
        return self._inner.sign_put(name, length, md5, expires_seconds=expires_seconds)

    def sign_get(self, name: str, *, expires_seconds: int) -> str:
        return self._inner.sign_get(name, expires_seconds=expires_seconds)

    def _holds(self, name: str, body: bytes | memoryview) -> bool:
        try:
            return self._inner.head(name).size_bytes == memoryview(body).nbytes and self._inner.get(name) == body
        except ObjectMissing:
            return False


class _Listing(Iterator[ObjectInfo]):
    """No generator: one that has raised is at its end, and who asked it again would take a part of the list for all of it."""

    def __init__(self, inner: Iterator[ObjectInfo], retrier: Retrier) -> None:
        self._inner = inner
        self._retrier = retrier

    def __next__(self) -> ObjectInfo:
        info = self._retrier.run(lambda: next(self._inner, None))
        if info is None:
            raise StopIteration
        return info


class RetryingTransfer:
    """A SignedTransfer that repeats what failed for now. A PUT whose answer was lost comes back as EXISTS."""

    def __init__(
        self,
        inner: SignedTransfer,
        clock: Clock,
        policy: RetryPolicy | None = None,
        jitter: random.Random | None = None,
    ) -> None:
        self._inner = inner
        self._retrier = Retrier(clock, policy or RetryPolicy(), jitter or random.Random())  # noqa: S311 - no secret

    @property
    def waiting_on(self) -> str:
        """What is waited for while a call is being repeated, as a sentence; "" else. Any thread may ask."""
        return self._retrier.waits.sentence()

    def put(self, target: SignedPut, body: bytes | memoryview) -> StoredAs:
        return self._retrier.run(lambda: self._inner.put(target, body))

    def get(self, url: str) -> bytes:
        return self._retrier.run(lambda: self._inner.get(url))

    def get_range(self, url: str, offset: int, length: int) -> bytes:
        return self._retrier.run(lambda: self._inner.get_range(url, offset, length))

    def get_suffix(self, url: str, length: int) -> bytes:
        return self._retrier.run(lambda: self._inner.get_suffix(url, length))
