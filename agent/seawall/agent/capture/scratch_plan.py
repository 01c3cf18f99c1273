"""What an attempt does otherwise after earlier ones of its run ended because scratch was full. Pure.

Scratch holds each cluster that the guest overwrites while the job runs, for all disks until its end: nothing gives room back before, in
whatever order the disks are read. So there are two levers: more room, and a shorter job. Chunks that an earlier attempt uploaded are
found and not sent again, which shortens it by itself; reading with less regard for the guest's latency does the rest, as a backup that
never ends protects nobody.
"""

from dataclasses import dataclass

from seawall.agent.capture.settings import USUAL_SHARE
from seawall.agent.throttle.idle import TIMES_IDLE

AGAIN_TIMES_IDLE = 4.0
LAST_TIMES_IDLE = 16.0


@dataclass(frozen=True, slots=True)
class ScratchPlan:
    """`share`: of the disks' size that scratch may hold, where nobody set a quota; what is free bounds it as ever.

    `times_idle`: where nobody set a ceiling, the guest's requests may take so many times what they take in peace.
    `sentence`: for the operator.
    """

    share: float = USUAL_SHARE
    times_idle: float = TIMES_IDLE
    sentence: str = ""


def plan_after(ends: int, *, quota_said: bool, ceiling_said: bool) -> ScratchPlan:
    """`ends`: attempts of this run that ended for scratch. What somebody said stays as he said it."""
    if ends <= 0:
        return ScratchPlan()
    times_idle = AGAIN_TIMES_IDLE if ends == 1 else LAST_TIMES_IDLE
    room = (
        "its scratch quota stays, as it was set on purpose"
        if quota_said
        else "scratch may take all the room that is free for it"
    )
    pace = (
        "the latency ceiling stays, as it was set on purpose"
        if ceiling_said
        else f"reading is held back only when the guest's requests take {times_idle:g} times as long as in peace"
    )
    times = "An earlier attempt" if ends == 1 else f"{ends} earlier attempts"
    sentence = f"{times} ended because scratch was full. This time {room}; {pace}; what was uploaded is not sent again."
    return ScratchPlan(USUAL_SHARE if quota_said else 1.0, times_idle, sentence)
