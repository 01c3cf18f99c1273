"""A controller that leads no more says nothing about a job that its successor carries on."""

import asyncio
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from seawall.controller.database.sqlite import SqliteDatabase
from seawall.controller.maintenance.jobs import begun
from seawall.controller.maintenance.process import Outcome
from seawall.controller.maintenance.supervisor import STOPS, Supervisor
from seawall.controller.records.maintenance import Job, JobKind, JobState
from seawall.controller.repositories.catalogue import RepositoryCatalogue
from seawall.controller.scheduler.wakes import Wakes
from seawall.controller.services.blocking import Blocking
from seawall.controller.timings import Timings
from support.controller_clock import ManualClock
from support.controller_records import NOW, a_repository

READY = Job("0192", "repository", JobKind.COLLECT, JobState.READY, "{}", NOW)
MINE = begun(READY, NOW)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[SqliteDatabase]:
    with closing(SqliteDatabase(tmp_path / "controller.sqlite")) as opened:
        opened.write_now(lambda transaction: transaction.repositories.add_repository(a_repository()))
        yield opened


def ended(database: SqliteDatabase, stored: Job, outcome: Outcome) -> Job:
    """What is stored once the worker of MINE has ended."""
    database.write_now(lambda transaction: transaction.jobs.add_job(stored))
    catalogue, blocking = cast(RepositoryCatalogue, None), Blocking(1)
    supervisor = Supervisor(database, catalogue, blocking, Wakes(), ManualClock(NOW), Timings(), {}, {})
    asyncio.run(supervisor._end(MINE, outcome))
    blocking.close()
    found = database.read_now(lambda transaction: transaction.jobs.job(stored.id))
    assert found is not None
    return found


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome(died=STOPS),
        Outcome(failure={"reason": "NOT_LEADER", "message": "another one leads", "temporary": False}),
        Outcome(result={}),
    ],
)
@pytest.mark.parametrize("stored", [begun(MINE, NOW), replace(MINE, state=JobState.READY)])
def test_the_successors_job_stays_as_it_is(database: SqliteDatabase, stored: Job, outcome: Outcome) -> None:
    assert ended(database, stored, outcome) == stored


def test_its_own_job_ends(database: SqliteDatabase) -> None:
    assert ended(database, MINE, Outcome(result={})).state is JobState.SUCCEEDED
