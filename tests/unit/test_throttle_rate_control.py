"""The rate of reading against how the guest suffers: in a simulation of a disk that both share, and for any history."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.agent.throttle.rate_control import (
    BLIND_BYTES_PER_SECOND,
    BLIND_SECONDS,
    FASTEST_BYTES_PER_SECOND,
    FLOOR_BYTES_PER_SECOND,
    MIB,
    START_BYTES_PER_SECOND,
    RateControl,
)

LOOK_SECONDS = 0.2
DISK = 500.0 * MIB
PIPELINE = 400.0 * MIB
"""What the rest of a backup could take."""


@dataclass
class SharedDisk:
    """A queue with one server: latency is service / (1 - load). The ceiling is twice what the guest has alone."""

    control: RateControl
    guest: float = 50.0 * MIB  # bytes a second
    extra: float = 0.0  # pressure that nobody's reading causes
    now: float = 0.0
    used: float = 0.0
    rates: list[float] = field(default_factory=list)
    pressures: list[float] = field(default_factory=list)

    def pressure(self, read: float) -> float:
        if self.guest == 0:
            return 0.0
        alone = 1 / (1 - self.guest / DISK)
        load = min((self.guest + read) / DISK, 0.99)
        return 1 / (1 - load) / (2 * alone) + self.extra

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds / LOOK_SECONDS)):
            self.now += LOOK_SECONDS
            self.used = min(self.control.rate, PIPELINE)
            present = self.pressure(self.used)
            self.control.see(present, self.used, self.now)
            self.rates.append(self.control.rate)
            self.pressures.append(present)

    def last(self, seconds: float, values: list[float]) -> float:
        some = values[-round(seconds / LOOK_SECONDS) :]
        return sum(some) / len(some)


def test_reading_begins_with_regard_and_is_soon_free_where_nobody_minds() -> None:
    disk = SharedDisk(RateControl(forgiving=True), guest=0.0)
    assert disk.control.rate == START_BYTES_PER_SECOND
    disk.run(3)
    assert disk.control.rate >= PIPELINE


def test_a_guest_that_begins_to_work_has_its_way_within_a_second() -> None:
    disk = SharedDisk(RateControl(forgiving=True), guest=0.0)
    disk.run(5)
    disk.guest = 100 * MIB
    disk.run(1)
    assert disk.control.rate <= PIPELINE / 2
    disk.run(2)
    assert disk.last(1, disk.pressures) <= 1.0


def test_a_guest_at_work_keeps_its_latency_and_what_is_left_is_used() -> None:
    disk = SharedDisk(RateControl(forgiving=True))
    disk.run(60)
    fits = (DISK - disk.guest) / 2  # the rate at which the pressure is 1
    assert disk.last(40, disk.pressures) <= 1.0
    assert max(disk.pressures[-200:]) <= 1.2
    assert disk.last(40, disk.rates) >= 0.75 * fits


def test_reading_resumes_when_the_guest_is_calm_again() -> None:
    disk = SharedDisk(RateControl(forgiving=True), guest=450 * MIB)
    disk.run(20)
    assert disk.control.rate <= 60 * MIB
    disk.guest = 0.0
    seconds = 0.0
    while disk.control.rate < 0.9 * PIPELINE:
        disk.run(LOOK_SECONDS)
        seconds += LOOK_SECONDS
        assert seconds < 15


def test_a_stalled_guest_stops_all_but_the_floor_at_once() -> None:
    disk = SharedDisk(RateControl(forgiving=True), guest=0.0)
    disk.run(5)
    disk.control.see(5.0, PIPELINE, disk.now + LOOK_SECONDS)
    assert disk.control.rate == FLOOR_BYTES_PER_SECOND


def test_what_reading_does_not_cause_does_not_hold_it_at_the_floor() -> None:
    """The first write to each block copies what was there, however slowly the disk is read: the floor would only make it last longer."""
    disk = SharedDisk(RateControl(forgiving=True), extra=2.0)
    disk.run(120)
    assert disk.last(100, disk.rates) >= 50 * MIB
    assert disk.last(100, disk.pressures) <= 1.3 * (2.0 + disk.pressure(0.0) - disk.extra)


def test_a_ceiling_that_somebody_set_holds_whatever_the_reason() -> None:
    disk = SharedDisk(RateControl(forgiving=False), extra=2.0)
    disk.run(60)
    assert disk.last(50, disk.rates) == FLOOR_BYTES_PER_SECOND


def test_a_guest_that_cannot_be_looked_at_is_read_with_care() -> None:
    control = RateControl(forgiving=True)
    for number in range(30):
        control.see(0.0, control.rate, number * LOOK_SECONDS)
    fast = control.rate
    control.miss(29 * LOOK_SECONDS + BLIND_SECONDS)
    assert control.rate == fast > BLIND_BYTES_PER_SECOND
    control.miss(30 * LOOK_SECONDS + BLIND_SECONDS)
    assert control.rate == BLIND_BYTES_PER_SECOND


LOOKS = st.lists(
    st.tuples(st.floats(0, 50), st.floats(0, 4 * DISK), st.floats(0.0, 3.0), st.booleans()), min_size=1, max_size=200
)


@given(LOOKS, st.booleans())
def test_the_rate_keeps_its_bounds_and_grows_only_in_calm(
    looks: list[tuple[float, float, float, bool]], forgiving: bool
) -> None:
    control, now = RateControl(forgiving=forgiving), 0.0
    for pressure, used, elapsed, missed in looks:
        now += elapsed
        before = control.rate
        if missed:
            control.miss(now)
            assert control.rate <= before
        else:
            control.see(pressure, used, now)
        assert FLOOR_BYTES_PER_SECOND <= control.rate <= FASTEST_BYTES_PER_SECOND
        assert math.isfinite(control.normal) and control.normal >= 1.0
        if control.rate > before:
            assert pressure <= control.normal
        if not forgiving:
            assert control.normal == 1.0


@pytest.mark.parametrize("shape", [lambda second: 20.0 * MIB, lambda second: (second % 10 < 5) * 300.0 * MIB])
def test_bursts_of_the_guest_are_answered_one_by_one(shape: Callable[[float], float]) -> None:
    """Half of each minute the guest works hard: its mean pressure stays below the ceiling, and the pauses are used."""
    disk = SharedDisk(RateControl(forgiving=True))
    for second in range(60):
        disk.guest = float(shape(second))
        disk.run(1)
    assert disk.last(50, disk.pressures) <= 1.0
    assert disk.last(50, disk.rates) >= 60 * MIB
