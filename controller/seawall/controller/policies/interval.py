"""A calendar of equal steps: due each time that so much time has passed, counted from midnight UTC of 1970. Pure.

It knows no zone and no change of clocks, so each step is as long as the others; who means a time of the day writes a cron expression.
Counted from a fixed moment, it is due at the same instants for every controller, whatever was applied or restarted when.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

SHORTEST_INTERVAL = timedelta(minutes=5)
LONGEST_INTERVAL = timedelta(days=366)
_BEGIN = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Interval:
    """Asked as `cron.Calendar` is: instants go in as aware datetimes and come out in UTC."""

    step: timedelta

    def after(self, instant: datetime) -> datetime:
        """The first firing later than the instant."""
        return _BEGIN + ((instant - _BEGIN) // self.step + 1) * self.step

    def firings(self, instant: datetime) -> Iterator[datetime]:
        """All firings later than the instant, in their order, without end."""
        found = self.after(instant)
        while True:
            yield found
            found += self.step

    def latest(self, until: datetime, since: datetime) -> datetime | None:
        """The last firing in (since, until], None when there is none there."""
        found = _BEGIN + (until - _BEGIN) // self.step * self.step
        return found if found > since else None
