"""Retry, throttle and count: their rules, on a clock that skips pauses."""

import random
from collections.abc import Iterator

import pytest

from seawall.repository.errors import ObjectExists, ObjectMissing, StoreRefused, StoreUnavailable
from seawall.repository.store.count import CountingStore, VerbCount
from seawall.repository.store.memory import MemoryStore
from seawall.repository.store.port import ObjectInfo
from seawall.repository.store.retry import RetryingStore, RetryPolicy
from seawall.repository.store.throttle import ThrottledStore, TokenBucket
from support.store_clock import SkippingClock


class FailingStore(MemoryStore):
    """Raises the planned errors first, one per put or get; `after_write`: only once the put was done."""

    def __init__(self, errors: list[Exception], *, after_write: bool = False) -> None:
        super().__init__()
        self._errors: Iterator[Exception] = iter(errors)
        self._after_write = after_write
        self.attempts = 0

    def put(self, name: str, body: bytes | memoryview, *, create_only: bool = True) -> None:
        if self._after_write:
            super().put(name, body, create_only=create_only)
        self._fail()
        if not self._after_write:
            super().put(name, body, create_only=create_only)

    def get(self, name: str) -> bytes:
        self._fail()
        return super().get(name)

    def _fail(self) -> None:
        self.attempts += 1
        for error in self._errors:
            raise error


def test_pauses_are_random_parts_of_bounds_that_double() -> None:
    clock = SkippingClock()
    policy = RetryPolicy(first_bound_seconds=1, last_bound_seconds=8, deadline_seconds=1000)
    store = RetryingStore(FailingStore([StoreUnavailable()] * 6), clock, policy, random.Random(7))
    store.put("v1/x", b"x")
    expected = random.Random(7)
    assert clock.pauses == [expected.uniform(0, bound) for bound in (1, 2, 4, 8, 8, 8)]


def test_the_deadline_ends_it_with_the_last_error() -> None:
    clock = SkippingClock()
    inner = FailingStore([StoreUnavailable(f"number {number}") for number in range(1, 1000)])
    began = clock.monotonic_seconds()
    with pytest.raises(StoreUnavailable) as caught:
        RetryingStore(inner, clock, RetryPolicy(deadline_seconds=30)).get("v1/x")
    assert str(caught.value) == f"number {inner.attempts}"
    assert inner.attempts > 2
    assert clock.monotonic_seconds() - began <= 30


def test_a_slow_first_attempt_uses_the_deadline_up() -> None:
    clock = SkippingClock()

    class SlowStore(MemoryStore):
        attempts = 0

        def get(self, name: str) -> bytes:
            self.attempts += 1
            clock.pass_seconds(31)
            raise StoreUnavailable("slow")

    inner = SlowStore()
    with pytest.raises(StoreUnavailable):
        RetryingStore(inner, clock, RetryPolicy(deadline_seconds=30)).get("v1/x")
    assert (inner.attempts, clock.pauses) == (1, [])


@pytest.mark.parametrize("error", [StoreRefused("no"), ObjectMissing("none"), ObjectExists("taken")])
def test_permanent_errors_are_not_tried_again(error: Exception) -> None:
    clock = SkippingClock()
    inner = FailingStore([error])
    with pytest.raises(type(error)):
        RetryingStore(inner, clock).get("v1/x")
    assert (inner.attempts, clock.pauses) == (1, [])


def test_a_put_whose_answer_was_lost_is_a_success() -> None:
    inner = FailingStore([StoreUnavailable("lost")], after_write=True)
    RetryingStore(inner, SkippingClock()).put("v1/x", memoryview(b"body"))
    assert inner.get("v1/x") == b"body"


def test_a_repeated_put_that_meets_another_body_of_the_same_size_is_refused() -> None:
    inner = FailingStore([StoreUnavailable("lost")])
    MemoryStore.put(inner, "v1/x", b"them")
    with pytest.raises(ObjectExists):
        RetryingStore(inner, SkippingClock()).put("v1/x", b"ours")


