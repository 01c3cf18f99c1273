"""Starts small CHECK jobs by itself: new packs soon after they were stored, everything else once in a period, points as often as their
policies say. Part of the leader.

What is due is decided in `seawall.repository.checking.schedule`, from what this loop reads. Belongs to the event loop.
"""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import structlog

from seawall.controller.errors import ControllerError
from seawall.controller.maintenance.jobs import MAINTENANCE, start_job
from seawall.controller.maintenance.verify_ledger import facts_of
from seawall.controller.maintenance.verify_points import Again, due_again
from seawall.controller.maintenance.verify_wire import to_point
from seawall.controller.records.catalogue import RepositoryRecord
from seawall.controller.records.maintenance import Job, JobKind, JobState
from seawall.controller.scheduler.leading import LeaderLease
from seawall.controller.scheduler.wakes import Wakes
from seawall.controller.server.drain import Drain
from seawall.controller.store.transaction import Store, Transaction
from seawall.controller.timings import Timings
from seawall.repository.checking.schedule import DAY_SECONDS, Due, Rhythm, Standing, next_check, rolling_may_be_due
from seawall.repository.clock import Clock

NEW, ROLLING, POLICY = "new", "rolling", "policy"
JOBS_KEPT = 20
"""Ended jobs that started by themselves and found nothing: more of them are dropped from the list."""
JOBS_LOOKED_AT = 50
"""The newest, among which those are that go."""
LOOKS = 3
"""As often as new packs are, points are looked for that policies want read back, once a look found none: it reads all policies."""

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
    policy_failed_us: int = 0


class Verification:
    """One for the controller."""

    def __init__(self, store: Store, lease: LeaderLease, wakes: Wakes, clock: Clock, timings: Timings) -> None:
        self._store = store
        self._lease = lease
        self._wakes = wakes
        self._clock = clock
        self._rhythm = rhythm_of(timings)
        self._interval_seconds = timings.scheduler_interval_seconds
        self._began_us = clock.now_us()
        self._again_pause_seconds = LOOKS * timings.verify_new_seconds
        self._again_looked: dict[str, float] = {}
        """Repository -> monotonic time of the last look that found no point."""

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
        for repository_id, wanted, again in due:
            await self._start(repository_id, wanted, again if wanted.because == POLICY else None)
        if due:
            self._wakes.notify((MAINTENANCE,))

    def _due(self, transaction: Transaction, now_us: int) -> list[tuple[str, Due, Again | None]]:
        busy = {job.repository_id for job in transaction.jobs.open_jobs() if job.kind is JobKind.CHECK}
        found = []
        for record in transaction.repositories.repositories():
            if record.id not in busy:
                again = self._again(transaction, record.id, now_us)
                standing = self._standing(transaction, record, now_us, points_due=again is not None)
                wanted = next_check(standing, self._rhythm)
                if wanted is not None:
                    found.append((record.id, wanted, again))
        return found

    def _again(self, transaction: Transaction, repository_id: str, now_us: int) -> Again | None:
        now = self._clock.monotonic_seconds()
        if now - self._again_looked.get(repository_id, -self._again_pause_seconds) < self._again_pause_seconds:
            return None
        again = due_again(transaction, transaction.policies.policies(), repository_id, now_us)
        if again is None:
            self._again_looked[repository_id] = now
        return again

    def _standing(
        self, transaction: Transaction, record: RepositoryRecord, now_us: int, *, points_due: bool
    ) -> Standing:
        past = past_of(last_jobs(transaction, record.id), self._began_us, record.created_us)
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
            last_policy_failed_us=past.policy_failed_us,
            unproven=bool(transaction.points.unproven(record.id, 1)),
            points_due=points_due,
        )

    async def _start(self, repository_id: str, due: Due, again: Again | None) -> None:
        leader = self._lease.current
        request = {"because": due.because, "limit_bytes": due.limit_bytes} | (again.request if again else {})

        def closure(transaction: Transaction) -> Job:
            transaction.leadership.check(leader)
            for spent in spent_jobs(transaction.jobs.jobs(repository_id=repository_id, limit=JOBS_LOOKED_AT)):
                transaction.jobs.drop_job(spent.id)
            return start_job(transaction, repository_id, JobKind.CHECK, request, self._clock)

        job = await self._store.write(closure)
        _log.info("verification.started", job_id=job.id, because=due.because, limit_bytes=due.limit_bytes)


def last_jobs(transaction: Transaction, repository_id: str) -> list[Job]:
    """The last of each kind, newest first. Each by itself: any number of collections may have come since."""
    found = [transaction.jobs.newest_because(repository_id, because) for because in (NEW, ROLLING, POLICY)]
    return sorted(filter(None, found), key=lambda job: job.id, reverse=True)


def past_of(jobs: Sequence[Job], began_us: int, created_us: int) -> Past:
    """`jobs`: newest first. The controller's own start counts as the end of a verification: what it carries on with comes first."""
    new = [job for job in jobs if job.because == NEW]
    rolling = [job for job in jobs if job.because == ROLLING]
    return Past(
        new_end_us=max(began_us, new[0].ended_us if new else 0),
        rolling_begin_us=rolling[0].created_us if rolling else created_us,
        failed_us=_failed_us(jobs, (NEW, ROLLING)),
        policy_failed_us=_failed_us(jobs, (POLICY,)),
    )


def _failed_us(jobs: Sequence[Job], kinds: Collection[str]) -> int:
    """When the last of these kinds ended, if it failed or found something. What it left undecided (keys that are missing, a store that
    refuses) would be due again at once.
    """
    last = next((job for job in jobs if job.because in kinds), None)
    return 0 if last is None or is_quiet(last) else last.ended_us


def spent_jobs(jobs: Sequence[Job]) -> list[Job]:
    """Of the newest first those that go. The last rolling one stays: without it all that was stored would be due again at once. So does the
    last for policies, which may have to be waited for.

    What was found for a policy goes as well: the points concerned show it, and a point that stays damaged would fill the list.
    """
    last = [next((job for job in jobs if job.because == kind), None) for kind in (ROLLING, POLICY)]
    spent = [job for job in jobs if is_quiet(job) or (job.because == POLICY and job.state.over)]
    return [job for job in spent[JOBS_KEPT:] if job not in last]


def note_tried(transaction: Transaction, ended: Job) -> None:
    """Points that a job for a policy may have left undecided come later; after one that found nothing the next goes on where it ended."""
    if ended.because == POLICY and not (is_quiet(ended) and _came_forward(ended)):
        points = [to_point(each) for each in json.loads(ended.request)["points"]]
        transaction.points.mark_tried([point.point_id for point in points], ended.ended_us)


def _came_forward(job: Job) -> bool:
    """It read a pack, or looked at a point."""
    result = json.loads(job.result)
    return bool(result["packs"] or result["points"])


def is_quiet(job: Job) -> bool:
    """Started by itself, over, and found nothing."""
    return job.state is JobState.SUCCEEDED and job.because != "" and not json.loads(job.result).get("findings_total")
