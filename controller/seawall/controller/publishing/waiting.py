"""A publication that the store holds up: what the operator reads meanwhile. Pure.

Temporary trouble is waited for, for a week: all that it needs is kept in the database. A store that refuses for good (the bucket is gone,
access was taken away) is waited for too, as an operator can bring either back; until the run is cancelled or its time is over. The machine
decides when it is given up (runs/machine.py).
"""

from seawall.controller.errors import ControllerError
from seawall.controller.records.catalogue import Point
from seawall.controller.records.runs import Failure, FailureKind, Run
from seawall.controller.repositories.outside import next_step
from seawall.controller.runs.events import HeldUp
from seawall.controller.text import sentence
from seawall.repository.clock import datetime_of

FOR_GOOD = ("BUCKET_MISSING", "BUCKET_REFUSED", "FOREIGN_REPOSITORY", "OBJECT_MISSING")
"""Reasons that do not end by themselves."""

_NEXT_RUN = "Mend the repository, then back the VM up again."


def held_up(run: Run, point: Point, error: ControllerError) -> HeldUp:
    """What happened, with the words for whoever waits and for the run that fails."""
    since = datetime_of(point.created_us).strftime("%Y-%m-%d %H:%M:%S UTC")
    step = next_step(error.reason)
    for_good = error.reason in FOR_GOOD
    if for_good:
        step = f"{step} Or give the point up: `seawall run cancel {run.id}`."
    waits = f"the store, since {since}, to commit the point: {error} ({error.reason}) {step}"
    return HeldUp(Failure(error.reason, str(error), _NEXT_RUN, FailureKind.PERMANENT), for_good, sentence(waits))
