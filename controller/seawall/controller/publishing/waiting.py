"""A publication that the store holds up: what the operator reads meanwhile, and when it is given up. Pure.

Temporary trouble is waited for without end: all that it needs is kept in the database. A store that refuses for good (the bucket is gone,
access was taken away) is waited for too, as an operator can bring either back; until the run is cancelled or its time is over.
"""

from dataclasses import replace

from seawall.controller.errors import ControllerError
from seawall.controller.records.catalogue import Point
from seawall.controller.records.runs import Failure, FailureKind
from seawall.controller.repositories.outside import next_step
from seawall.controller.runs.machine import Execution, give_up_publication
from seawall.controller.text import sentence
from seawall.repository.clock import datetime_of

FOR_GOOD = ("BUCKET_MISSING", "BUCKET_REFUSED", "FOREIGN_REPOSITORY", "OBJECT_MISSING")
"""Reasons that do not end by themselves."""

_NEXT_RUN = "Mend the repository, then back the VM up again."


def held_up(execution: Execution, point: Point, error: ControllerError, now_us: int) -> Execution:
    """The run says what it waits for, or it is FAILED for the store's reason."""
    run = execution.run
    if error.reason in FOR_GOOD and (run.cancel_us or now_us >= run.deadline_us):
        failure = Failure(error.reason, str(error), _NEXT_RUN, FailureKind.PERMANENT)
        return give_up_publication(execution, failure, now_us)
    since = datetime_of(point.created_us).strftime("%Y-%m-%d %H:%M:%S UTC")
    step = next_step(error.reason)
    if error.reason in FOR_GOOD:
        step = f"{step} Or give the point up: `seawall run cancel {run.id}`."
    waits = f"the store, since {since}, to commit the point: {error} ({error.reason}) {step}"
    return replace(execution, run=replace(run, blocked_on=sentence(waits)))
