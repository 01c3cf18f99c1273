"""Runs maintenance jobs: one worker process for each ACTIVE job. Part of the leader; belongs to the event loop.

A worker that dies is begun again, a few times; what it did stays, as every step can be repeated. How one ended is written again and again
until the database takes it: as long as a job is ACTIVE, no other of its kind begins in its repository. An ACTIVE job without a worker of
the leader is nobody's (the controller before was killed, or the database took a beginning and could not say so): a look makes it READY.
"""

import asyncio
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import structlog

from seawall.controller.errors import ControllerError
from seawall.controller.maintenance import ending
from seawall.controller.maintenance.jobs import MAINTENANCE, begun
from seawall.controller.maintenance.ledger_calls import Calls
from seawall.controller.maintenance.process import Outcome, WorkerProcess
from seawall.controller.maintenance.verify_schedule import note_tried
from seawall.controller.records.maintenance import Job, JobKind, JobState
from seawall.controller.repositories.catalogue import RepositoryCatalogue
from seawall.controller.repositories.opened import OpenedRepository
from seawall.controller.scheduler.leading import LeaderLease
from seawall.controller.scheduler.wakes import Wakes
from seawall.controller.server.drain import Drain
from seawall.controller.services.blocking import Blocking
from seawall.controller.store.transaction import Store, Transaction
from seawall.controller.timings import Timings, microseconds
from seawall.repository.clock import Clock

LONGEST_WAIT_SECONDS = 60.0
"""Between two tries to write how a worker ended."""

CallsOf = Callable[[Job, OpenedRepository], Calls]
"""What answers the worker of a job of one kind."""

