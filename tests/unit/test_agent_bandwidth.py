"""A worker's bucket: the rate holds, changes at once, and a stop ends every wait."""

import threading

import pytest

from seawall.agent.errors import Canceled
from seawall.agent.limits.bucket import RateBucket, TransferStopped
from seawall.agent.limits.division import LEAST_PART
from seawall.agent.limits.throttled import ThrottledTransfer
from seawall.agent.limits.traffic import TrafficMeter
from seawall.agent.worker.pipe import NewRate, StopReason, order_line, parse_order
from seawall.agent.worker.stop import StopFlag
from seawall.controller.timings import Timings
from seawall.repository.clock import SystemClock
from seawall.repository.format.pack import PACK_TARGET_BYTES
from seawall.repository.store.port import SignedPut, StoredAs
from support.controller_clock import ManualClock

MIB = 2**20


class Bodies:
    """A SignedTransfer that keeps what it is sent."""

    def __init__(self) -> None:
        self.sent: list[int] = []

    def put(self, target: SignedPut, body: bytes | memoryview) -> StoredAs:
        self.sent.append(len(body))
        return StoredAs.NEW

    def get(self, url: str) -> bytes:
        return bytes(MIB)

    def get_range(self, url: str, offset: int, length: int) -> bytes:
        return bytes(length)

    def get_suffix(self, url: str, length: int) -> bytes:
        return bytes(length)


def test_a_long_run_keeps_to_the_rate() -> None:
    clock = ManualClock()
    bucket = RateBucket(clock, clock.advance, 10 * MIB)
    begun = clock.monotonic_seconds()
    for _ in range(100):
        bucket.take(4 * MIB)
    elapsed = clock.monotonic_seconds() - begun
    assert 400 / 10 - 2 <= elapsed <= 400 / 10 + 1


def test_puts_and_gets_are_paid_for() -> None:
    clock = ManualClock()
    bucket = RateBucket(clock, clock.advance, MIB)
    transfer = ThrottledTransfer(Bodies(), bucket)
    begun = clock.monotonic_seconds()
    transfer.put(SignedPut("u"), memoryview(bytes(2 * MIB)))
    transfer.get("u")
    transfer.get_range("u", 0, 3 * MIB)
    transfer.get_suffix("u", MIB)
    assert bucket.passed_bytes == 7 * MIB
    assert clock.monotonic_seconds() - begun >= 5 - 0.5


def test_another_rate_counts_while_somebody_waits() -> None:
    clock = ManualClock()
    slept: list[float] = []

    def pause(seconds: float) -> None:
        slept.append(seconds)
        clock.advance(seconds)
        if len(slept) == 3:
            bucket.set_rate(100 * MIB)

    bucket = RateBucket(clock, pause, MIB)
    bucket.take(61 * MIB)
    bucket.take(1)
    assert sum(slept) < 2, "60 s at the old rate"
    bucket.take(200 * MIB)
    bucket.set_rate(0)
    before = len(slept)
    bucket.take(MIB)
    assert len(slept) == before


def test_a_limit_that_begins_owes_nothing_and_holds_nobody_back_at_once() -> None:
    clock = ManualClock()
    bucket = RateBucket(clock, clock.advance, 0)
    bucket.take(100 * MIB)
    bucket.set_rate(MIB)
    begun = clock.monotonic_seconds()
    bucket.take(3 * MIB)
    assert clock.monotonic_seconds() == begun
    assert not bucket.held_back(60)
    bucket.take(1)
    assert clock.monotonic_seconds() - begun == pytest.approx(3, abs=0.1), "no burst: it is of the first limit alone"


def test_a_stop_ends_the_wait() -> None:
    stop = StopFlag()
    bucket = RateBucket(SystemClock(), stop.pause, 1)
    bucket.take(10**6)
    waiting = threading.Timer(0.05, stop.request, [StopReason.CANCELED])
    waiting.start()
    with pytest.raises(Canceled):
        bucket.take(1)
    waiting.join()
    assert bucket.waiting_on == ""


def test_who_was_held_back_lately_says_so() -> None:
    clock = ManualClock()
    bucket = RateBucket(clock, clock.advance, MIB)
    meter = TrafficMeter(bucket, clock)
    clock.advance(1)
    assert not meter.read().held_back
    for _ in range(20):
        bucket.take(MIB)
    report = meter.read()
    assert report.held_back
    assert report.demand > 2**40
    clock.advance(60)
    assert not meter.read().held_back
    assert meter.read().rate_bytes_per_second < MIB


def test_the_rate_passes_the_pipe() -> None:
    assert parse_order(order_line(NewRate(12345))) == NewRate(12345)


def test_the_end_of_the_work_ends_the_wait() -> None:
    bucket = RateBucket(SystemClock(), StopFlag().pause, 1)
    bucket.take(10**6)
    waiting = threading.Timer(0.05, bucket.stop)
    waiting.start()
    with pytest.raises(TransferStopped):
        bucket.take(1)
    waiting.join()


def test_a_pack_passes_before_the_controller_misses_progress() -> None:
    """To two places, by a worker that gets no more than the least."""
    assert 2 * PACK_TARGET_BYTES / LEAST_PART < Timings().no_progress_seconds
