"""When a policy's runs may start: weekly windows in its time zone, as stretches of real time. Pure.

What is due at a time that clocks skip is due at the first instant after the gap (cron.py). So a window is open from there for as long as
clocks skip of it: else it would be shut on that night to the very runs that it is for.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from seawall.controller.policies.cron import first_instant
from seawall.controller.records.policies import Window

DAY_MINUTES = 24 * 60
_DAY, _MINUTE = timedelta(days=1), timedelta(minutes=1)
_LOOK_BACK = 8
_LOOK_AHEAD = 9
"""Days: a week, and what a window that runs over midnight needs."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """From `start` until just before `end`, both in UTC."""

    start: datetime
    end: datetime

    @property
    def length(self) -> timedelta:
        return self.end - self.start


@dataclass(frozen=True)
class Windows:
    """None at all: always open. Windows that touch are one."""

    windows: Sequence[Window]
    zone: ZoneInfo

    def open_at(self, instant: datetime) -> bool:
        return not self.windows or self.around(instant) is not None

    def around(self, instant: datetime) -> Stretch | None:
        """The open stretch that holds the instant; None when closed, and where there are no windows."""
        return next((each for each in self._near(instant) if each.start <= instant < each.end), None)

    def next_open(self, instant: datetime) -> Stretch | None:
        """The open stretch that holds the instant or is the next after it; None: there are no windows, or all are empty."""
        return next((each for each in self._near(instant) if instant < each.end), None)

    def last_close(self, instant: datetime) -> datetime | None:
        """When the last stretch before the instant ended; None: none did in the week before."""
        return max((each.end for each in self._near(instant) if each.end <= instant), default=None)

    def coming(self, instant: datetime) -> Sequence[Stretch]:
        """The open stretch that holds the instant, and those of the week after it, by time."""
        return [each for each in self._near(instant) if instant < each.end]

    def longest(self, instant: datetime) -> timedelta:
        """The longest stretch of the week to come."""
        return max((each.length for each in self._near(instant)), default=timedelta())

    def _near(self, instant: datetime) -> Sequence[Stretch]:
        """Those from a week before on, merged, by time."""
        return _stretches(tuple(self.windows), self.zone, instant.astimezone(self.zone).date())


@lru_cache(maxsize=256)
def _stretches(windows: tuple[Window, ...], zone: ZoneInfo, today: date) -> tuple[Stretch, ...]:
    days = [today + number * _DAY for number in range(-_LOOK_BACK, _LOOK_AHEAD)]
    return tuple(_merged(sorted(_of_days(windows, zone, days), key=lambda each: each.start)))


def _of_days(windows: Iterable[Window], zone: ZoneInfo, days: Iterable[date]) -> Iterator[Stretch]:
    for day in days:
        for window in windows:
            if day.weekday() in window.days:
                ends = day if window.end_minute > window.start_minute else day + _DAY
                stretch = _stretch(_wall(day, window.start_minute), _wall(ends, window.end_minute), zone)
                if stretch.start < stretch.end:
                    yield stretch


def _wall(day: date, minute: int) -> datetime:
    return datetime.combine(day, time()) + timedelta(minutes=minute)


def _stretch(begin: datetime, end: datetime, zone: ZoneInfo) -> Stretch:
    """Of two times on a clock."""
    found = Stretch(first_instant(begin, zone), first_instant(end, zone))
    if found.length >= end - begin:
        return found
    each_minute = (begin + number * _MINUTE for number in range((end - begin) // _MINUTE))
    skipped = [wall for wall in each_minute if _is_skipped(wall, zone)]
    if not skipped:
        return found
    made_up = first_instant(skipped[-1], zone) + len(skipped) * _MINUTE
    return Stretch(found.start, max(found.end, made_up))


def _is_skipped(wall: datetime, zone: ZoneInfo) -> bool:
    return first_instant(wall, zone).astimezone(zone).replace(tzinfo=None) != wall


def _merged(stretches: Iterable[Stretch]) -> Iterator[Stretch]:
    last: Stretch | None = None
    for each in stretches:
        if last is None or each.start > last.end:
            if last is not None:
                yield last
            last = each
        else:
            last = Stretch(last.start, max(last.end, each.end))
    if last is not None:
        yield last
