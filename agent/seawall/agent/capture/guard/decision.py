"""What a guard does next about the job, from what it knows. Pure."""

from enum import Enum

LONGEST_SECONDS = 1800.0
"""How long a guard goes on ending what it cannot end. Then it leaves, whatever libvirt says: the supervisor's sweep goes on for ever."""

LATEST_BIRTH_SECONDS = 45.0
"""A job that was asked for may still appear after its asker died: libvirt itself waits 30 s for a busy VM's lock."""


class Phase(Enum):
    """How far the capture is."""

    PREPARING = "preparing"
    BEGINNING = "beginning"
    RUNNING = "running"


class Job(Enum):
    """What there is of the job."""

    OURS = "ours"
    ABSENT = "absent"
    UNKNOWN = "unknown"  # libvirt does not answer
    UNSERVED = "unserved"  # nor does it, but nobody listens on the job's socket either


class Step(Enum):
    LOOK_AGAIN = "look again"
    END_JOB = "end the job"
    LEAVE = "leave"


def next_step(phase: Phase, job: Job, ending_seconds: float | None, *, frozen: bool) -> Step:
    """`ending_seconds`: for how long the job has had to end, as its owner is gone or the verdict was given; None: it may go on."""
    if ending_seconds is None:
        return Step.LOOK_AGAIN
    if ending_seconds > LONGEST_SECONDS:
        return Step.LEAVE
    if job is Job.OURS:
        return Step.END_JOB
    if frozen or _may_come(phase, job, ending_seconds):
        return Step.LOOK_AGAIN
    return Step.LEAVE


def _may_come(phase: Phase, job: Job, ending_seconds: float) -> bool:
    if phase is Phase.PREPARING:
        return False
    if phase is Phase.BEGINNING and ending_seconds < LATEST_BIRTH_SECONDS:
        return True
    return job is Job.UNKNOWN
