"""Calendars against an oracle that knows nothing but zoneinfo: every minute of the year is looked at on the clock of the zone."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from seawall.controller.policies.cron import BadCalendar, Calendar

ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/St_Johns",
    "Australia/Lord_Howe",
    "Africa/Cairo",
    "Africa/Casablanca",
    "Asia/Beirut",
    "America/Havana",
    "Asia/Kathmandu",
)
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)


@cache
def changes(zone: str) -> tuple[datetime, ...]:
    """Instants of ten years at which the clocks of the zone change, found by looking at every half hour."""
    info = ZoneInfo(zone)
    found: list[datetime] = []
    last: timedelta | None = None
    instant = datetime(2025, 1, 1, tzinfo=UTC)
    while instant.year < 2035:
        offset = instant.astimezone(info).utcoffset()
        if last is not None and offset != last:
            found.append(instant)
        instant, last = instant + timedelta(minutes=30), offset
    return tuple(found)


def clock(zone: str, begin: datetime, end: datetime) -> Iterator[tuple[datetime, datetime]]:
    """Each minute of (begin, end] with what the clock shows."""
    info, instant = ZoneInfo(zone), begin + MINUTE
    while instant <= end:
        yield instant, instant.astimezone(info).replace(tzinfo=None, fold=0)
        instant += MINUTE


def elapsed(minutes: set[int], hours: set[int], zone: str, begin: datetime, end: datetime) -> list[datetime]:
    """Whenever the clock shows it."""
    return [instant for instant, wall in clock(zone, begin, end) if wall.minute in minutes and wall.hour in hours]


def fixed(minutes: set[int], hours: set[int], zone: str, begin: datetime, end: datetime) -> list[datetime]:
    """When the clock shows it, or anything later, for the first time ever: later days are looked at too, to know what was shown."""
    found: list[datetime] = []
    shown: datetime | None = None
    for instant, wall in clock(zone, begin - 2 * DAY, end):
        if shown is not None and wall > shown:
            passed = shown
            while passed < wall:
                passed += MINUTE
                if passed.minute in minutes and passed.hour in hours and (not found or found[-1] != instant):
                    found.append(instant)
        shown = wall if shown is None else max(shown, wall)
    return [instant for instant in found if begin < instant <= end]


def fires(expression: str, zone: str, begin: datetime, end: datetime) -> list[datetime]:
    found: list[datetime] = []
    for firing in Calendar(expression, ZoneInfo(zone)).firings(begin):
        if firing > end:
            return found
        found.append(firing)
    return found


numbers = st.sets(st.integers(0, 59), min_size=1, max_size=3)
hours = st.sets(st.sampled_from((0, 1, 2, 3, 4, 12, 23)), min_size=1, max_size=3)


def listed(numbers: set[int]) -> str:
    return ",".join(map(str, sorted(numbers)))


@pytest.mark.parametrize("zone", ZONES)
@given(st.data(), numbers, hours)
@settings(max_examples=3, deadline=None)
def test_fixed_times_fire_once_a_local_day(zone: str, data: st.DataObject, minutes: set[int], hours: set[int]) -> None:
    check_fixed(zone, data, minutes, hours)


@pytest.mark.slow
@pytest.mark.parametrize("zone", ZONES)
@given(st.data(), numbers, hours)
@settings(max_examples=60, deadline=None)
def test_fixed_times_of_many_days(zone: str, data: st.DataObject, minutes: set[int], hours: set[int]) -> None:
    check_fixed(zone, data, minutes, hours)


def check_fixed(zone: str, data: st.DataObject, minutes: set[int], hours: set[int]) -> None:
    begin, end = _around(data, zone)
    expected = fixed(minutes, hours, zone, begin, end)
    assert fires(f"{listed(minutes)} {listed(hours)} * * *", zone, begin, end) == expected


every_minutes, every_hours = st.sampled_from((1, 7, 15, 30)), st.sampled_from((1, 2, 6))


@pytest.mark.parametrize("zone", ZONES)
@given(st.data(), every_minutes, every_hours, hours, numbers)
@settings(max_examples=3, deadline=None)
def test_intervals_follow_elapsed_time(
    zone: str, data: st.DataObject, minutes: int, every: int, hours: set[int], numbers: set[int]
) -> None:
    check_elapsed(zone, data, minutes, every, hours, numbers)


@pytest.mark.slow
@pytest.mark.parametrize("zone", ZONES)
@given(st.data(), every_minutes, every_hours, hours, numbers)
@settings(max_examples=60, deadline=None)
def test_intervals_of_many_days(
    zone: str, data: st.DataObject, minutes: int, every: int, hours: set[int], numbers: set[int]
) -> None:
    check_elapsed(zone, data, minutes, every, hours, numbers)


def check_elapsed(zone: str, data: st.DataObject, minutes: int, every: int, hours: set[int], numbers: set[int]) -> None:
    begin, end = _around(data, zone)
    of_hour, of_day, all_hours = set(range(0, 60, minutes)), set(range(0, 24, every)), set(range(24))
    expected = {
        f"*/{minutes} * * * *": elapsed(of_hour, all_hours, zone, begin, end),
        f"*/{minutes} {listed(hours)} * * *": elapsed(of_hour, hours, zone, begin, end),
        f"{listed(numbers)} */{every} * * *": elapsed(numbers, of_day, zone, begin, end),
    }
    assert {expression: fires(expression, zone, begin, end) for expression in expected} == expected


def _around(data: st.DataObject, zone: str) -> tuple[datetime, datetime]:
    """Two days in which the clocks change, or any, from any minute and second."""
    places = changes(zone) or (datetime(2026, 6, 1, tzinfo=UTC),)
    begin = data.draw(st.sampled_from(places)) - data.draw(st.integers(0, 1500)) * MINUTE
    return begin, begin + 2 * DAY


def test_the_spring_and_autumn_of_berlin() -> None:
    zone, nightly = "Europe/Berlin", "30 2 * * *"
    spring = fires(nightly, zone, datetime(2026, 3, 27, 12, tzinfo=UTC), datetime(2026, 3, 30, 12, tzinfo=UTC))
    assert [f"{each.astimezone(ZoneInfo(zone)):%d %H:%M %z}" for each in spring] == [
        "28 02:30 +0100",
        "29 03:00 +0200",
        "30 02:30 +0200",
    ]
    autumn = fires(nightly, zone, datetime(2026, 10, 24, tzinfo=UTC), datetime(2026, 10, 26, 12, tzinfo=UTC))
    assert [f"{each.astimezone(ZoneInfo(zone)):%d %H:%M %z}" for each in autumn] == [
        "24 02:30 +0200",
        "25 02:30 +0200",
        "26 02:30 +0100",
    ]


def test_a_start_in_the_repeated_hour_does_not_fire_again() -> None:
    second_pass = datetime(2026, 10, 25, 1, 10, tzinfo=UTC)  # 02:10 in Berlin, for the second time
    assert Calendar("30 2 * * *", ZoneInfo("Europe/Berlin")).after(second_pass) == datetime(
        2026, 10, 26, 1, 30, tzinfo=UTC
    )


@given(
    st.integers(0, 5000),
    st.integers(0, 5000),
    st.sampled_from(("*/15 * * * *", "30 2 * * *", "0 3 * * MON", "5 4 1 * *")),
)
@example(0, 0, "30 2 * * *")
@settings(deadline=None)
def test_the_latest_is_the_last_of_all_firings(back: int, minutes: int, expression: str) -> None:
    calendar = Calendar(expression, ZoneInfo("Europe/Berlin"))
    until = datetime(2026, 3, 29, tzinfo=UTC) + minutes * MINUTE
    since = until - back * MINUTE
    assert calendar.latest(until, since) == max(fires(expression, "Europe/Berlin", since, until), default=None)


def test_a_pause_of_years_is_no_walk_through_all_its_minutes() -> None:
    calendar = Calendar("* * * * *", ZoneInfo("Europe/Berlin"))
    until = datetime(2026, 3, 29, 1, 0, 30, tzinfo=UTC)
    assert calendar.latest(until, datetime(1970, 1, 1, tzinfo=UTC)) == datetime(2026, 3, 29, 1, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "* * * *",
        "* * * * * *",
        "60 * * * *",
        "0 0 31 2 *",
        "0 0 30 2 */2",
        "a b c d e",
        "0 0 * * ²L",
        "*/0 * * * *",
        "1" * 201,
    ],
)
def test_what_nothing_fits_is_refused(expression: str) -> None:
    with pytest.raises(BadCalendar):
        Calendar(expression, ZoneInfo("UTC"))


def test_what_fits_no_day_of_five_years_never_fires() -> None:
    assert Calendar("0 0 29 2 MON#1,*/8", ZoneInfo("UTC")).after(datetime(2026, 1, 1, tzinfo=UTC)) is not None
    assert Calendar("0 0 */29 2 MON#1", ZoneInfo("Europe/Berlin")).after(datetime(2026, 1, 2, tzinfo=UTC)) is not None
    assert Calendar("* * */30 2 MON#5", ZoneInfo("Europe/Berlin")).after(datetime(2033, 1, 2, tzinfo=UTC)) is None


@pytest.mark.parametrize("fraction_us", [1, 250_000, 500_000, 999_999])
def test_a_fraction_of_a_second_before_a_change_hangs_nothing(fraction_us: int) -> None:
    """The controller's clock shows fractions; halving whole seconds never ended where 1.5 s were left."""
    calendar = Calendar("*/10 * * * *", ZoneInfo("Europe/Berlin"))
    change = datetime(2026, 10, 25, 1, tzinfo=UTC)
    for seconds in (1, 2, 3, 5, 247, 598):
        begin = change - timedelta(seconds=seconds, microseconds=fraction_us)
        assert calendar.after(begin) == change
