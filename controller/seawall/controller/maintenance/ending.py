"""What becomes of a maintenance job: once its worker ended, once it could not be begun, once nobody carries it on. Pure."""

from dataclasses import replace

from seawall.controller.errors import ControllerError, Unavailable
from seawall.controller.maintenance.jobs import canceled, failed, postponed, succeeded
from seawall.controller.maintenance.process import Outcome
from seawall.controller.records.maintenance import Job
from seawall.controller.repositories.outside import next_step
from seawall.controller.timings import Timings, microseconds

MOST_TRIES = 5
"""Workers of one job that died or met a store that was away."""

LONGEST_PAUSE_SECONDS = 3600.0
"""Between two of them."""

DIED_NEXT_STEP = (
    "See the controller's log and the kernel's (memory?); then start the job again. What was done stays done."
)

STOPS = "the controller stops"


def after(job: Job, outcome: Outcome, now_us: int, timings: Timings) -> Job:
    """An ACTIVE job whose worker ended so."""
    if outcome.result is not None:
        return succeeded(job, outcome.result, now_us)
    if job.cancel_us or (outcome.failure and outcome.failure["reason"] == "CANCELED"):
        return canceled(job, now_us)
    if outcome.died == STOPS:
        error = Unavailable("CONTROLLER_RESTARTED", "The controller was stopped; the job goes on with the next one.")
        return postponed(replace(job, tries=job.tries - 1), error, "Wait: it goes on by itself.", 0)
    if outcome.failure is None:
        error = Unavailable("WORKER_DIED", f"The worker died: {outcome.died}.")
        return _again(job, error, DIED_NEXT_STEP, now_us, timings)
    reason, message = outcome.failure["reason"], outcome.failure["message"]
    if outcome.failure["temporary"]:
        return _again(job, Unavailable(reason, message), next_step(reason), now_us, timings)
    return failed(job, reason, message, _advice(reason), now_us)


def not_begun(job: Job, error: ControllerError, now_us: int, timings: Timings) -> Job:
    """A READY job whose repository is not to be had just now: its worker would meet the same. Not counted."""
    return postponed(job, error, next_step(error.reason), now_us + microseconds(timings.retry_seconds))


def not_understood(job: Job, error: Exception, now_us: int, timings: Timings) -> Job:
    """A READY job that cannot be begun, and nobody foresaw why: counted, as it may never be."""
    cause = Unavailable("JOB_NOT_BEGUN", f"The job could not be begun: {type(error).__name__}: {error}.")
    return _again(replace(job, tries=job.tries + 1), cause, "See the controller's log.", now_us, timings)


def taken_over(job: Job, now_us: int) -> Job:
    """An ACTIVE job without a worker."""
    if job.cancel_us:
        return canceled(job, now_us)
    message = "The controller was restarted, or its database did not take the job's beginning; the job goes on."
    return postponed(job, Unavailable("CONTROLLER_RESTARTED", message), "Wait: it goes on by itself.", 0)


def _again(job: Job, error: ControllerError, advice: str, now_us: int, timings: Timings) -> Job:
    if job.tries >= MOST_TRIES:
        return failed(job, error.reason, str(error), advice, now_us)
    pause_seconds = timings.retry_seconds * timings.retry_growth ** (job.tries - 1)
    return postponed(job, error, advice, now_us + microseconds(min(pause_seconds, LONGEST_PAUSE_SECONDS)))


_ADVICE = {
    "MANIFEST_UNKNOWN": "Restore the controller's newest database; or find out who wrote the object, and move it away. Then collect again.",
    "REFMAP_UNREADABLE": "Bring the object back, or delete the point; then collect again.",
    "PACK_UNKNOWN": "Check the repository: seawall repo check.",
    "NOT_LEADER": "Find out which other controller uses this bucket: only one may.",
    "TOO_BUSY": "Collect again later.",
}


def _advice(reason: str) -> str:
    return _ADVICE.get(reason) or next_step(reason)
