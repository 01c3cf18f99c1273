"""Starts small CHECK jobs by itself: new packs soon after they were stored, everything else once in a period. Part of the leader.

What is due is decided in `seawall.repository.checking.schedule`, from what this loop reads. Belongs to the event loop.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from seawall.controller.errors import ControllerError
from seawall.controller.maintenance.jobs import MAINTENANCE, start_job
from seawall.controller.maintenance.verify_ledger import facts_of
from seawall.controller.records.catalogue import RepositoryRecord
from seawall.controller.records.maintenance import Job, JobKind, JobState
from seawall.controller.scheduler.wakes import Wakes
from seawall.controller.server.drain import Drain
from seawall.controller.store.transaction import Store, Transaction
from seawall.controller.timings import Timings
from seawall.repository.checking.schedule import DAY_SECONDS, Due, Rhythm, Standing, next_check, rolling_may_be_due
from seawall.repository.clock import Clock

NEW, ROLLING = "new", "rolling"
JOBS_KEPT = 20
"""Ended jobs that started by themselves and found nothing: more of them are dropped from the list."""
JOBS_LOOKED_AT = 50

_log = structlog.get_logger()


def rhythm_of(timings: Timings) -> Rhythm:
    return Rhythm(
        period_days=timings.verify_period_seconds / DAY_SECONDS,
        new_every_seconds=timings.verify_new_seconds,
        rolling_every_seconds=min(3600.0, timings.verify_period_seconds / 24)
        if timings.verify_period_seconds
        else 3600.0,
        retry_seconds=max(timings.verify_new_seconds, 10 * timings.retry_seconds),
    )


@dataclass(frozen=True, slots=True)
class Past:
    """Of one repository's verifications, times in microseconds."""

    new_end_us: int
    rolling_begin_us: int
    failed_us: int


class Verification:
    """One for the controller."""

    def __init__(self, store: Store, wakes: Wakes, clock: Clock, timings: Timings) -> None:
        self._store = store
        self._wakes = wakes
        self._clock = clock
        self._rhythm = rhythm_of(timings)
        self._interval_seconds = timings.scheduler_interval_seconds
        self._began_us = clock.now_us()

    async def run(self, drain: Drain) -> None:
        """Returns when the drain starts."""
        while not drain.started:
            seen = self._wakes.seen(MAINTENANCE)
            try:
                await self._look()
            except ControllerError as error:
                _log.warning("verification.look_refused", reason=error.reason, error=str(error))
            except Exception:
                # The top of the loop: the next look reads everything anew.
                _log.exception("verification.look_failed")
            await drain.first(self._wakes.changed(seen, MAINTENANCE), self._interval_seconds)

    async def _look(self) -> None:
        now_us = self._clock.now_us()
        due = await self._store.read(lambda transaction: self._due(transaction, now_us))
        for repository_id, wanted in due:
            await self._start(repository_id, wanted)
        if due:
            self._wakes.notify((MAINTENANCE,))

    def _due(self, transaction: Transaction, now_us: int) -> list[tuple[str, Due]]:
        busy = {job.repository_id for job in transaction.jobs.open_jobs() if job.kind is JobKind.CHECK}
        found = []
        for record in transaction.repositories.repositories():
            if record.id not in busy:
                wanted = next_check(self._standing(transaction, record, now_us), self._rhythm)
                if wanted is not None:
                    found.append((record.id, wanted))
        return found

    def _standing(self, transaction: Transaction, record: RepositoryRecord, now_us: int) -> Standing:
        jobs = transaction.jobs.jobs(repository_id=record.id, limit=JOBS_LOOKED_AT)
        past = past_of(jobs, self._began_us, record.created_us)
        total_bytes, oldest = 0, None
        if rolling_may_be_due(now_us, past.rolling_begin_us, self._rhythm):
            total_bytes = transaction.repositories.totals(record.id).stored_bytes
            oldest = next(map(facts_of, transaction.packs.seen(record.id, 1)), None)
        return Standing(
            now_us=now_us,
            total_bytes=total_bytes,
            new=bool(transaction.packs.unseen(record.id, 1)),
            oldest=oldest,
            last_new_end_us=past.new_end_us,
            last_rolling_begin_us=past.rolling_begin_us,
            last_failed_us=past.failed_us,
            unproven=bool(transaction.points.unproven(record.id, 1)),
        )

    async def _start(self, repository_id: str, due: Due) -> None:
        request = {"because": due.because, "limit_bytes": due.limit_bytes}

        def closure(transaction: Transaction) -> Job:
            for spent in spent_jobs(transaction.jobs.jobs(repository_id=repository_id, limit=JOBS_LOOKED_AT)):
                transaction.jobs.drop_job(spent.id)
            return start_job(transaction, repository_id, JobKind.CHECK, request, self._clock)

        job = await self._store.write(closure)
        _log.info("verification.started", job_id=job.id, because=due.because, limit_bytes=due.limit_bytes)


def past_of(jobs: Sequence[Job], began_us: int, created_us: int) -> Past:
    """`jobs`: newest first. The controller's own start counts as the end of a verification: what it carries on with comes first."""
    new = [job for job in jobs if because_of(job) == NEW]
    rolling = [job for job in jobs if because_of(job) == ROLLING]
    last = max([*new[:1], *rolling[:1]], key=lambda job: job.created_us, default=None)
    # One with findings may have left packs undecided (keys that are missing, a store that refuses): they would be due again at once.
    failed = last is not None and not is_quiet(last)
    return Past(
        new_end_us=max(began_us, new[0].ended_us if new else 0),
        rolling_begin_us=rolling[0].created_us if rolling else created_us,
        failed_us=last.ended_us if last is not None and failed else 0,
    )


def spent_jobs(jobs: Sequence[Job]) -> list[Job]:
    """Of the newest first those that go. The last rolling one stays: without it all that was stored would be due again at once."""
    last = next((job for job in jobs if because_of(job) == ROLLING), None)
    return [job for job in [job for job in jobs if is_quiet(job)][JOBS_KEPT:] if job is not last]


def is_quiet(job: Job) -> bool:
    """Started by itself, over, and found nothing."""
    return (
        job.state is JobState.SUCCEEDED and because_of(job) != "" and not json.loads(job.result).get("findings_total")
    )


def because_of(job: Job) -> str:
    """NEW or ROLLING; "" for one that somebody ordered."""
    if job.kind is not JobKind.CHECK:
        return ""
    return str(json.loads(job.request).get("because", ""))
