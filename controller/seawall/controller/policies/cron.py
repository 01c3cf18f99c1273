"""When a policy is due. The one importer of cronsim, which reads the expression and walks local wall time; time zones are done here.

Two kinds, told apart as Debian's cron does (control.md, §d):
- *fixed*: neither minute nor hour begins with `*`. Exactly once for each local time: one that the clocks skip is due at the first instant
  after the gap, one that they repeat is due the first time. Two that a gap pushes onto the same instant are one.
- *elapsed*: minute or hour begins with `*`. Due whenever the clock shows a time that fits: never in a gap, twice in a repeated hour.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

LONGEST_EXPRESSION = 200
HORIZON = timedelta(days=5 * 366)
"""A calendar without any firing in this time is refused."""
_DAY = timedelta(days=1)


class BadCalendar(ValueError):
    """The expression cannot be read, or never fires; the message says which."""


@dataclass(frozen=True)
class Calendar:
    """A cron expression in a time zone. Instants go in as aware datetimes and come out in UTC."""

    expression: str
    zone: ZoneInfo

    def __post_init__(self) -> None:
        """Raises BadCalendar."""
        if len(self.expression) > LONGEST_EXPRESSION:
            raise BadCalendar(f"it has {len(self.expression)} characters; {LONGEST_EXPRESSION} are the most")
        if len(self.expression.split()) != 5:
            raise BadCalendar("it needs five fields: minute, hour, day of month, month, day of week")
        try:
            CronSim(self.expression, datetime(2000, 1, 1))  # noqa: DTZ001 - local wall time
        except CronSimError as error:
            raise BadCalendar(f"{str(error)[:1].lower()}{str(error)[1:]}: nothing fits it") from error

    def after(self, instant: datetime) -> datetime | None:
        """The first firing later than the instant; None: none in five years."""
        return next(self.firings(instant), None)

    def firings(self, instant: datetime) -> Iterator[datetime]:
        """All firings later than the instant, in their order, for five years from the last one."""
        find = self._fixed_after if self._fixed else self._elapsed_after
        found = find(instant.astimezone(UTC))
        while found is not None:
            yield found
            found = find(found)

    def latest(self, until: datetime, since: datetime) -> datetime | None:
        """The last firing in (since, until], None when there is none there. Walks back in growing steps, so a long pause costs little."""
        step = timedelta(hours=1)
        since = max(since, until - HORIZON)
        while True:
            begin = max(since, until - step)
            last = None
            for firing in self.firings(begin):
                if firing > until:
                    break
                last = firing
            if last is not None or begin <= since:
                return last
            step *= 4

    @cached_property
    def _fixed(self) -> bool:
        minute, hour, *_ = self.expression.split()
        return not minute.startswith("*") and not hour.startswith("*")

    # Both compare in UTC alone: Python compares two times of one zone by what their clocks show.
    def _fixed_after(self, instant: datetime) -> datetime | None:
        wall = instant.astimezone(self.zone).replace(tzinfo=None)
        for found in _walls(self.expression, wall):
            firing = first_instant(found, self.zone)
            if firing > instant:
                return firing if firing - instant <= HORIZON else None
        return None

    def _elapsed_after(self, instant: datetime) -> datetime | None:
        """Wall time runs evenly between two changes of the offset; each such stretch is searched for itself."""
        begin, end, inclusive = instant, instant + HORIZON, False
        while begin <= end:
            offset = _offset(begin, self.zone)
            wall = (begin + offset).replace(tzinfo=None)
            found = next(_walls(self.expression, wall, inclusive=inclusive), None)
            firing = end if found is None else min(end, found.replace(tzinfo=UTC) - offset)
            change = _change(begin, firing, self.zone)
            if change is None:
                return firing if firing < end else None
            begin, inclusive = change, True
        return None


def first_instant(wall: datetime, zone: ZoneInfo) -> datetime:
    """The instant, in UTC, at which clocks in the zone first show this time; the end of the gap when they skip it."""
    first = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if first.astimezone(zone).replace(tzinfo=None) == wall:
        return first
    # In a gap, fold=0 counts with the offset before it and lands behind the change, fold=1 with the one after and lands before it.
    return _change(wall.replace(tzinfo=zone, fold=1).astimezone(UTC), first, zone) or first


def _walls(expression: str, wall: datetime, *, inclusive: bool = False) -> Iterator[datetime]:
    """Times on a clock that never changes that fit, later than `wall` (or at it)."""
    yield from CronSim(expression, wall - timedelta(seconds=1) if inclusive else wall)


def _offset(instant: datetime, zone: ZoneInfo) -> timedelta:
    return instant.astimezone(zone).utcoffset() or timedelta()


def _change(begin: datetime, end: datetime, zone: ZoneInfo) -> datetime | None:
    """The first instant in (begin, end] with another offset than `begin`; to the second, in UTC."""
    offset = _offset(begin, zone)
    while begin < end:
        ahead = min(begin + _DAY, end)
        if _offset(ahead, zone) != offset:
            return _halved(begin, ahead, offset, zone)
        begin = ahead
    return None


def _halved(same: datetime, other: datetime, offset: timedelta, zone: ZoneInfo) -> datetime:
    # Whole seconds would not do: between 1 and 2 s, as when `same` has a fraction, half of them is none.
    while other - same > timedelta(seconds=1):
        middle = same + (other - same) / 2
        same, other = (middle, other) if _offset(middle, zone) == offset else (same, middle)
    return other.replace(microsecond=0)