def test_a_first_put_that_meets_the_same_body_is_refused() -> None:
    store = RetryingStore(MemoryStore(), SkippingClock())
    store.put("v1/x", b"same")
    with pytest.raises(ObjectExists):
        store.put("v1/x", b"same")


def test_the_throttle_keeps_the_rate_whatever_the_sizes() -> None:
    clock = SkippingClock()
    store = ThrottledStore(MemoryStore(), TokenBucket(1000, clock, burst_bytes=500))
    began = clock.monotonic_seconds()
    for number, size in enumerate([400, 2_000, 1, 99, 3_000]):
        store.put(f"v1/{number}", b"x" * size)
    store.get("v1/1")
    assert clock.monotonic_seconds() - began == pytest.approx((400 + 2_000 + 1 + 99 + 3_000 + 2_000 - 500) / 1000)


def test_unused_tokens_are_kept_up_to_the_burst() -> None:
    clock = SkippingClock()
    bucket = TokenBucket(1000, clock, burst_bytes=500)
    bucket.take(500)
    clock.pass_seconds(100)
    bucket.take(500)
    assert clock.pauses == []
    bucket.take(250)
    assert clock.pauses == [pytest.approx(0.25)]


def test_calls_without_a_body_are_free() -> None:
    clock = SkippingClock()
    store = ThrottledStore(MemoryStore(), TokenBucket(1, clock, burst_bytes=1))
    store.put("v1/x", b"x")
    store.head("v1/x")
    assert [info.name for info in store.list("")] == ["v1/x"]
    store.delete("v1/x")
    assert clock.pauses == []


def test_a_rate_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="zero"):
        TokenBucket(0, SkippingClock())


def test_requests_failures_and_bytes_are_counted_by_verb() -> None:
    store = CountingStore(MemoryStore())
    store.put("v1/x", b"12345")
    with pytest.raises(ObjectExists):
        store.put("v1/x", b"123")
    store.get("v1/x")
    store.get_range("v1/x", 1, 2)
    store.get_suffix("v1/x", 1)
    store.head("v1/x")
    with pytest.raises(ObjectMissing):
        store.head("v1/y")
    assert len(list(store.list(""))) == 1
    store.delete("v1/x")
    store.sign_get("v1/x", expires_seconds=1)
    assert store.counts() == {
        "put": VerbCount(requests=2, failures=1, bytes=5),
        "get": VerbCount(requests=3, failures=0, bytes=8),
        "head": VerbCount(requests=2, failures=1),
        "list": VerbCount(requests=1),
        "delete": VerbCount(requests=1),
    }


def test_counting_below_retries_sees_every_attempt() -> None:
    counter = CountingStore(FailingStore([StoreUnavailable()] * 2))
    RetryingStore(counter, SkippingClock()).put("v1/x", b"123")
    assert counter.counts() == {"put": VerbCount(requests=3, failures=2, bytes=3)}


class BreakingList(Iterator[ObjectInfo]):
    """Answers every second call; the others fail for now."""

    def __init__(self) -> None:
        self._calls = 0

    def __next__(self) -> ObjectInfo:
        self._calls += 1
        if self._calls % 2 == 0:
            raise StoreUnavailable
        if self._calls > 5:
            raise StopIteration
        return ObjectInfo(f"v1/{self._calls}", 0, 0)


def test_a_list_that_was_given_up_can_be_asked_again() -> None:
    """A part of a list, taken for all of it, would make points vanish."""

    class BreakingStore(MemoryStore):
        def list(self, prefix: str) -> Iterator[ObjectInfo]:
            return BreakingList()

    seen: list[str] = []
    failures = 0
    listing = RetryingStore(BreakingStore(), SkippingClock(), RetryPolicy(deadline_seconds=-1)).list("v1/")
    while True:
        try:
            for info in listing:
                seen.append(info.name)
            break
        except StoreUnavailable:
            failures += 1
    assert (seen, failures) == (["v1/1", "v1/3", "v1/5"], 3)
