"""Which points of a VM in a repository a policy keeps, and why. Pure: facts in, verdicts out; nothing here deletes.

The order is that of publication (`seq`), because clocks jump. A point belongs to the hour, day and so on in which its policy was due, and
in which it was taken where no policy was or nobody knows: as clocks in the policy's zone show it. So what is due once in each local day
fills one place in each, wherever the UTC day ends, and however long a run waited for its turn. What a wrong clock may have made is kept: a
point from the future takes no place of another, and is never deleted by a policy.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta, tzinfo

from seawall.repository.clock import datetime_of

SKEW_US = 5 * 60 * 1_000_000
"""How far hosts' clocks may run ahead of the controller's before a point counts as one from the future."""

LATE_US = 8 * 24 * 3600 * 1_000_000
"""How long after its time a point may be taken, and count as that time's: it may wait a week for a window, and take a day."""

_LATEST_US = 253_370_764_800_000_000  # 9999-01-01: what a datetime can name


@dataclass(frozen=True, slots=True)
class Policy:
    """How many points, or periods with a point, are kept by each rule; 0: the rule is not there. The union of all counts."""

    keep_last: int = 0
    keep_hourly: int = 0
    keep_daily: int = 0
    keep_weekly: int = 0
    keep_monthly: int = 0
    keep_yearly: int = 0
    keep_within_us: int = 0
    """All points of this time before the newest one."""

    @property
    def keeps_nothing(self) -> bool:
        return not any(getattr(self, field.name) > 0 for field in fields(self))


@dataclass(frozen=True, slots=True)
class Candidate:
    """What the policy needs of a point. `open`: still being published. `in_use`: who keeps it now, as a phrase, "" for nobody.

    `nominal_us`: when the policy that made it was due; 0: none was, or nobody knows.
    """

    id: str
    seq: int
    instant_us: int
    nominal_us: int = 0
    open: bool = False
    damaged: bool = False
    in_use: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """`reasons`: why it is kept, each rule with the place that the point fills ("daily 2026-11-22"); or why it goes."""

    id: str
    keep: bool
    reasons: tuple[str, ...]


NO_RULE = "no rule keeps it"
NO_RULE_DAMAGED = "no rule keeps it (damaged)"
NEWEST = "newest"
FUTURE = "from the future: look at the clocks of its host and of the controller"
PUBLISHING = "still being published"

_Period = Callable[[datetime], str]


def _week(when: datetime) -> str:
    year, week, _ = when.isocalendar()
    return f"{year}-W{week:02}"


def _hour(when: datetime) -> str:
    """Two hours in which clocks show the same have two names: a rule that gives each hour a place gives them two."""
    begin = when.replace(minute=0, second=0, microsecond=0, fold=0)
    both_ends = (begin, begin + timedelta(minutes=59))
    repeated = any(each.utcoffset() != each.replace(fold=1).utcoffset() for each in both_ends)
    return f"{when:%Y-%m-%d %H}:00" + (f" {when.isoformat()[-6:]}" if repeated else "")


_PERIODS: tuple[tuple[str, _Period], ...] = (
    ("hourly", _hour),
    ("daily", lambda when: f"{when:%Y-%m-%d}"),
    ("weekly", _week),
    ("monthly", lambda when: f"{when:%Y-%m}"),
    ("yearly", lambda when: f"{when:%Y}"),
)


def judge(points: Iterable[Candidate], policy: Policy, now_us: int, zone: tzinfo = UTC) -> list[Verdict]:
    """A verdict for each point of one VM in one repository, newest first. Raises ValueError on a policy that keeps nothing.

    `zone`: whose clocks say where hours, days, weeks, months and years begin.

    Damaged points are judged twice: among all, and the whole ones once more among themselves. So a damaged point keeps its own place, but
    never takes one from a point that can be restored. More or larger rules never delete more.
    """
    if policy.keeps_nothing:
        raise ValueError("a policy without any rule would delete every point")
    ordered = sorted(points, key=lambda point: (point.seq, point.id), reverse=True)
    settled = [_believed(point) for point in ordered if not point.open and point.instant_us <= now_us + SKEW_US]
    reasons: dict[str, list[str]] = {point.id: [] for point in ordered}
    for judged in (settled, [point for point in settled if not point.damaged]):
        for point_id, why in _kept(judged, policy, zone):
            if why not in reasons[point_id]:
                reasons[point_id].append(why)
    return [_verdict(point, tuple(reasons[point.id]), now_us) for point in ordered]


def _believed(point: Candidate) -> Candidate:
    """A point is taken once it is due, and not long after. Where it is not so, the controller's clock was wrong, and it counts when it was
    taken."""
    late_us = point.instant_us - point.nominal_us
    return point if -SKEW_US <= late_us <= LATE_US else replace(point, nominal_us=0)


def _verdict(point: Candidate, kept_by: tuple[str, ...], now_us: int) -> Verdict:
    if point.open:
        return Verdict(point.id, True, (PUBLISHING,))
    if point.instant_us > now_us + SKEW_US:
        return Verdict(point.id, True, (FUTURE,))
    if kept_by or point.in_use:
        in_use = (f"in use by {point.in_use}",) if point.in_use and not kept_by else ()
        return Verdict(point.id, True, kept_by + in_use)
    return Verdict(point.id, False, (NO_RULE_DAMAGED if point.damaged else NO_RULE,))


def _kept(ordered: Sequence[Candidate], policy: Policy, zone: tzinfo) -> Iterable[tuple[str, str]]:
    """(id, why) for each place that a rule gives. Newest first in, so the newest point of a period has its place."""
    if not ordered:
        return
    yield ordered[0].id, NEWEST
    for number, point in enumerate(ordered[: policy.keep_last], start=1):
        yield point.id, f"last {number}"
    for rule, period in _PERIODS:
        yield from _periods(ordered, rule, period, getattr(policy, f"keep_{rule}"), zone)
    if policy.keep_within_us:
        newest_us = max(point.instant_us for point in ordered)
        yield from ((point.id, "within") for point in ordered if point.instant_us >= newest_us - policy.keep_within_us)


def _periods(
    ordered: Sequence[Candidate], rule: str, period: _Period, most: int, zone: tzinfo
) -> Iterable[tuple[str, str]]:
    seen: set[str] = set()
    for point in ordered:
        if len(seen) >= most:
            return
        name = period(_when(point, zone))
        if name not in seen:
            seen.add(name)
            yield point.id, f"{rule} {name}"


def _when(point: Candidate, zone: tzinfo) -> datetime:
    moment_us = point.nominal_us or point.instant_us
    return datetime_of(min(max(moment_us, 0), _LATEST_US)).astimezone(zone)
