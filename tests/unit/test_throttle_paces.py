"""Limits of bandwidth and requests: what passes a bucket, who waits, and what a paced disk asks for."""

import fcntl
import math
import os
import struct
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.agent.errors import Canceled
from seawall.agent.throttle.bucket import TokenBucket
from seawall.agent.throttle.bucket_pace import BucketPace, ReadingStopped
from seawall.agent.throttle.host_limit import BYTES_FILE, host_limit
from seawall.agent.throttle.shared_bucket import LOCK_SECONDS, SharedBucket
from seawall.agent.throttle.stacked import PacedSource, StackedPace
from support.memory_disks import ModelDisk
from support.store_clock import SkippingClock

MIB = 1024 * 1024


@given(
    st.floats(1, 1e9),
    st.floats(0, 1e8),
    st.lists(st.tuples(st.floats(0, 10), st.floats(0, 1e8)), min_size=1, max_size=100),
)
def test_no_more_passes_than_rate_burst_and_one_amount(
    per_second: float, burst: float, wishes: list[tuple[float, float]]
) -> None:
    bucket, now, passed = TokenBucket(per_second, burst, 0.0), 0.0, 0.0
    for elapsed, amount in wishes:
        now += elapsed
        if bucket.take(amount, now) == 0:
            passed += amount
    largest = max(amount for _, amount in wishes)
    assert passed <= (per_second * now + burst + largest) * 1.000001


@given(st.floats(1000, 1e9), st.lists(st.floats(1, 1e7), min_size=5, max_size=50))
def test_whoever_waits_as_told_gets_the_whole_rate(per_second: float, amounts: list[float]) -> None:
    bucket, now = TokenBucket(per_second, 1.0, 0.0), 0.0
    for amount in amounts:
        while (seconds := bucket.take(amount, now)) > 0:
            now += seconds
    waited_for = sum(amounts[:-1])
    assert now <= waited_for / per_second * 1.01 + 0.0011 * len(amounts)


def test_debt_is_paid_at_the_new_rate() -> None:
    bucket = TokenBucket(10.0, 1.0, 0.0)
    assert bucket.take(101.0, 0.0) == 0
    assert bucket.take(1.0, 0.0) == pytest.approx(10.0)
    bucket.change(1000.0, 1.0, 0.0)
    assert bucket.take(1.0, 0.0) == pytest.approx(0.1)


def pace(clock: SkippingClock) -> BucketPace:
    return BucketPace(clock, lambda: None, lambda: "the limit")


