"""A policy ready to be asked: when it is due, when its runs may start, which VMs it protects. Pure.

What the specification leaves open is decided here: the spread is 15 % of the time to the next firing, one hour at most; what was missed is
caught up within the RPO or a day, whichever is longer.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from hashlib import sha256
from itertools import islice
from zoneinfo import ZoneInfo

from seawall.controller.policies.cron import Calendar
from seawall.controller.policies.interval import Interval
from seawall.controller.policies.selection import Seen, selector
from seawall.controller.policies.windows import Stretch, Windows
from seawall.controller.records.policies import Policy, PolicySpec

LONGEST_SPREAD = timedelta(hours=1)
SPREAD_SHARE = 0.15
SHORTEST_CATCH_UP = timedelta(hours=24)
LOOKED_AHEAD = 50
"""Firings."""
WINDOW_SHARE = 0.25
"""Runs that waited for a window are spread over the first part of it."""


@dataclass(frozen=True)
class CompiledSpec:
    """Raises BadCalendar, BadPattern, zoneinfo's errors when a part is first used: `document` has tried them all."""

    spec: PolicySpec

    @cached_property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.spec.zone)

    @cached_property
    def calendar(self) -> Calendar | Interval:
        if self.spec.every_seconds:
            return Interval(timedelta(seconds=self.spec.every_seconds))
        return Calendar(self.spec.cron, self.zone)

    @cached_property
    def windows(self) -> Windows:
        return Windows(self.spec.windows, self.zone)

    @cached_property
    def selects(self) -> Callable[[Seen], bool]:
        return selector(self.spec.select)

    @property
    def catch_up(self) -> timedelta:
        if self.spec.catch_up_seconds is not None:
            return timedelta(seconds=self.spec.catch_up_seconds)
        return max(SHORTEST_CATCH_UP, timedelta(seconds=self.spec.rpo_seconds))

    def spread_from(self, nominal: datetime) -> timedelta:
        """Over how long the starts of one firing are spread."""
        if self.spec.spread_seconds is not None:
            return timedelta(seconds=self.spec.spread_seconds)
        following = self.calendar.after(nominal)
        if following is None:
            return LONGEST_SPREAD
        return min(LONGEST_SPREAD, (following - nominal) * SPREAD_SHARE)

    def misses(self, nominal: datetime, begin: datetime) -> bool:
        """Whether what is due at `nominal` and may begin at `begin` is too late for it when a window opens."""
        opening = self.windows.next_open(begin)
        # A place in the spread makes nobody late: what comes in time is begun, however late its turn is.
        return opening is not None and opening.start - nominal > self.catch_up

    def next_in_time(self, now: datetime) -> datetime | None:
        """The next nominal time that misses no window; None: none of the next fifty, and none for a window of the week to come."""
        coming = islice(self.calendar.firings(now), LOOKED_AHEAD)
        return next((each for each in coming if not self.misses(each, each)), None) or self._in_time_for_a_window(now)

    def _in_time_for_a_window(self, now: datetime) -> datetime | None:
        """What fires often may miss fifty times before the next window, and then come in time."""
        for stretch in self.windows.coming(now):
            # `after` does not count the instant itself.
            first = self.calendar.after(max(now, stretch.start - self.catch_up - timedelta(microseconds=1)))
            if first is not None and first < stretch.end:
                return first
        return None

    def selected(self, vms: Iterable[Seen]) -> list[Seen]:
        return [vm for vm in vms if self.selects(vm)]


@dataclass(frozen=True)
class Compiled:
    """A stored policy. The same VM starts at the same place of the spread every time, on every controller."""

    policy: Policy
    rules: CompiledSpec

    @classmethod
    def of(cls, policy: Policy) -> "Compiled":
        return cls(policy, CompiledSpec(policy.spec))

    def start_at(self, vm_id: str, begin: datetime, spread: timedelta) -> datetime:
        """When a run may begin that is spread from `begin` on: at its place in the spread, inside the window open then or next."""
        stretch = self.rules.windows.next_open(begin)
        if stretch is not None and stretch.start > begin:
            return self.opening_after(vm_id, begin, spread)
        # No further than the window goes: whom the spread put behind its end would miss it, the same VMs every night.
        room = spread if stretch is None else min(spread, stretch.end - begin)
        return begin + room * share_of(self.policy.id, vm_id)

    def opening_after(self, vm_id: str, instant: datetime, spread: timedelta) -> datetime:
        """The instant itself inside a window, else some time after the next one opens."""
        stretch = self.rules.windows.next_open(instant)
        if stretch is None or stretch.start <= instant:
            return instant
        return stretch.start + _spread_in(stretch, spread) * share_of(self.policy.id, vm_id)


def share_of(policy_id: str, vm_id: str) -> float:
    """In [0, 1)."""
    digest = sha256(f"{policy_id}/{vm_id}".encode()).digest()
    return int.from_bytes(digest[:6]) / 2**48


def _spread_in(stretch: Stretch, spread: timedelta) -> timedelta:
    return min(spread, stretch.length * WINDOW_SHARE)
