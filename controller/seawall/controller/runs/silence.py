"""Whether the host of a run that is under way is still heard of, and what of its last news still holds. Pure."""

from dataclasses import dataclass, replace

from seawall.controller.records.fleet import Session
from seawall.controller.records.runs import Attempt, AttemptState, Progress, Run

WITH_ITS_HOST = (AttemptState.ASSIGNED, AttemptState.PREPARING, AttemptState.TRANSFERRING, AttemptState.LOST)
"""A host that is away holds these up. What is PUBLISHING is the controller's."""


@dataclass(frozen=True, slots=True)
class Silence:
    """`since_us`: when the host was heard of last. `given_up_us`: when the attempt is given up if that lasts; 0: not decided yet, as the
    scheduler has not looked since, or nobody took the attempt.
    """

    since_us: int
    given_up_us: int = 0


def silence_of(
    run: Run, attempt: Attempt, session: Session | None, now_us: int, listening_us: int = 0
) -> Silence | None:
    """None: its host is heard of, or nothing is to be heard of it. `session`: the host's, None if it has none.

    `listening_us`: since when this controller could hear hosts. Each has a whole lease from then on: nobody was there to be told before.
    """
    if attempt.state not in WITH_ITS_HOST:
        return None
    lost = attempt.state is AttemptState.LOST
    if not lost and is_heard(session, now_us, listening_us):
        return None
    since_us = session.last_seen_us if session is not None else attempt.created_us
    return Silence(since_us, min(attempt.phase_deadline_us, run.deadline_us) if lost else 0)


def is_heard(session: Session | None, now_us: int, listening_us: int = 0) -> bool:
    """Whether the host's lease holds, with the whole one that it has from `listening_us` on (`silence_of`)."""
    return session is not None and session.lease_until_us + max(0, listening_us - session.last_seen_us) > now_us


def last_known(progress: Progress) -> Progress:
    """What a silent host said last, without what was true of that moment alone: pace, bottleneck, when it would be done."""
    return replace(progress, waiting_on="", bottleneck="", rate_bytes_per_second=0, eta_seconds=0)
