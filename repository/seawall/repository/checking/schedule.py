"""When the controller starts a verification by itself, and how much it reads. Pure: called by the leader's loop.

New packs are read soon after they are stored, as other hosts wait for them. Of the rest so many bytes a day that all of it is read
once in a period: the rate is the same every day, and what was missed while the controller stood still is made up for.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from seawall.repository.checking.port import PackFacts

DAY_SECONDS = 86_400
MARGIN_PERCENT = 110
"""Of the even rate: packs that come meanwhile, and jobs that fail, must not make it late."""

Because = Literal["new", "rolling"]


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
    """After one that failed."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What the decision needs to know. `oldest`: the first few packs by age; times in microseconds, 0: never."""

    now_us: int
    total_bytes: int
    oldest: Sequence[PackFacts]
    last_new_end_us: int
    last_rolling_begin_us: int
    """Of the last one, or when the repository was added."""
    last_failed_us: int
    unproven: bool = False
    """Points whose packs may all be read by now, and that nobody looked at."""


@dataclass(frozen=True, slots=True)
class Due:
    because: Because
    limit_bytes: int


def next_check(standing: Standing, rhythm: Rhythm) -> Due | None:
    """What to start now; None: nothing yet."""
    if standing.last_failed_us and _since(standing, standing.last_failed_us) < rhythm.retry_seconds:
        return None
    if not standing.oldest:
        return None
    if not standing.oldest[0].looked_us or standing.unproven:
        ready = _since(standing, standing.last_new_end_us) >= rhythm.new_every_seconds
        return Due("new", rhythm.new_bytes) if ready else None
    return _rolling(standing, rhythm)


def bytes_a_day(total_bytes: int, rhythm: Rhythm) -> int:
    """What rolling verification reads."""
    if not rhythm.period_days:
        return 0
    return int(total_bytes * MARGIN_PERCENT / 100 / rhythm.period_days)


def _rolling(standing: Standing, rhythm: Rhythm) -> Due | None:
    waited = _since(standing, standing.last_rolling_begin_us)
    budget = min(int(bytes_a_day(standing.total_bytes, rhythm) * waited / DAY_SECONDS), standing.total_bytes)
    # A small repository waits until its share is a whole pack.
    if waited < rhythm.rolling_every_seconds or budget < standing.oldest[0].stored_bytes or not budget:
        return None
    return Due("rolling", budget)


def _since(standing: Standing, then_us: int) -> float:
    """Seconds; a clock that went back counts as no time."""
    return max(0, standing.now_us - then_us) / 1_000_000
