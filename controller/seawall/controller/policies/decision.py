"""What becomes of one policy's firing for each of its VMs. Pure: facts in, decisions out; `scheduler/firing.py` carries them out."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from seawall.controller.policies.compiled import Compiled


class What(Enum):
    """One firing for one VM."""

    BEGIN = "begin"
    WAIT = "wait"
    """Another run is backing the VM up into the repository; this one comes after it."""
    SKIP = "skip"
    MISS = "miss"
    NOTHING = "nothing"
    """There is a run for it, or a skip that was written down before."""


@dataclass(frozen=True, slots=True)
class Standing:
    """One VM at the moment. `open_by`: the policy itself, if it has an open run of the VM; else the policy ("": somebody) whose run is
    backing it up into the repository; None: neither. What others have waiting takes its turn with what this one makes.

    `skipped`: since that run was made, a firing of this policy was skipped.
    """

    vm_id: str
    open_by: str | None = None
    fired: bool = False
    skipped: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """`start`: BEGIN not before this. `why`: of SKIP and MISS, as a sentence."""

    vm_id: str
    what: What
    start: datetime | None = None
    why: str = ""


def fire(
    compiled: Compiled, nominal: datetime, standings: Iterable[Standing], now: datetime, *, spread: timedelta
) -> list[Decision]:
    """A decision for each VM. Asked twice of the same facts, it says the same; what was begun answers NOTHING.

    `spread`: from the nominal time on; where that is over, as when a controller catches up, from now on.
    """
    begin = nominal if now - nominal <= spread else now
    return [_one(compiled, nominal, begin, spread, standing, now) for standing in standings]


def _one(
    compiled: Compiled, nominal: datetime, begin: datetime, spread: timedelta, standing: Standing, now: datetime
) -> Decision:
    if standing.fired:
        return Decision(standing.vm_id, What.NOTHING)
    if now - nominal > compiled.rules.catch_up:
        return Decision(standing.vm_id, What.MISS, why=late(compiled, now - nominal))
    if standing.open_by == compiled.policy.id:
        if standing.skipped:
            return Decision(standing.vm_id, What.NOTHING)
        return Decision(standing.vm_id, What.SKIP, why="The policy's last backup of this VM was not over yet.")
    if standing.open_by is not None:
        return Decision(standing.vm_id, What.WAIT)
    if compiled.rules.misses(nominal, begin):
        return Decision(standing.vm_id, What.MISS, why=closed(compiled))
    return Decision(standing.vm_id, What.BEGIN, start=compiled.start_at(standing.vm_id, begin, spread))


def late(compiled: Compiled, by: timedelta) -> str:
    """Why it is too late."""
    return (
        f"It was due {_hours(by)} ago and could not begin; policy {compiled.policy.name} catches up within "
        f"{_hours(compiled.rules.catch_up)}."
    )


def closed(compiled: Compiled) -> str:
    """Why no window helps."""
    return f"No window of policy {compiled.policy.name} opens within {_hours(compiled.rules.catch_up)} of the time when it was due."


def _hours(span: timedelta) -> str:
    hours = span.total_seconds() / 3600
    return f"{hours:.0f} h" if hours >= 2 else f"{span.total_seconds() / 60:.0f} min"