def test_a_limit_holds_and_is_told() -> None:
    clock = SkippingClock()
    limited = pace(clock)
    limited.limit_bytes(10 * MIB)
    start = clock.monotonic_seconds()
    assert limited.waiting_on == ""
    for _ in range(100):
        limited.admit(MIB // 2, 1)
    assert clock.monotonic_seconds() - start == pytest.approx(5.0, rel=0.05)
    assert limited.held_back_seconds == pytest.approx(5.0, rel=0.05)
    assert limited.waiting_on == "the limit"
    clock.pass_seconds(2)
    assert limited.waiting_on == ""


def test_requests_are_limited_beside_bytes() -> None:
    clock = SkippingClock()
    limited = pace(clock)
    limited.limit_requests(10)
    start = clock.monotonic_seconds()
    for _ in range(50):
        limited.admit(2 * MIB, 1)
    assert clock.monotonic_seconds() - start == pytest.approx(5.0, rel=0.1)


def test_no_limit_takes_no_time() -> None:
    clock = SkippingClock()
    free = pace(clock)
    for _ in range(1000):
        free.admit(64 * MIB, 32)
    assert clock.pauses == [] and free.admitted_bytes == 64_000 * MIB


def test_a_canceled_worker_waits_for_nothing() -> None:
    def canceled() -> None:
        raise Canceled("canceled by the operator")

    limited = BucketPace(SkippingClock(), canceled, lambda: "")
    limited.limit_bytes(1000)
    limited.admit(10_000, 1)
    with pytest.raises(Canceled):
        limited.admit(1, 1)


def test_a_limit_that_is_lifted_lets_go_of_who_waits() -> None:
    """Several threads wait for a debt of minutes on a clock that only their steps move."""
    clock = SkippingClock()
    limited = pace(clock)
    limited.limit_bytes(1000)
    limited.admit(1_000_000_000, 1)
    threads = [threading.Thread(target=limited.admit, args=(1, 1)) for _ in range(3)]
    for thread in threads:
        thread.start()
    limited.limit_bytes(math.inf)
    for thread in threads:
        thread.join(20)
    assert not any(thread.is_alive() for thread in threads)


def test_an_ended_point_lets_go_of_who_waits() -> None:
    limited = pace(SkippingClock())
    limited.limit_bytes(1000)
    limited.admit(1_000_000_000, 1)
    limited.stop()
    with pytest.raises(ReadingStopped):
        limited.admit(1, 1)


@pytest.mark.parametrize("rate", [0.5, 4, 25, 1000, math.inf])
def test_a_paced_disk_reads_the_same_bytes_in_slices_that_fit(rate: float) -> None:
    clock = SkippingClock()
    limited = pace(clock)
    limited.limit_bytes(rate * MIB)
    content = bytes(range(256)) * (3 * MIB // 256) + b"tail" * 128
    disk = ModelDisk(len(content))
    disk.write(0, content)
    source = PacedSource(disk.source(), StackedPace([limited]))
    buffer = bytearray(len(content) - 512)
    source.read_into(512, memoryview(buffer))
    assert bytes(buffer) == content[512:]
    assert source.size_bytes == len(content)
    assert limited.admitted_bytes == len(buffer)
    if rate < math.inf:
        assert limited.slice_bytes % 65_536 == 0 and limited.slice_bytes <= max(rate * MIB / 10, 65_536)


def shared(folder: Path, clock: SkippingClock, bytes_per_second: int = 10 * MIB) -> BucketPace:
    made = host_limit(folder, bytes_per_second, 0, clock, lambda: None)
    assert made is not None
    return made


def test_a_host_without_a_limit_has_no_pace(tmp_path: Path) -> None:
    assert host_limit(tmp_path, 0, 0, SkippingClock(), lambda: None) is None


def test_workers_of_a_host_share_its_limit(tmp_path: Path) -> None:
    """Three of them, each with a pace of its own over the same file, as in three processes."""
    clock = SkippingClock()
    paces = [shared(tmp_path, clock) for _ in range(3)]
    start = clock.monotonic_seconds()
    for _ in range(40):
        for one in paces:
            one.admit(MIB // 2, 1)
    assert clock.monotonic_seconds() - start == pytest.approx(6.0, rel=0.05)
    assert "this host's limit of 10.4858 MB/s" in (paces[0].waiting_on, paces[1].waiting_on, paces[2].waiting_on)


def test_a_stopped_worker_that_holds_the_lock_holds_nobody_up_for_long(tmp_path: Path) -> None:
    clock = SkippingClock()
    one = shared(tmp_path, clock)
    held = os.open(tmp_path / BYTES_FILE, os.O_RDWR)
    fcntl.flock(held, fcntl.LOCK_EX)
    start = clock.monotonic_seconds()
    one.admit(MIB, 1)
    assert LOCK_SECONDS <= clock.monotonic_seconds() - start < LOCK_SECONDS + 1
    os.close(held)
    one.admit(MIB, 1)


@pytest.mark.parametrize(
    "left",
    [b"", b"short", struct.pack("<dd", 1e300, 5.0), struct.pack("<dd", -1e300, 5.0), struct.pack("<dd", 0.0, 1e12)],
)
def test_what_lies_in_the_file_is_not_trusted(tmp_path: Path, left: bytes) -> None:
    """A time to come, or a debt of years, as after a clock that was wrong."""
    (tmp_path / BYTES_FILE).write_bytes(left)
    clock = SkippingClock()
    one = shared(tmp_path, clock)
    one.admit(MIB, 1)
    one.admit(MIB, 1)
    assert sum(clock.pauses) < 1


def test_the_narrowest_of_several_paces_decides() -> None:
    clock = SkippingClock()
    wide, narrow = pace(clock), BucketPace(clock, lambda: None, lambda: "the narrow one")
    wide.limit_bytes(1000 * MIB)
    narrow.limit_bytes(5 * MIB)
    both = StackedPace([wide, narrow])
    start = clock.monotonic_seconds()
    for _ in range(20):
        both.admit(MIB // 2, 1)
    assert clock.monotonic_seconds() - start == pytest.approx(2.0, rel=0.1)
    assert both.waiting_on == "the narrow one"
    assert both.slice_bytes == narrow.slice_bytes


def test_a_worker_that_was_overtaken_after_it_had_asked_for_the_time_finds_what_others_owe(tmp_path: Path) -> None:
    one, other = (SharedBucket(tmp_path / BYTES_FILE, 1000.0, 100.0) for _ in range(2))
    assert one.take(5000.0, 50.005) == 0
    assert other.take(1.0, 50.0) > 4.5
    assert one.take(1.0, 50.006) > 4.5
