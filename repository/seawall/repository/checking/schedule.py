"""When the controller starts a verification by itself, and how much it reads. Pure: called by the leader's loop.

New packs are read soon after they are stored, as other hosts wait for them. Of the rest so many bytes a day that all of it is read
once in a period: the rate is the same every day, and what was missed while the controller stood still is made up for. When both are due the
rest comes first: it is due once an hour, and new packs are read between (`rolling_sample`), so neither kind starves the other. Points that
policies want checked again take the time between: new packs are due some seconds after the last ones at most. What a check leaves undecided
would be due again at once, so one with findings is followed by a pause: of its own kind, as points of policies that stay undecided must not
keep new packs waiting, nor new packs those points.
"""

from dataclasses import dataclass
from typing import Literal

from seawall.repository.checking.port import PackFacts

DAY_SECONDS = 86_400
MARGIN_PERCENT = 110
"""Of the even rate: packs that come meanwhile, and jobs that fail, must not make it late."""

Because = Literal["new", "rolling", "policy"]


@dataclass(frozen=True, slots=True)
class Rhythm:
    """Of one repository. `period_days`: everything is read once in it; 0: nothing is read again by itself."""

    period_days: float = 30.0
    new_every_seconds: float = 20.0
    """Between the end of one verification of new packs and the begin of the next."""
    new_bytes: int = 8 << 30
    """Most bytes of new packs in one job: small ones end soon, and can be cancelled."""
    rolling_every_seconds: float = 3600.0
    retry_seconds: float = 600.0
    """After one that failed or found something, until the next of its kind: for policies, or all others."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What the decision needs to know. `new`: a pack was never read. `oldest`: of the others, where `rolling_may_be_due`.

    Times in microseconds, 0: never.
    """

    now_us: int
    total_bytes: int
    new: bool
    oldest: PackFacts | None
    last_new_end_us: int
    last_rolling_begin_us: int
    """Of the last one, or when the repository was added."""
    last_failed_us: int
    """End of the last one for new packs or the rest, if it failed."""
    unproven: bool = False
    """Points whose packs may all be read by now, and that nobody looked at."""
    points_due: bool = False
    """Points that were last read back longer ago than their policy allows."""
    last_policy_failed_us: int = 0
    """End of the last one for policies, if it failed."""


@dataclass(frozen=True, slots=True)
class Due:
    because: Because
    limit_bytes: int


def next_check(standing: Standing, rhythm: Rhythm) -> Due | None:
    """What to start now; None: nothing yet."""
    due = None
    if _rested(standing.last_failed_us, standing, rhythm):
        due = _rolling(standing, rhythm) or _new(standing, rhythm)
    if due is None and standing.points_due and _rested(standing.last_policy_failed_us, standing, rhythm):
        due = Due("policy", rhythm.new_bytes)
    return due


def bytes_a_day(total_bytes: int, rhythm: Rhythm) -> int:
    """What rolling verification reads."""
    if not rhythm.period_days:
        return 0
    return int(total_bytes * MARGIN_PERCENT / 100 / rhythm.period_days)


def rolling_may_be_due(now_us: int, last_rolling_begin_us: int, rhythm: Rhythm) -> bool:
    """Whether it is worth asking the catalogue for what is stored, and for the oldest of it."""
    return _seconds(last_rolling_begin_us, now_us) >= rhythm.rolling_every_seconds


def _rested(failed_us: int, standing: Standing, rhythm: Rhythm) -> bool:
    return not failed_us or _seconds(failed_us, standing.now_us) >= rhythm.retry_seconds


def _new(standing: Standing, rhythm: Rhythm) -> Due | None:
    waits = standing.new or standing.unproven
    ready = _seconds(standing.last_new_end_us, standing.now_us) >= rhythm.new_every_seconds
    return Due("new", rhythm.new_bytes) if waits and ready else None


def _rolling(standing: Standing, rhythm: Rhythm) -> Due | None:
    if standing.oldest is None or not rolling_may_be_due(standing.now_us, standing.last_rolling_begin_us, rhythm):
        return None
    waited = _seconds(standing.last_rolling_begin_us, standing.now_us)
    budget = min(int(bytes_a_day(standing.total_bytes, rhythm) * waited / DAY_SECONDS), standing.total_bytes)
    # A small repository waits until its share is a whole pack.
    return Due("rolling", budget) if budget >= max(1, standing.oldest.stored_bytes) else None


def _seconds(then_us: int, now_us: int) -> float:
    """A clock that went back counts as no time."""
    return max(0, now_us - then_us) / 1_000_000
