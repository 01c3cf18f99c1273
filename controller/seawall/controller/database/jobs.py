"""Maintenance jobs."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from seawall.controller.database.names import named
from seawall.controller.database.tables import jobs
from seawall.controller.errors import Aborted
from seawall.controller.records.maintenance import Job, JobKind, JobState

OPEN = (JobState.READY.value, JobState.ACTIVE.value)


class JobRows:
    """`Jobs` in one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def job(self, job_id: str) -> Job | None:
        return next(iter(self._all(sa.select(jobs).where(jobs.c.id == job_id))), None)

    def jobs_named(self, text: str) -> Sequence[Job]:
        return self._all(named(sa.select(jobs), text, jobs.c.id))

    def jobs(self, *, repository_id: str = "", before: str = "", limit: int = 1000) -> Sequence[Job]:
        query = sa.select(jobs).order_by(jobs.c.id.desc()).limit(limit)
        if repository_id:
            query = query.where(jobs.c.repository_id == repository_id)
        if before:
            query = query.where(jobs.c.id < before)
        return self._all(query)

    def newest_because(self, repository_id: str, because: str) -> Job | None:
        mine = sa.and_(jobs.c.repository_id == repository_id, jobs.c.because == because)
        return next(iter(self._all(sa.select(jobs).where(mine).order_by(jobs.c.id.desc()).limit(1))), None)

    def open_jobs(self) -> Sequence[Job]:
        return self._all(sa.select(jobs).where(jobs.c.state.in_(OPEN)).order_by(jobs.c.id))

    def add_job(self, job: Job) -> None:
        self._connection.execute(sa.insert(jobs).values(**_values(job)))

    def drop_job(self, job_id: str) -> None:
        self._connection.execute(sa.delete(jobs).where(jobs.c.id == job_id, jobs.c.state.not_in(OPEN)))

    def save_job(self, before: Job, after: Job) -> Job:
        if after == before:
            return before
        after = dataclasses.replace(after, version=before.version + 1)
        same = sa.and_(jobs.c.id == before.id, jobs.c.version == before.version)
        if self._connection.execute(sa.update(jobs).where(same).values(**_values(after))).rowcount != 1:
            raise Aborted("CHANGED", f"The job {before.id} changed meanwhile; read it again.")
        return after

    def _all(self, query: sa.Select[Any]) -> list[Job]:
        return [_job(row) for row in self._connection.execute(query)]


def _values(job: Job) -> dict[str, Any]:
    values = {field.name: getattr(job, field.name) for field in dataclasses.fields(job)}
    return values | {"kind": job.kind.value, "state": job.state.value, "because": job.because}


def _job(row: sa.Row[Any]) -> Job:
    values = {name: value for name, value in row._mapping.items() if name != "because"}
    return Job(**values | {"kind": JobKind(row.kind), "state": JobState(row.state)})
