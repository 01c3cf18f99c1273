"""How long a run may still take."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.controller.records.runs import AttemptState, DiskProgress, Progress, ReadMethod
from seawall.controller.runs.eta import EtaBand, eta_band

MIB = 1 << 20


def progress(left: int, eta: int, *, done: bool = False) -> Progress:
    disk = DiskProgress("vda", 100 * MIB, left + 10, 10, 0, 0, ReadMethod.FULL, "", done)
    return Progress(1, AttemptState.TRANSFERRING, "reading vda", (disk,), "", "", MIB, eta)


def test_without_a_history_the_band_is_wide() -> None:
    assert eta_band(progress(100 * MIB, 100), [MIB, MIB]) == EtaBand(50, 200)


def test_the_band_is_between_the_slow_and_the_fast_tenth() -> None:
    rates = [1.0 * MIB, 2.0 * MIB, 4.0 * MIB]
    assert eta_band(progress(100 * MIB, 40), rates) == EtaBand(25, 100)
    eleven = [1.0, *[2.0 * MIB] * 9, 1e12]
    assert eta_band(progress(100 * MIB, 50), eleven) == EtaBand(50, 50), "one outlier on each side does not count"


@pytest.mark.parametrize(("left", "eta", "done"), [(0, 5, False), (100, 0, False), (100, 5, True)])
def test_nothing_left_or_no_rate_says_nothing(left: int, eta: int, done: bool) -> None:
    assert eta_band(progress(left, eta, done=done), [MIB] * 5) is None


@given(st.integers(1, 1 << 50), st.integers(1, (1 << 32) - 1), st.lists(st.floats(0, 1e12), max_size=12))
def test_the_agents_own_estimate_lies_within(left: int, eta: int, rates: list[float]) -> None:
    band = eta_band(progress(left, eta), rates)
    assert band is not None and 0 <= band.low <= eta <= band.high < 1 << 32
