"""Maintenance jobs as transactions see them: begun, listed, cancelled. Pure but for the transaction; the supervisor does the work.

Who starts or cancels one wakes the supervisor with `Wakes.notify((MAINTENANCE,))`; each change of a job notifies ANYTHING.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from seawall.controller.errors import ControllerError, FailedPrecondition, NotFound
from seawall.controller.records.maintenance import Job, JobKind, JobState
from seawall.controller.records.uuid7 import uuid7
from seawall.controller.store.transaction import Transaction
from seawall.repository.clock import Clock

MAINTENANCE = "maintenance"
"""The topic of `Wakes` that the supervisor waits for."""


def start_job(
    transaction: Transaction, repository_id: str, kind: JobKind, request: Mapping[str, Any], clock: Clock
) -> Job:
    """A READY job; an open one of the same kind and request is returned instead of a second. `request`: a JSON object.

    COLLECT: {"plan_only": bool}. Raises NotFound/REPOSITORY_UNKNOWN.
    """
    if transaction.repositories.repository(repository_id) is None:
        raise NotFound("REPOSITORY_UNKNOWN", f"There is no repository {repository_id}.")
    body = json.dumps(request, sort_keys=True)
    for job in transaction.jobs.open_jobs():
        if (job.repository_id, job.kind, job.request, job.cancel_us) == (repository_id, kind, body, 0):
            return job
    fresh = Job(uuid7(clock), repository_id, kind, JobState.READY, body, clock.now_us())
    transaction.jobs.add_job(fresh)
    return fresh


def job(transaction: Transaction, job_id: str) -> Job:
    """Raises NotFound/JOB_UNKNOWN."""
    found = transaction.jobs.job(job_id)
    if found is None:
        raise NotFound("JOB_UNKNOWN", f"There is no job {job_id}.")
    return found


def jobs(transaction: Transaction, repository_id: str = "") -> Sequence[Job]:
    """Newest first, at most 1000."""
    return transaction.jobs.jobs(repository_id=repository_id)


def cancel_job(transaction: Transaction, job_id: str, now_us: int) -> Job:
    """A READY one is over at once; the worker of an ACTIVE one stops before its next step. Raises NotFound, FailedPrecondition/JOB_OVER."""
    before = job(transaction, job_id)
    if before.state.over:
        raise FailedPrecondition("JOB_OVER", f"Job {job_id} is over: {before.state.lower()}.")
    if before.state is JobState.READY:
        return transaction.jobs.save_job(before, canceled(before, now_us))
    return transaction.jobs.save_job(before, replace(before, cancel_us=before.cancel_us or now_us))


def begun(job: Job, now_us: int) -> Job:
    return replace(job, state=JobState.ACTIVE, started_us=job.started_us or now_us, tries=job.tries + 1)


def canceled(job: Job, now_us: int) -> Job:
    return replace(job, state=JobState.CANCELED, cancel_us=job.cancel_us or now_us, ended_us=now_us)


def succeeded(job: Job, result: Mapping[str, Any], now_us: int) -> Job:
    return replace(job, state=JobState.SUCCEEDED, result=json.dumps(result), ended_us=now_us, failure="")


def failed(job: Job, reason: str, message: str, next_step: str, now_us: int) -> Job:
    return replace(job, state=JobState.FAILED, failure=failure_text(reason, message, next_step), ended_us=now_us)


def postponed(job: Job, error: ControllerError, next_step: str, until_us: int) -> Job:
    """READY again; `failure` says why it waits."""
    text = failure_text(error.reason, str(error), next_step)
    return replace(job, state=JobState.READY, failure=text, not_before_us=until_us)


def failure_text(reason: str, message: str, next_step: str) -> str:
    return json.dumps({"reason": reason, "message": message, "next_step": next_step})
