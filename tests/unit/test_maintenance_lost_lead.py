"""A controller that leads no more says nothing about a job that its successor carries on."""

import asyncio
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from seawall.controller.database.sqlite import SqliteDatabase
from seawall.controller.maintenance.ending import STOPS
from seawall.controller.maintenance.jobs import begun
from seawall.controller.maintenance.process import Outcome
from seawall.controller.records.maintenance import Job, JobKind, JobState
from seawall.controller.server.drain import Drain
from seawall.controller.timings import Timings
from support.controller_records import NOW, a_repository
from support.sqlite_template import new_sqlite
from support.supervising import RefusingStore, stored, supervising

READY = Job("0192", "repository", JobKind.COLLECT, JobState.READY, "{}", NOW)
MINE = begun(READY, NOW)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[SqliteDatabase]:
    with closing(SqliteDatabase(new_sqlite(tmp_path / "controller.sqlite"))) as opened:
        opened.write_now(lambda transaction: transaction.repositories.add_repository(a_repository()))
        yield opened


def ended(database: SqliteDatabase, job: Job, outcome: Outcome) -> Job:
    """What is stored once the worker of MINE has ended."""
    store = RefusingStore(database)
    store.write_now(lambda transaction: transaction.jobs.add_job(job))
    with supervising(store, Timings()) as supervisor:
        asyncio.run(supervisor.end(MINE, outcome, Drain()))
    return stored(store, job.id)


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome(died=STOPS),
        Outcome(failure={"reason": "NOT_LEADER", "message": "another one leads", "temporary": False}),
        Outcome(result={}),
    ],
)
@pytest.mark.parametrize("job", [begun(MINE, NOW), replace(MINE, state=JobState.READY)])
def test_the_successors_job_stays_as_it_is(database: SqliteDatabase, job: Job, outcome: Outcome) -> None:
    assert ended(database, job, outcome) == job


def test_its_own_job_ends(database: SqliteDatabase) -> None:
    assert ended(database, MINE, Outcome(result={})).state is JobState.SUCCEEDED