Workers: TypeAlias = dict[str, tuple[asyncio.Task[None], WorkerProcess]]
"""By job: who carries it on, until what became of it is written."""

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Supervisor:
    """`calls_of`: by kind. `settings_of`: what else a kind of work is told, secrets among it: blocking."""

    store: Store
    lease: LeaderLease
    repositories: RepositoryCatalogue
    blocking: Blocking
    wakes: Wakes
    clock: Clock
    timings: Timings
    calls_of: Mapping[JobKind, CallsOf]
    settings_of: Mapping[JobKind, Callable[[Job, OpenedRepository], Mapping[str, Any]]]

    async def run(self, drain: Drain) -> None:
        """Returns when the drain starts and all workers have ended."""
        workers: Workers = {}
        try:
            while not drain.started:
                seen = self.wakes.seen(MAINTENANCE)
                try:
                    await self.look(workers, drain)
                except ControllerError as error:
                    _log.warning("maintenance.look_refused", reason=error.reason, error=str(error))
                except Exception:
                    # The top of the loop: the next look reads everything anew.
                    _log.exception("maintenance.look_failed")
                await drain.first(self.wakes.changed(seen, MAINTENANCE), self.timings.scheduler_interval_seconds)
        finally:
            # Also where a look is given up that waits for a store which does not answer.
            for _, worker in workers.values():
                worker.kill(ending.STOPS)
        await asyncio.gather(*(task for task, _ in workers.values()), return_exceptions=True)

    async def look(self, workers: Workers, drain: Drain) -> None:
        """Begins what may begin. Raises Unavailable/NOT_LEADER, and what the store says no with."""
        for job_id in [job_id for job_id, (task, _) in workers.items() if task.done()]:
            del workers[job_id]
        jobs = await self.store.read(lambda transaction: transaction.jobs.open_jobs())
        if any(job.state is JobState.ACTIVE and job.id not in workers for job in jobs):
            jobs = await self._take_over(workers.keys())
        self._kill_stubborn(jobs, workers)
        busy = {(job.repository_id, job.kind) for job in jobs if job.state is JobState.ACTIVE}
        for job in jobs:
            place = (job.repository_id, job.kind)
            if job.state is JobState.READY and place not in busy and job.not_before_us <= self.clock.now_us():
                busy.add(place)
                await self._try_to_begin(job, workers, drain)

    async def _take_over(self, mine: Collection[str]) -> Sequence[Job]:
        """ACTIVE jobs without a worker of this controller. The open jobs as they are then."""
        leader, now_us = self.lease.current, self.clock.now_us()

        def closure(transaction: Transaction) -> tuple[int, Sequence[Job]]:
            # Only the leader's own workers count; one that leads no more would take its successor's jobs from them.
            transaction.leadership.check(leader)
            jobs = transaction.jobs.open_jobs()
            strays = [job for job in jobs if job.state is JobState.ACTIVE and job.id not in mine]
            for job in strays:
                _save_end(transaction, job, ending.taken_over(job, now_us))
            return len(strays), transaction.jobs.open_jobs()

        count, jobs = await self.store.write(closure)
        if count:
            _log.info("maintenance.taken_over", jobs=count)
        return jobs

    def _kill_stubborn(self, jobs: Sequence[Job], workers: Workers) -> None:
        """A worker notices a cancellation at its next step; one that is long in a call is not waited for."""
        patience_us = microseconds(self.timings.cancel_soft_seconds)
        for job in jobs:
            if job.cancel_us and job.cancel_us + patience_us <= self.clock.now_us() and job.id in workers:
                workers[job.id][1].kill("it was cancelled")

    async def _try_to_begin(self, job: Job, workers: Workers, drain: Drain) -> None:
        """Whatever is wrong with one job, the others have their turn."""
        try:
            await self._begin(job, workers, drain)
        except ControllerError as error:
            # It changed meanwhile, or the database takes no writes: the next look sees.
            _log.warning("job.not_begun", job_id=job.id, reason=error.reason, error=str(error))
        except Exception:
            _log.exception("job.not_begun", job_id=job.id)

    async def _begin(self, job: Job, workers: Workers, drain: Drain) -> None:
        """Nothing that may fail comes after the write: a job that is ACTIVE has its worker."""
        now_us = self.clock.now_us()
        active = begun(job, now_us)
        try:
            opened = await self.blocking.run(partial(self.repositories.open, job.repository_id))
            worker = WorkerProcess(*await self._ordered(active, opened), self.blocking)
        except ControllerError as error:
            await self._put_off(job, ending.not_begun(job, error, now_us, self.timings))
            return
        except Exception as error:
            # The top of one job: it is tried again, ever more rarely, and at last failed.
            _log.exception("job.not_begun", job_id=job.id)
            await self._put_off(job, ending.not_understood(job, error, now_us, self.timings))
            return
        leader = self.lease.current  # not before: opening the repository may raise its epoch

        def closure(transaction: Transaction) -> Job:
            transaction.leadership.check(leader)
            transaction.pins.drop_spent(job.repository_id)
            return transaction.jobs.save_job(job, active)

        saved = await self.store.write(closure)
        workers[job.id] = (asyncio.create_task(self._work(saved, worker, drain)), worker)
        self.wakes.notify()
        _log.info("job.started", job_id=job.id, kind=job.kind.value, repository=opened.record.name, tries=saved.tries)

    async def _ordered(self, job: Job, opened: OpenedRepository) -> tuple[Mapping[str, Any], Calls]:
        """(what its worker is told, what answers it)."""
        keys = await self.blocking.run(partial(self.repositories.keys_for_worker, opened.record))
        settings = await self.blocking.run(partial(self._settings, job, opened))
        order = {"kind": job.kind.value, "request": json.loads(job.request), "settings": settings, **keys}
        return order, self.calls_of[job.kind](job, opened)

    def _settings(self, job: Job, opened: OpenedRepository) -> Mapping[str, Any]:
        found = self.settings_of.get(job.kind)
        return found(job, opened) if found is not None else {}

    async def _put_off(self, job: Job, later: Job) -> None:
        leader = self.lease.current

        def closure(transaction: Transaction) -> Job:
            transaction.leadership.check(leader)
            return _save_end(transaction, job, later)

        await self.store.write(closure)

    async def _work(self, job: Job, worker: WorkerProcess, drain: Drain) -> None:
        try:
            outcome = await worker.run()
        except Exception as error:
            # The top of a task: whatever it was, the job must not stay ACTIVE for ever.
            _log.exception("job.worker_failed", job_id=job.id)
            outcome = Outcome(died=str(error))
        await self.end(job, outcome, drain)
        self.wakes.notify((MAINTENANCE,))

    async def end(self, job: Job, outcome: Outcome, drain: Drain) -> None:
        """Writes how a worker of the job ended: again until the database takes it, or the drain leaves it to who leads next."""
        pause_seconds = self.timings.scheduler_interval_seconds
        while True:
            try:
                await self._end(job, outcome)
                return
            except ControllerError as error:
                _log.warning("job.end_not_written", job_id=job.id, reason=error.reason, error=str(error))
            except Exception as error:
                # The top of a task: what cannot be understood is a worker that died, with its few tries.
                _log.exception("job.end_not_written", job_id=job.id)
                outcome = Outcome(died=f"what it answered is not understood: {type(error).__name__}")
            await drain.first(asyncio.sleep(pause_seconds), pause_seconds)
            if drain.started:
                return
            pause_seconds = min(2 * pause_seconds, LONGEST_WAIT_SECONDS)

    async def _end(self, job: Job, outcome: Outcome) -> None:
        now_us = self.clock.now_us()

        def closure(transaction: Transaction) -> Job | None:
            before = transaction.jobs.job(job.id)
            if before is None or before.state is not JobState.ACTIVE or before.tries != job.tries:
                return before  # another controller leads, and its worker has the job now
            return _save_end(transaction, before, ending.after(before, outcome, now_us, self.timings))

        after = await self.store.write(closure)
        if after is not None:
            _log.info("job.ended", job_id=job.id, kind=job.kind.value, state=after.state.value, failure=after.failure)


def _save_end(transaction: Transaction, before: Job, after: Job) -> Job:
    saved = transaction.jobs.save_job(before, after)
    if saved.state.over:
        note_tried(transaction, saved)
    return saved
