"""Numbers and times as people read them."""

from datetime import UTC, datetime, timedelta

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from seawall.cli.text import age, count, duration, iso_time, parse_duration, parse_period, parse_size, sentences, size

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (12_345_678, "11.8 MiB"),
        (2**40, "1.0 TiB"),
        (2**60, "1024.0 PiB"),
    ],
)
def test_size(number: int, text: str) -> None:
    assert size(number) == text


@pytest.mark.parametrize(
    ("text", "number"), [("65536", 65536), ("64K", 65536), ("64KiB", 65536), ("64kib", 65536), ("1 MiB", 2**20)]
)
def test_parse_size(text: str, number: int) -> None:
    assert parse_size(text) == number


@pytest.mark.parametrize("text", ["", "KiB", "64 apples", "1.5MiB", "-"])
def test_parse_size_refuses(text: str) -> None:
    with pytest.raises(ValueError):
        parse_size(text)


@given(st.integers(0, 2**70))
def test_size_never_shows_four_digits_below_the_largest_unit(number: int) -> None:
    figure, unit = size(number).split()
    assert unit == "PiB" or float(figure) <= 1024


@pytest.mark.parametrize(("seconds", "text"), [(0.04, "0.0 s"), (12.34, "12.3 s"), (75.2, "1:15"), (3_675, "1:01:15")])
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("text", "delta"),
    [
        ("90s", timedelta(seconds=90)),
        ("30m", timedelta(minutes=30)),
        ("1.5h", timedelta(minutes=90)),
        ("1d", timedelta(days=1)),
    ],
)
def test_parse_duration(text: str, delta: timedelta) -> None:
    assert parse_duration(text) == delta


@pytest.mark.parametrize("text", ["", "h", "90", "3 weeks", "1y"])
def test_parse_duration_refuses(text: str) -> None:
    with pytest.raises(ValueError):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "just now"), (59, "just now"), (300, "5 min ago"), (7_300, "2 h ago"), (12 * 86_400, "12 days ago")],
)
def test_age(seconds: int, text: str) -> None:
    when = Timestamp()
    when.FromDatetime(NOW - timedelta(seconds=seconds))
    assert age(when, NOW) == text


def test_count() -> None:
    assert (count(0, "disk"), count(1, "disk"), count(2, "disk")) == ("0 disks", "1 disk", "2 disks")


def test_sentences_end_in_a_mark() -> None:
    assert sentences("it broke", "", "Try again.", "Are you root?") == "it broke. Try again. Are you root?"


def test_iso_time_of_never_is_none() -> None:
    assert iso_time(0) is None
    assert iso_time(1_795_348_800_123_456) == "2026-11-22T12:00:00Z"


@pytest.mark.parametrize(
    ("text", "hours"), [("12h", 12), ("30d", 720), ("6w", 1008), ("1y", 8760), ("1y6w", 9768), ("2d2d", 96)]
)
def test_parse_period(text: str, hours: int) -> None:
    assert parse_period(text) == timedelta(hours=hours)


@pytest.mark.parametrize("text", ["", "5", "3m", "0d", "-1d", "1.5d", "1d ", "d", "1001y", "999999y999999y"])
def test_parse_period_refuses(text: str) -> None:
    with pytest.raises(ValueError):
        parse_period(text)
