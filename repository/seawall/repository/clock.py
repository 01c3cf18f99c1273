"""The clock port: time is an argument everywhere in Seawall, so that tests never sleep. Built once in a composition root."""

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Clock(Protocol):
    """Two times and a pause. Wall time is for people and records; monotonic time is for every deadline and lease."""

    def now_us(self) -> int:
        """Microseconds since 1970-01-01 UTC. May jump."""

    def monotonic_seconds(self) -> float:
        """Seconds since some moment, never backwards; counts time asleep (CLOCK_BOOTTIME)."""

    def sleep_seconds(self, seconds: float) -> None:
        """Block the calling thread."""


class SystemClock:
    """The machine's clock."""

    def now_us(self) -> int:
        return time.time_ns() // 1000

    def monotonic_seconds(self) -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def sleep_seconds(self, seconds: float) -> None:
        time.sleep(seconds)


def datetime_of(microseconds: int) -> datetime:
    """The aware UTC datetime of a `now_us` value."""
    return datetime.fromtimestamp(microseconds / 1_000_000, tz=UTC)


def microseconds_of(moment: datetime) -> int:
    """The `now_us` value of an aware datetime, exactly."""
    return (moment - _EPOCH) // timedelta(microseconds=1)
