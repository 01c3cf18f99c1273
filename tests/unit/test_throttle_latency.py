"""Latency from counts: quotients of two looks, silence after work, and the ceiling that follows from peace."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.agent.throttle.idle import FLOOR_MS, Ceiling, IdleLatency
from seawall.agent.throttle.latency import SILENCE_SECONDS, BlockCounts, GuestLatency
from seawall.agent.throttle.rate_control import MIB, RateControl

STEP = 0.2
PIPELINE = 400.0 * MIB


class Guest:
    """A disk whose requests are counted as libvirt does: when they end."""

    def __init__(self) -> None:
        self.latency, self.now, self.counts = GuestLatency(), 100.0, BlockCounts(1000, 5_000_000_000)

    def work(self, per_look: int, milliseconds: float, looks: int = 1) -> dict[str, float]:
        found: dict[str, float] = {}
        for _ in range(looks):
            self.now += STEP
            took = round(per_look * milliseconds * 1e6)
            self.counts = BlockCounts(self.counts.requests + per_look, self.counts.nanoseconds + took)
            found = self.latency.feed({"vda": self.counts}, self.now)
        return found


def test_the_past_does_not_count() -> None:
    guest = Guest()
    assert guest.work(0, 0) == {}
    assert guest.work(10, 3.0) == {"vda": 3.0}
    assert guest.work(10, 3.0, looks=10) == {"vda": 3.0}


def test_a_change_is_seen_within_two_looks() -> None:
    guest = Guest()
    guest.work(10, 1.0, looks=10)
    assert guest.work(10, 21.0)["vda"] == 11.0
    assert guest.work(10, 21.0)["vda"] == 21.0
    guest.work(10, 1.0)
    assert guest.work(10, 1.0) == {"vda": 1.0}


def test_a_guest_that_does_nothing_has_no_latency() -> None:
    guest = Guest()
    assert guest.work(0, 0, looks=50) == {}


def test_silence_after_work_is_a_request_that_waits() -> None:
    guest = Guest()
    guest.work(10, 1.0, looks=10)
    guest.work(0, 0, looks=2)
    silent = guest.work(0, 0)
    assert silent["vda"] > 500
    assert guest.work(0, 0)["vda"] > silent["vda"]
    assert guest.work(0, 0, looks=round(SILENCE_SECONDS / STEP)) == {}  # it has nothing to do


def test_silence_of_a_guest_that_works_now_and_then_means_nothing() -> None:
    guest = Guest()
    for _ in range(10):
        guest.work(1, 1.0)
        assert guest.work(0, 0, looks=9) == {}


def test_a_vm_that_restarted_begins_anew() -> None:
    guest = Guest()
    guest.work(10, 1.0, looks=5)
    guest.counts = BlockCounts(0, 0)
    assert guest.work(0, 0) == {}
    assert guest.work(5, 2.0) == {"vda": 2.0}


@given(st.lists(st.tuples(st.integers(0, 1000), st.floats(0.01, 500)), min_size=2, max_size=60))
def test_a_quotient_lies_between_what_was_measured(work: list[tuple[int, float]]) -> None:
    guest = Guest()
    guest.work(0, 0)
    for number, (requests, milliseconds) in enumerate(work):
        found = guest.work(requests, milliseconds).get("vda")
        lately = [took for count, took in work[max(0, number - 3) : number + 1] if count]
        if requests:
            assert found is not None and min(lately) * 0.999 <= found <= max(lately) * 1.001


def test_the_ceiling_follows_the_median_of_peace() -> None:
    idle = IdleLatency()
    for latency in (4.0, 5.0, 300.0, 5.0, 6.0):
        idle.feed({"vda": latency, "vdb": 0.1})
    ceiling = Ceiling(0, idle.known)
    assert not ceiling.absolute
    assert (ceiling.of("vda"), ceiling.of("vdb"), ceiling.of("vdc")) == (10.0, FLOOR_MS, FLOOR_MS)
    assert ceiling.worst({"vda": 5.0, "vdb": 3.0}) == ("vdb", 1.5)
    assert ceiling.worst({}) == ("", 0.0)


def test_a_single_look_is_no_peace() -> None:
    idle = IdleLatency()
    idle.feed({"vda": 50.0})
    assert idle.seen and Ceiling(0, idle.known).of("vda") == FLOOR_MS


def test_a_ceiling_that_somebody_set_is_that_of_all_disks() -> None:
    ceiling = Ceiling(20, {"vda": 100.0})
    assert ceiling.absolute and ceiling.of("vda") == ceiling.of("vdb") == 20


def rates_beside(every: int, per_burst: int, seconds: int) -> list[float]:
    """Of reading, look by look, beside a guest that finishes so many quick requests every so many looks, and rests in between."""
    guest, control, ceiling, rates = Guest(), RateControl(forgiving=True), Ceiling(0, {}), []
    for look in range(round(seconds / STEP)):
        found = guest.work(0 if look % every else per_burst, 1.0)
        control.see(ceiling.worst(found)[1], min(control.rate, PIPELINE), guest.now)
        rates.append(control.rate)
    return rates


@pytest.mark.parametrize(("every", "per_burst"), [(25, 12), (25, 40), (10, 30), (5, 10)])
def test_a_guest_that_writes_a_handful_now_and_then_does_not_hold_reading_back(every: int, per_burst: int) -> None:
    """As a file system that commits every five seconds: its pauses are nobody's waiting."""
    rates = rates_beside(every, per_burst, 60)
    assert min(rates[len(rates) // 2 :]) >= PIPELINE / 2


def test_a_guest_whose_pauses_were_waiting_is_still_believed() -> None:
    guest = Guest()
    for _ in range(5):
        guest.work(10, 1.0, looks=10)
        assert guest.work(0, 0, looks=4)["vda"] > 500
        guest.work(1, 1000.0)  # the one that had waited
