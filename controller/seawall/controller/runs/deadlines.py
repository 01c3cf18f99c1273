"""Every state that is not the end: who moves it on, how long that may take, and what time alone makes of it.

The machine reads its deadlines here; a test walks all that can be reached and finds no state that time does not end.
"""

from dataclasses import dataclass
from enum import StrEnum

from seawall.controller.records.runs import AttemptState, RunState
from seawall.controller.runs.events import Moment
from seawall.controller.timings import microseconds


class Owner(StrEnum):
    """Who moves it on. What is past its deadline is the leader's tick's."""

    AGENT = "the host's agent"
    SCHEDULER = "the leader's tick"
    FINISHER = "the leader's finisher"
    ATTEMPT = "its current attempt"


@dataclass(frozen=True, slots=True)
class Guard:
    """`limit` names the field of `Timings`; `then` is what the attempt, or the run without one, becomes."""

    owner: Owner
    limit: str
    then: AttemptState | RunState
    why: str
    """The reason that is given; "" where it is no failure."""


ATTEMPTS: dict[AttemptState, Guard] = {
    AttemptState.ASSIGNED: Guard(Owner.AGENT, "assigned_seconds", AttemptState.EXPIRED, ""),
    AttemptState.PREPARING: Guard(Owner.AGENT, "preparing_seconds", AttemptState.FAILED, "PREPARE_TIMEOUT"),
    AttemptState.TRANSFERRING: Guard(Owner.AGENT, "no_progress_seconds", AttemptState.FAILED, "NO_PROGRESS"),
    AttemptState.LOST: Guard(Owner.AGENT, "reattach_grace_seconds", AttemptState.ABANDONED, "HOST_LOST"),
    AttemptState.PUBLISHING: Guard(Owner.FINISHER, "publishing_seconds", AttemptState.FAILED, "PUBLISH_TIMEOUT"),
}
"""From the moment when the state was entered; TRANSFERRING from the last progress, a sixtieth less at most. A LOST one comes back with a
new deadline."""

RUNS: dict[RunState, Guard] = {
    RunState.READY: Guard(Owner.SCHEDULER, "max_run_seconds", RunState.FAILED, "RUN_TOO_LATE"),
    RunState.ACTIVE: Guard(Owner.ATTEMPT, "max_run_seconds", RunState.FAILED, "RUN_TOO_LONG"),
}
"""From the moment when the run may begin. One whose attempt is PUBLISHING has that state's."""

ASKED_TO_STOP = Guard(Owner.AGENT, "cancel_seconds", AttemptState.FAILED, "CANCEL_TIMEOUT")
"""PREPARING, TRANSFERRING of a run that was cancelled: from the wish, whatever moves."""

PUBLISHING_ASKED_TO_STOP = Guard(Owner.FINISHER, "cancel_publishing_seconds", AttemptState.FAILED, "PUBLISH_TIMEOUT")
"""From the wish: long enough for a store that comes back to show whether it has the point already."""


RENEWED_BY = 60
"""A deadline moves by such a part of its limit at least: else every report of progress would be a change of the attempt."""


def worth_moving(until_us: int, guard: Guard, moment: Moment) -> bool:
    limit: float = getattr(moment.timings, guard.limit)
    return deadline_us(guard, moment) - until_us >= microseconds(limit / RENEWED_BY)


def deadline_us(guard: Guard, moment: Moment) -> int:
    limit: float = getattr(moment.timings, guard.limit)
    return moment.now_us + microseconds(limit)
