"""The watch over a guest: peace before the backup, then a rate that follows what it looks at, whatever goes wrong with looking."""

import math
import threading
from collections.abc import Callable

import pytest

from seawall.agent.errors import HypervisorError
from seawall.agent.throttle.guest import GuestWatch
from seawall.agent.throttle.idle import IdleLatency
from seawall.agent.throttle.latency import BlockCounts, Look
from seawall.agent.throttle.rate_control import (
    ALONE_BYTES_PER_SECOND,
    BLIND_BYTES_PER_SECOND,
    FLOOR_BYTES_PER_SECOND,
    START_BYTES_PER_SECOND,
)
from seawall.repository.clock import SystemClock
from support.libvirt_host import await_true


class Counted:
    """A guest that finishes so many requests whenever it is looked at."""

    def __init__(self, milliseconds: float, per_look: int = 2) -> None:
        self.milliseconds, self._per_look = milliseconds, per_look
        self.error: Exception | None = None
        self._requests = self._nanoseconds = 0
        self.looks = 0
        self._lock = threading.Lock()

    def __call__(self) -> Look:
        with self._lock:
            self.looks += 1
            if self.error is not None:
                raise self.error
            self._requests += self._per_look
            self._nanoseconds += round(self._per_look * self.milliseconds * 1e6)
            return {"vda": BlockCounts(self._requests, self._nanoseconds)}


def watching(look: Callable[[], Look] | None) -> GuestWatch:
    return GuestWatch(look, SystemClock(), lambda: None)


def rate(watch: GuestWatch) -> float:
    return watch.pace._bytes.per_second


def test_nothing_is_held_back_before_the_backup_and_where_nobody_can_tell() -> None:
    with watching(None) as watch:
        watch.know_in_peace(lambda _: pytest.fail("there is nothing to wait for"))
        watch.hold_back(0, 2.0)
        assert rate(watch) == math.inf and watch.summary() == ""


def test_the_ceiling_is_twice_what_peace_took_and_passing_it_lowers_the_rate() -> None:
    guest = Counted(10.0)
    pauses = threading.Event()
    with watching(guest) as watch:
        watch.know_in_peace(lambda seconds: bool(pauses.wait(seconds)))
        watch.hold_back(0, 2.0)
        assert rate(watch) == START_BYTES_PER_SECOND
        guest.milliseconds = 19.0
        looks = guest.looks
        await_true(lambda: guest.looks > looks + 4, "a few looks")
        assert rate(watch) == START_BYTES_PER_SECOND
        guest.milliseconds = 200.0
        await_true(lambda: rate(watch) == FLOOR_BYTES_PER_SECOND, "reading is at its floor", 5)


@pytest.mark.parametrize("error", [HypervisorError("libvirt does not answer"), ZeroDivisionError("nobody foresaw it")])
def test_a_guest_that_cannot_be_looked_at_is_read_with_care_until_it_can(error: Exception) -> None:
    guest = Counted(1.0)
    with watching(guest) as watch:
        await_true(lambda: guest.looks > 2, "it is known")
        watch.hold_back(50, 2.0)
        guest.error = error
        await_true(lambda: rate(watch) == BLIND_BYTES_PER_SECOND, "it is read with care", 15)
        guest.error = None
        looks = guest.looks
        await_true(lambda: guest.looks > looks + 2, "it is looked at again")


def test_a_guest_that_never_could_be_looked_at_is_read_with_care_too() -> None:
    guest = Counted(1.0)
    guest.error = HypervisorError("libvirt does not answer within 2 seconds")
    with watching(guest) as watch:
        watch.hold_back(0, 2.0)
        assert rate(watch) == START_BYTES_PER_SECOND
        await_true(lambda: rate(watch) == BLIND_BYTES_PER_SECOND, "it is read with care", 15)
        assert watch._sentence() == "guest latency (libvirt does not tell it)"


def test_a_guest_that_does_nothing_is_read_fast_from_the_start() -> None:
    with watching(Counted(1.0, per_look=0)) as watch:
        watch.know_in_peace(threading.Event().wait)
        watch.hold_back(0, 2.0)
        assert rate(watch) == ALONE_BYTES_PER_SECOND


def test_without_counts_nothing_is_held_back() -> None:
    with watching(dict) as watch:
        watch.hold_back(0, 2.0)
        await_true(lambda: rate(watch) == math.inf, "it is known that nobody can tell", 5)


def test_a_disk_that_is_first_used_while_the_ceiling_is_made_is_no_trouble() -> None:
    idle = IdleLatency()

    class Growing(list[float]):
        def __len__(self) -> int:
            idle.feed({"vdb": 1.0})
            return super().__len__()

    idle._seen["vda"] = Growing([3.0, 3.0])
    assert idle.known["vda"] == 3.0
