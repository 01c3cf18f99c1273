"""Policies that are due every so many hours: equal steps, whatever the clocks of any zone do, the same for every controller."""

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from seawall.controller.policies.interval import LONGEST_INTERVAL, SHORTEST_INTERVAL, Interval

INSTANTS = st.integers(31_536_000, 4_102_444_800).map(lambda at: datetime.fromtimestamp(at, UTC))
STEPS = st.integers(int(SHORTEST_INTERVAL.total_seconds()), int(LONGEST_INTERVAL.total_seconds()))


@given(STEPS, INSTANTS)
def test_the_next_one_is_less_than_a_step_away_and_they_follow_in_equal_steps(seconds: int, instant: datetime) -> None:
    step = timedelta(seconds=seconds)
    found = list(islice(Interval(step).firings(instant), 4))
    assert instant < found[0] <= instant + step and {after - before for before, after in pairwise(found)} == {step}
    assert Interval(step).after(instant) == found[0] and Interval(step).after(found[0]) == found[1]


@given(STEPS, INSTANTS, INSTANTS)
def test_the_latest_is_the_last_of_them_in_the_stretch(seconds: int, until: datetime, since: datetime) -> None:
    found = Interval(timedelta(seconds=seconds)).latest(until, since)
    before = Interval(timedelta(seconds=seconds)).after(until - timedelta(seconds=seconds))
    assert found == (before if before is not None and since < before <= until else None)


def test_a_night_in_which_the_clocks_change_has_as_many_as_any() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    for day, hours in ((datetime(2026, 3, 29, tzinfo=berlin), 23), (datetime(2026, 10, 25, tzinfo=berlin), 25)):
        begin, end = day.astimezone(UTC), (day + timedelta(days=1)).astimezone(UTC)
        assert end - begin == timedelta(hours=hours)
        due = [each for each in islice(Interval(timedelta(hours=1)).firings(begin), 30) if each <= end]
        assert len(due) == hours
