"""Runs maintenance jobs: one worker process for each ACTIVE job. Part of the leader; belongs to the event loop.

A worker that dies is begun again, a few times; what it did stays, as every step can be repeated. A controller that starts finds the ACTIVE
jobs of the one before, whose workers ended with it, and makes them READY.
"""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import structlog

from seawall.controller.errors import ControllerError, Unavailable
from seawall.controller.maintenance.jobs import MAINTENANCE, begun, canceled, failed, postponed, succeeded
from seawall.controller.maintenance.jobs import job as job_of
from seawall.controller.maintenance.ledger_calls import Calls
from seawall.controller.maintenance.process import Outcome, WorkerProcess
from seawall.controller.maintenance.verify_schedule import note_tried
from seawall.controller.records.maintenance import Job, JobKind, JobState
from seawall.controller.repositories.catalogue import RepositoryCatalogue
from seawall.controller.repositories.opened import OpenedRepository
from seawall.controller.repositories.outside import next_step
from seawall.controller.scheduler.wakes import Wakes
from seawall.controller.server.drain import Drain
from seawall.controller.services.blocking import Blocking
from seawall.controller.store.transaction import Store, Transaction
from seawall.controller.timings import Timings, microseconds
from seawall.repository.clock import Clock

MOST_TRIES = 5
"""Workers of one job that died or met a store that was away."""

LONGEST_PAUSE_SECONDS = 3600.0
"""Between two of them."""

DIED_NEXT_STEP = (
    "See the controller's log and the kernel's (memory?); then start the job again. What was done stays done."
)

STOPS = "the controller stops"

