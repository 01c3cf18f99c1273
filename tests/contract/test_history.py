"""What is forgotten after the history's time, and what never is; on every engine."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from seawall.controller.database.database import Database
from seawall.controller.errors import ControllerError
from seawall.controller.records.catalogue import PointState
from seawall.controller.records.runs import Attempt, AttemptState, Progress, Run, RunState
from seawall.controller.records.uuid7 import first_uuid7, uuid7
from seawall.controller.runs.steady import SteadyClock
from seawall.controller.scheduler import history
from seawall.controller.scheduler.history import History
from seawall.controller.scheduler.leading import LeaderLease
from seawall.controller.server.drain import Drain
from seawall.controller.timings import Timings
from support.controller_clock import ManualClock
from support.controller_databases import ENGINES, open_engine
from support.controller_records import HOUR, NOW, a_point, a_repository, a_restore, a_run, an_execution
from support.enrolled_hosts import add_hosts
from support.policies import a_policy

DAY = 24 * HOUR
OLD, YOUNG = NOW - 366 * DAY, NOW - 364 * DAY
FIRED = a_policy(fired_us=OLD)


@pytest.fixture(params=ENGINES)
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    monkeypatch.setattr(history, "PAUSE_SECONDS", 0.0)
    with open_engine(request.param, request, tmp_path) as database:
        add_hosts(database, "alpha")
        database.write_now(lambda transaction: transaction.repositories.add_repository(a_repository()))
        database.write_now(lambda transaction: transaction.policies.add_policy(FIRED))
        yield database


def over(number: int, **fields: object) -> Run:
    return a_run(number, **({"state": RunState.MISSED, "ended_us": OLD, "vm_id": f"vm-{number}"} | fields))


def add(store: Database, run: Run, *, reported: bool = False) -> Attempt | None:
    attempt = replace(an_execution(AttemptState.SUCCEEDED).attempt, id=f"0{run.id[1:]}", run_id=run.id)
    store.write_now(lambda transaction: transaction.runs.add_run(run))
    if not run.attempt_count:
        return None
    store.write_now(lambda transaction: transaction.runs.add_attempt(attempt))
    if reported:
        progress = Progress(1, AttemptState.SUCCEEDED, "", (), "", "", 0, 0)
        store.write_now(lambda transaction: transaction.runs.save_progress(attempt.id, progress, run.ended_us))
    return attempt


def swept(store: Database, *, wall_us: int = NOW, leads: bool = True) -> set[str]:
    """Ids of the runs that are left."""
    clock = ManualClock(NOW)
    lease = LeaderLease(store, SteadyClock(clock), Timings())
    asyncio.run(lease.acquire())
    if not leads:
        store.write_now(lambda transaction: transaction.leadership.raise_epoch(lease.current, lease.current.epoch + 5))
    asyncio.run(History(store, lease, ManualClock(wall_us), clock, Timings()).sweep(Drain()))
    return {run.id for run in store.read_now(lambda transaction: transaction.runs.runs())}


def test_what_never_began_and_what_was_restored_is_forgotten_after_a_year(
    store: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "SLICE", 2)
    going = [over(number, policy_id=FIRED.id, nominal_us=OLD - number) for number in range(1, 6)]
    going.append(replace(a_restore(6), state=RunState.SUCCEEDED, ended_us=OLD, attempt_count=1))
    staying = [over(7, ended_us=YOUNG), over(8, state=RunState.READY, ended_us=0)]
    for run in (*going, *staying):
        add(store, run, reported=True)
    assert swept(store) == {run.id for run in staying}
    assert store.read_now(lambda transaction: transaction.runs.attempts_of([going[-1].id])) == []


def test_a_policys_latest_firing_is_kept(store: Database) -> None:
    """However rarely it fires: who looks again after a crash must find that it was dealt with."""
    kept = over(1, policy_id=FIRED.id, nominal_us=OLD)
    add(store, kept)
    add(store, over(2, policy_id=FIRED.id, nominal_us=OLD - 1))
    assert swept(store) == {kept.id}


@pytest.mark.parametrize("state", [None, PointState.AVAILABLE, PointState.FAILED, PointState.DELETED])
def test_what_stored_anything_is_kept_without_what_it_reported(store: Database, state: PointState | None) -> None:
    """The tombstones of deleted points are looked up by it at each opening; points and packs name the attempt."""
    run = over(1, state=RunState.SUCCEEDED, attempt_count=1)
    attempt = add(store, run, reported=True)
    assert attempt is not None
    if state is not None:
        store.write_now(lambda transaction: transaction.points.add_point(a_point(run, attempt.id, state=state)))
    assert swept(store) == {run.id}
    assert store.read_now(lambda transaction: transaction.runs.attempt(attempt.id)) == attempt
    assert store.read_now(lambda transaction: transaction.runs.progress_of([attempt.id])) == {}


def test_what_was_reported_lately_is_kept(store: Database) -> None:
    attempt = add(store, over(1, state=RunState.FAILED, attempt_count=1, ended_us=YOUNG), reported=True)
    assert attempt is not None
    swept(store)
    assert list(store.read_now(lambda transaction: transaction.runs.progress_of([attempt.id]))) == [attempt.id]


def test_a_wall_clock_that_was_set_ahead_forgets_nothing(store: Database) -> None:
    young = over(1, ended_us=YOUNG)
    add(store, young)
    assert swept(store, wall_us=NOW + 1000 * DAY) == {young.id}


def test_only_the_leader_forgets(store: Database) -> None:
    add(store, over(1))
    with pytest.raises(ControllerError) as refused:
        swept(store, leads=False)
    assert refused.value.reason == "NOT_LEADER"


def test_ids_of_a_moment_are_not_smaller_than_its_first() -> None:
    clock = ManualClock(NOW)
    assert first_uuid7(NOW) <= uuid7(clock) < first_uuid7(NOW + 1000)
