"""Windows against an oracle that looks at every quarter of an hour; zones with their changes, nights, weeks that touch."""

from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.controller.policies.cron import Calendar
from seawall.controller.policies.windows import Windows
from seawall.controller.records.policies import Window

QUARTER = timedelta(minutes=15)
ZONES = ("UTC", "Europe/Berlin", "Australia/Lord_Howe", "America/St_Johns", "Africa/Cairo", "America/Havana")
CHANGES = {
    "UTC": datetime(2026, 3, 29, tzinfo=UTC),
    "Europe/Berlin": datetime(2026, 10, 25, 1, tzinfo=UTC),
    "Australia/Lord_Howe": datetime(2026, 4, 4, 15, tzinfo=UTC),
    "America/St_Johns": datetime(2026, 3, 8, 5, 30, tzinfo=UTC),
    "Africa/Cairo": datetime(2026, 4, 23, 22, tzinfo=UTC),
    "America/Havana": datetime(2026, 11, 1, 5, tzinfo=UTC),
}


def shown_first(zone: ZoneInfo, day: datetime, minute: int) -> datetime:
    """The first instant whose clock shows the time of the day or more, by looking at each minute of two days around."""
    wall = day + timedelta(minutes=minute)
    instant = wall.replace(tzinfo=UTC) - timedelta(hours=15)
    while instant.astimezone(zone).replace(tzinfo=None) < wall:
        instant += timedelta(minutes=5)
    return instant


def is_skipped(zone: ZoneInfo, day: datetime, minute: int) -> bool:
    """Whether no clock shows the time of the day."""
    wall = day + timedelta(minutes=minute)
    return wall.replace(tzinfo=zone).astimezone(UTC).astimezone(zone).replace(tzinfo=None) != wall


def made_up(zone: ZoneInfo, day: datetime, window: Window, instant: datetime) -> bool:
    """Whether the instant is as near behind a gap as clocks skip of the window: all gaps are of whole quarters of an hour."""
    end = window.end_minute + (0 if window.end_minute > window.start_minute else 24 * 60)
    skipped = [minute for minute in range(window.start_minute, end, 15) if is_skipped(zone, day, minute)]
    if not skipped:
        return False
    behind = shown_first(zone, day, skipped[0])
    return behind <= instant < behind + len(skipped) * QUARTER


def is_open(windows: list[Window], zone: ZoneInfo, instant: datetime) -> bool:
    """By each window of yesterday and today."""
    today = instant.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
    for back in (0, 1):
        day = today - timedelta(days=back)
        for window in windows:
            if day.weekday() in window.days:
                over = window.end_minute > window.start_minute
                ends = day if over else day + timedelta(days=1)
                begin, end = shown_first(zone, day, window.start_minute), shown_first(zone, ends, window.end_minute)
                if begin <= instant < end or made_up(zone, day, window, instant):
                    return True
    return False


minutes = st.integers(0, 95).map(lambda quarter: quarter * 15)
found_windows = st.lists(
    st.builds(Window, st.sets(st.integers(0, 6), min_size=1).map(lambda days: tuple(sorted(days))), minutes, minutes),
    min_size=1,
    max_size=2,
)


@pytest.mark.parametrize("name", ZONES)
@given(found_windows, st.integers(-8, 8), st.integers(-96, 96))
@settings(max_examples=8, deadline=None)
def test_windows_are_open_when_clocks_say_so(name: str, windows: list[Window], near: int, far: int) -> None:
    zone = ZoneInfo(name)
    found = Windows(windows, zone)
    for instant in (CHANGES[name] + near * QUARTER, CHANGES[name] + far * QUARTER):
        assert found.open_at(instant) == is_open(windows, zone, instant), instant
        stretch = found.next_open(instant)
        assert stretch is not None
        assert stretch.end > instant
        if stretch.start > instant:
            assert not found.open_at(instant) and not found.open_at(stretch.start - timedelta(seconds=1))
        assert found.open_at(stretch.start) and found.open_at(stretch.end - timedelta(seconds=1))
        # Where it is always open, the end is only how far one looks.
        always = stretch.length > timedelta(days=8) and is_open(windows, zone, stretch.end)
        assert found.open_at(stretch.end) == always
        closed = found.last_close(instant)
        assert closed is None or (closed <= instant and not found.open_at(closed))


def test_windows_that_touch_are_one() -> None:
    monday, tuesday = Window((0,), 22 * 60, 24 * 60), Window((1,), 0, 6 * 60)
    found = Windows([monday, tuesday], ZoneInfo("Europe/Berlin"))
    noon = datetime(2026, 11, 23, 12, tzinfo=UTC)
    stretch = found.next_open(noon)
    assert stretch is not None and stretch.length == timedelta(hours=8) == found.longest(noon)
    assert stretch.start == datetime(2026, 11, 23, 21, tzinfo=UTC)


def test_a_night_of_summer_time_is_shorter() -> None:
    found = Windows([Window((5,), 22 * 60, 6 * 60)], ZoneInfo("Europe/Berlin"))
    spring, autumn = (found.next_open(datetime(2026, month, day, 12, tzinfo=UTC)) for month, day in ((3, 28), (10, 24)))
    assert spring is not None and spring.length == timedelta(hours=7)
    assert autumn is not None and autumn.length == timedelta(hours=9)


@pytest.mark.parametrize(
    ("cron", "begin", "end", "closes"),
    [
        ("15 2 * * *", "01:00", "02:30", "03:30"),
        ("30 2 * * *", "02:00", "03:00", "04:00"),
        ("20 2 * * *", "02:15", "02:45", "03:30"),
        ("30 2 * * *", "01:00", "03:15", "04:00"),
        ("30 2 * * *", "00:00", "05:00", "05:00"),
        ("30 2 * * *", "02:30", "02:31", "03:01"),
    ],
)
def test_a_window_whose_time_clocks_skip_is_open_when_its_policy_is_due(
    cron: str, begin: str, end: str, closes: str
) -> None:
    """On 29 March in Berlin 02:00 to 03:00 are not; what is due then is due at 03:00. On the nights around it all is as it is written."""
    zone, minutes = ZoneInfo("Europe/Berlin"), [int(text[:2]) * 60 + int(text[3:]) for text in (begin, end)]
    found = Windows((Window(tuple(range(7)), *minutes),), zone)
    for day in (28, 29, 30):
        (due,) = islice(Calendar(cron, zone).firings(datetime(2026, 3, day - 1, 12, tzinfo=UTC)), 1)
        stretch = found.around(due)
        assert stretch is not None, day
        local = f"{stretch.end.astimezone(zone):%d %H:%M}"
        assert local == (f"29 {closes}" if day == 29 else f"{day} {end}")


def test_without_windows_it_is_always_open() -> None:
    found = Windows([], ZoneInfo("UTC"))
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert found.open_at(now) and found.next_open(now) is None and found.last_close(now) is None


def test_a_whole_week_never_closes() -> None:
    found = Windows([Window(tuple(range(7)), 0, 24 * 60)], ZoneInfo("Africa/Cairo"))
    assert all(found.open_at(datetime(2026, 4, 20, tzinfo=UTC) + number * 7 * QUARTER) for number in range(200))