CallsOf = Callable[[Job, OpenedRepository], Calls]
"""What answers the worker of a job of one kind."""

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Supervisor:
    """`calls_of`: by kind. `settings_of`: what else a kind of work is told, secrets among it: blocking."""

    store: Store
    repositories: RepositoryCatalogue
    blocking: Blocking
    wakes: Wakes
    clock: Clock
    timings: Timings
    calls_of: Mapping[JobKind, CallsOf]
    settings_of: Mapping[JobKind, Callable[[Job, OpenedRepository], Mapping[str, Any]]]

    async def run(self, drain: Drain) -> None:
        """Returns when the drain starts and all workers have ended."""
        workers: dict[str, tuple[asyncio.Task[None], WorkerProcess]] = {}
        taken_over = False
        while not drain.started:
            seen = self.wakes.seen(MAINTENANCE)
            try:
                if not taken_over:
                    await self._take_over()
                    taken_over = True
                await self._look(workers)
            except ControllerError as error:
                _log.warning("maintenance.look_refused", reason=error.reason, error=str(error))
            except Exception:
                # The top of the loop: the next look reads everything anew.
                _log.exception("maintenance.look_failed")
            await drain.first(self.wakes.changed(seen, MAINTENANCE), self.timings.scheduler_interval_seconds)
        for _, worker in workers.values():
            worker.kill(STOPS)
        await asyncio.gather(*(task for task, _ in workers.values()), return_exceptions=True)

    async def _take_over(self) -> None:
        """ACTIVE jobs of a controller that ended: their workers ended with it."""

        def closure(transaction: Transaction) -> int:
            active = [job for job in transaction.jobs.open_jobs() if job.state is JobState.ACTIVE]
            for job in active:
                error = Unavailable("CONTROLLER_RESTARTED", "The controller was restarted; the job goes on.")
                transaction.jobs.save_job(job, postponed(job, error, "Wait: it goes on by itself.", 0))
            return len(active)

        count = await self.store.write(closure)
        if count:
            _log.info("maintenance.taken_over", jobs=count)

    async def _look(self, workers: dict[str, tuple[asyncio.Task[None], WorkerProcess]]) -> None:
        for job_id in [job_id for job_id, (task, _) in workers.items() if task.done()]:
            del workers[job_id]
        jobs = await self.store.read(lambda transaction: transaction.jobs.open_jobs())
        self._kill_stubborn(jobs, workers)
        busy = {(job.repository_id, job.kind) for job in jobs if job.state is JobState.ACTIVE}
        for job in jobs:
            place = (job.repository_id, job.kind)
            if job.state is JobState.READY and place not in busy and job.not_before_us <= self.clock.now_us():
                busy.add(place)
                await self._begin(job, workers)

    def _kill_stubborn(self, jobs: Sequence[Job], workers: dict[str, tuple[asyncio.Task[None], WorkerProcess]]) -> None:
        """A worker notices a cancellation at its next step; one that is long in a call is not waited for."""
        patience_us = microseconds(self.timings.cancel_soft_seconds)
        for job in jobs:
            if job.cancel_us and job.cancel_us + patience_us <= self.clock.now_us() and job.id in workers:
                workers[job.id][1].kill("it was cancelled")

    async def _begin(self, job: Job, workers: dict[str, tuple[asyncio.Task[None], WorkerProcess]]) -> None:
        try:
            opened = await self.blocking.run(partial(self.repositories.open, job.repository_id))
            keys = await self.blocking.run(partial(self.repositories.keys_for_worker, opened.record))
            settings = await self.blocking.run(partial(self._settings, job, opened))
        except ControllerError as error:
            await self._postpone(job, error)
            return
        now_us = self.clock.now_us()

        def closure(transaction: Transaction) -> Job:
            transaction.pins.drop_spent(job.repository_id)
            return transaction.jobs.save_job(job, begun(job, now_us))

        active = await self.store.write(closure)
        order = {
            "kind": job.kind.value,
            "request": json.loads(job.request),
            "settings": settings,
            **keys,
        }
        worker = WorkerProcess(order, self.calls_of[job.kind](active, opened), self.blocking)
        workers[job.id] = (asyncio.create_task(self._work(active, worker)), worker)
        self.wakes.notify()
        _log.info("job.started", job_id=job.id, kind=job.kind.value, repository=opened.record.name, tries=active.tries)

    def _settings(self, job: Job, opened: OpenedRepository) -> Mapping[str, Any]:
        found = self.settings_of.get(job.kind)
        return found(job, opened) if found is not None else {}

    async def _work(self, job: Job, worker: WorkerProcess) -> None:
        try:
            outcome = await worker.run()
        except Exception as error:
            # The top of a task: whatever it was, the job must not stay ACTIVE for ever.
            _log.exception("job.worker_failed", job_id=job.id)
            outcome = Outcome(died=str(error))
        await self._end(job, outcome)
        self.wakes.notify((MAINTENANCE,))

    async def _end(self, job: Job, outcome: Outcome) -> None:
        def closure(transaction: Transaction) -> Job:
            before = job_of(transaction, job.id)
            if before.state is not JobState.ACTIVE or before.tries != job.tries:
                return before  # another controller leads, and its worker has the job now
            after = transaction.jobs.save_job(before, self._after(before, outcome))
            if after.state.over:
                note_tried(transaction, after)
            return after

        after = await self.store.write(closure)
        _log.info("job.ended", job_id=job.id, kind=job.kind.value, state=after.state.value, failure=after.failure)

    def _after(self, job: Job, outcome: Outcome) -> Job:
        now_us = self.clock.now_us()
        if outcome.result is not None:
            return succeeded(job, outcome.result, now_us)
        if job.cancel_us or (outcome.failure and outcome.failure["reason"] == "CANCELED"):
            return canceled(job, now_us)
        if outcome.died == STOPS:
            error = Unavailable(
                "CONTROLLER_RESTARTED", "The controller was stopped; the job goes on with the next one."
            )
            return postponed(replace(job, tries=job.tries - 1), error, "Wait: it goes on by itself.", 0)
        if outcome.failure is None:
            error = Unavailable("WORKER_DIED", f"The worker died: {outcome.died}.")
            return self._again(job, error, DIED_NEXT_STEP, now_us)
        reason, message = outcome.failure["reason"], outcome.failure["message"]
        if outcome.failure["temporary"]:
            return self._again(job, Unavailable(reason, message), next_step(reason), now_us)
        return failed(job, reason, message, _advice(reason), now_us)

    def _again(self, job: Job, error: ControllerError, advice: str, now_us: int) -> Job:
        if job.tries >= MOST_TRIES:
            return failed(job, error.reason, str(error), advice, now_us)
        pause_seconds = self.timings.retry_seconds * self.timings.retry_growth ** (job.tries - 1)
        return postponed(job, error, advice, now_us + microseconds(min(pause_seconds, LONGEST_PAUSE_SECONDS)))

    async def _postpone(self, job: Job, error: ControllerError) -> None:
        until_us = self.clock.now_us() + microseconds(self.timings.retry_seconds)
        later = postponed(job, error, next_step(error.reason), until_us)
        await self.store.write(lambda transaction: transaction.jobs.save_job(job, later))


_ADVICE = {
    "MANIFEST_UNKNOWN": "Restore the controller's newest database; or find out who wrote the object, and move it away. Then collect again.",
    "REFMAP_UNREADABLE": "Bring the object back, or delete the point; then collect again.",
    "PACK_UNKNOWN": "Check the repository: seawall repo check.",
    "NOT_LEADER": "Find out which other controller uses this bucket: only one may.",
    "TOO_BUSY": "Collect again later.",
}


def _advice(reason: str) -> str:
    return _ADVICE.get(reason) or next_step(reason)
