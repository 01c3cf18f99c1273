"""One look at the runs for all who watch: shared however much happens, and no end that is passed over."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest

from seawall.controller.database.sqlite import SqliteDatabase
from seawall.controller.records.runs import RunState
from seawall.controller.scheduler.wakes import Wakes
from seawall.controller.services.run_feed import ENDED_SECONDS, RunFeed
from seawall.controller.store.transaction import Transaction
from seawall.controller.timings import Timings
from seawall.repository.clock import SystemClock
from support.controller_clock import ManualClock
from support.controller_records import a_run
from support.policies import fleet_store
from support.policy_firing import MortalStore

T = TypeVar("T")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[SqliteDatabase]:
    with fleet_store(tmp_path) as opened:
        yield opened


class BusyStore(MortalStore):
    """Something happens during each read."""

    def __init__(self, database: SqliteDatabase, wakes: Wakes) -> None:
        super().__init__(database)
        self._wakes = wakes
        self.reads = 0

    async def read(self, closure: Callable[[Transaction], T]) -> T:
        self.reads += 1
        self._wakes.notify()
        return await super().read(closure)


async def test_all_who_wait_at_once_share_a_look_though_something_happens_all_the_time(
    database: SqliteDatabase,
) -> None:
    wakes = Wakes()
    store = BusyStore(database, wakes)
    feed = RunFeed(store, wakes, SystemClock(), Timings(watch_interval_seconds=0.2))
    await feed.look()
    await asyncio.gather(*(feed.look() for _ in range(20)))
    assert store.reads == 2, "twenty watchers would hear of anything every twenty seconds else"
    await feed.look()
    assert store.reads == 3, "who comes later wants to know what happened since"


@pytest.mark.parametrize(("away_seconds", "goes_on"), [(60, True), (2 * ENDED_SECONDS, False)])
async def test_who_comes_back_after_long_begins_with_a_snapshot(
    database: SqliteDatabase, away_seconds: float, goes_on: bool
) -> None:
    """Nobody watched meanwhile: the run ended so long ago that no look finds it any more."""
    clock, wakes = ManualClock(), Wakes()
    feed = RunFeed(database, wakes, clock, Timings())
    run = a_run(created_us=clock.now_us())
    database.write_now(lambda transaction: transaction.runs.add_run(run))
    await feed.look()
    token = feed.token(feed.changes.number)
    over = replace(run, state=RunState.CANCELED, ended_us=clock.now_us() + 1)
    database.write_now(lambda transaction: transaction.runs.save_run(run, over))
    clock.advance(away_seconds)
    await feed.look()
    position = feed.number_of(token)
    assert (position is not None) == goes_on
    if position is not None:
        assert feed.changes.since(position) == [run.id]
