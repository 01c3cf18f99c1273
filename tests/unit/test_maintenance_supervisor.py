"""The supervisor when the database or something unforeseen says no: no job stays ACTIVE without a worker, none holds up the others."""

import asyncio
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from seawall.controller.database.sqlite import SqliteDatabase
from seawall.controller.errors import ControllerError, ResourceExhausted, Unavailable
from seawall.controller.maintenance.ending import LONGEST_PAUSE_SECONDS, MOST_TRIES, STOPS
from seawall.controller.maintenance.jobs import begun
from seawall.controller.maintenance.process import Outcome, WorkerProcess
from seawall.controller.maintenance.supervisor import Supervisor, Workers
from seawall.controller.records.maintenance import Job, JobKind, JobState
from seawall.controller.server.drain import Drain, end_tasks
from seawall.controller.timings import Timings
from support.controller_clock import ManualClock
from support.controller_records import NOW, a_repository
from support.sqlite_template import new_sqlite
from support.supervising import RefusingStore, Repositories, stored, supervising

BRISK = Timings(scheduler_interval_seconds=0.01)
FULL = ResourceExhausted("DATABASE_FULL", "The database's disk is full.")
READY = Job("0192", "repository", JobKind.COLLECT, JobState.READY, "{}", NOW)
ACTIVE = begun(READY, NOW)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RefusingStore]:
    with closing(SqliteDatabase(new_sqlite(tmp_path / "controller.sqlite"))) as opened:
        opened.write_now(lambda transaction: transaction.repositories.add_repository(a_repository()))
        second = replace(a_repository("second", "other"), url="file:///c", lineage_hex="ef" * 16)
        opened.write_now(lambda transaction: transaction.repositories.add_repository(second))
        yield RefusingStore(opened)


def add(store: RefusingStore, *jobs: Job) -> None:
    for job in jobs:
        store.write_now(lambda transaction, job=job: transaction.jobs.add_job(job))  # type: ignore[misc]


@pytest.mark.parametrize("refusals", [[FULL], [FULL, Unavailable("DATABASE_BUSY", "Conflicts."), FULL]])
def test_the_end_of_a_job_is_written_once_the_database_can_be_written_again(
    store: RefusingStore, refusals: list[Exception]
) -> None:
    add(store, ACTIVE)
    store.refusals = list(refusals)
    with supervising(store, BRISK) as supervisor:
        asyncio.run(supervisor.end(ACTIVE, Outcome(result={}), Drain()))
    assert stored(store, ACTIVE.id).state is JobState.SUCCEEDED


def test_an_outcome_that_nobody_understands_is_a_worker_that_died(store: RefusingStore) -> None:
    add(store, ACTIVE)
    store.refusals = [ValueError("what it answered")]
    with supervising(store, BRISK) as supervisor:
        asyncio.run(supervisor.end(ACTIVE, Outcome(result={}), Drain()))
    after = stored(store, ACTIVE.id)
    assert after.state is JobState.READY and "WORKER_DIED" in after.failure and after.not_before_us > NOW


def test_a_controller_that_stops_waits_for_no_full_database(store: RefusingStore) -> None:
    add(store, ACTIVE)
    store.refusals = [FULL] * 3
    drain = Drain()
    drain.start()
    with supervising(store, BRISK) as supervisor:
        asyncio.run(asyncio.wait_for(supervisor.end(ACTIVE, Outcome(result={}), drain), 10))
    assert stored(store, ACTIVE.id) == ACTIVE and len(store.refusals) == 2


@pytest.mark.parametrize(("canceled_us", "then"), [(0, JobState.READY), (NOW, JobState.CANCELED)])
def test_each_look_takes_over_what_no_worker_carries_on(store: RefusingStore, canceled_us: int, then: JobState) -> None:
    """Not only the first: the answer to the write that begins a job may be lost too."""
    with supervising(store, BRISK, Repositories(lambda _: Unavailable("STORE_UNAVAILABLE", "Away."))) as supervisor:
        asyncio.run(supervisor.look({}, Drain()))
        add(store, replace(ACTIVE, cancel_us=canceled_us))
        asyncio.run(supervisor.look({}, Drain()))
    assert stored(store, ACTIVE.id).state is then


def test_who_leads_no_more_takes_no_job_from_its_successor(store: RefusingStore) -> None:
    add(store, ACTIVE)
    with supervising(store, BRISK, leads=False) as supervisor, pytest.raises(ControllerError) as refused:
        asyncio.run(supervisor.look({}, Drain()))
    assert refused.value.reason == "NOT_LEADER" and stored(store, ACTIVE.id) == ACTIVE


def test_a_job_that_cannot_be_begun_holds_up_no_other_and_is_failed_at_last(store: RefusingStore) -> None:
    other = replace(READY, id="0193", kind=JobKind.CHECK)
    add(store, READY, replace(other, repository_id="other"))
    errors = {"repository": ValueError("nobody thought of it"), "other": Unavailable("STORE_UNAVAILABLE", "Away.")}
    with supervising(store, BRISK, Repositories(errors.__getitem__)) as supervisor:
        for tries in range(1, MOST_TRIES + 1):
            asyncio.run(supervisor.look({}, Drain()))
            cast(ManualClock, supervisor.clock).advance(LONGEST_PAUSE_SECONDS)
            job = stored(store, READY.id)
            assert (job.tries, "JOB_NOT_BEGUN" in job.failure) == (tries, True)
            assert "STORE_UNAVAILABLE" in stored(store, other.id).failure
    assert job.state is JobState.FAILED
    assert stored(store, other.id).state is JobState.READY


def test_a_beginning_that_the_database_refuses_holds_up_no_other(store: RefusingStore) -> None:
    add(store, READY, replace(READY, id="0193", kind=JobKind.CHECK))
    store.refusals = [FULL]
    with supervising(store, BRISK, Repositories(lambda _: Unavailable("STORE_UNAVAILABLE", "Away."))) as supervisor:
        asyncio.run(supervisor.look({}, Drain()))
    assert stored(store, READY.id).failure == ""
    assert "STORE_UNAVAILABLE" in stored(store, "0193").failure


def test_a_look_that_is_given_up_leaves_no_worker_behind(store: RefusingStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits for a store that does not answer while the controller stops."""
    killed: list[str] = []

    async def look(self: Supervisor, workers: Workers, drain: Drain) -> None:
        worker = SimpleNamespace(kill=killed.append)
        workers["other"] = (asyncio.create_task(asyncio.sleep(0)), cast(WorkerProcess, worker))
        await asyncio.Event().wait()

    async def given_up(supervisor: Supervisor) -> None:
        task = asyncio.create_task(supervisor.run(Drain()))
        await asyncio.sleep(0)
        assert await end_tasks([task], 0.01) == [task]

    monkeypatch.setattr(Supervisor, "look", look)
    with supervising(store, BRISK) as supervisor:
        asyncio.run(given_up(supervisor))
    assert killed == [STOPS]
