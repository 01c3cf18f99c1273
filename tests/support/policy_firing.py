"""A leader that fires policies over a real store, on a clock that is moved by hand, and that may die between any two writes."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from seawall.controller.database.sqlite import SqliteDatabase
from seawall.controller.records.runs import AttemptState, Run, RunFilter, RunState
from seawall.controller.runs import ready
from seawall.controller.runs.events import Moment
from seawall.controller.runs.steady import SteadyClock
from seawall.controller.scheduler.closing import Closing
from seawall.controller.scheduler.executions import Executions
from seawall.controller.scheduler.firing import Firing
from seawall.controller.scheduler.leading import LeaderLease
from seawall.controller.scheduler.wakes import Wakes
from seawall.controller.store.transaction import Store, Transaction
from seawall.controller.timings import Timings
from support.controller_clock import ManualClock
from support.policies import a_policy, add_policy, fleet_store

T = TypeVar("T")
HOUR = 3600.0
DAY = 24 * HOUR
BEGIN_US = round(datetime(2026, 11, 23, 12, tzinfo=UTC).timestamp() * 1_000_000)
"""A Monday, noon."""


class Died(BaseException):
    """The leader was killed."""


class MortalStore:
    """The store, whose owner dies before its `left`-th write from now; None: it lives on."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.left: int | None = None

    async def write(self, closure: Callable[[Transaction], T]) -> T:
        if self.left is not None:
            if self.left == 0:
                raise Died
            self.left -= 1
        return await self._store.write(closure)

    async def read(self, closure: Callable[[Transaction], T]) -> T:
        return await self._store.read(closure)

    def write_now(self, closure: Callable[[Transaction], T]) -> T:
        return self._store.write_now(closure)

    def read_now(self, closure: Callable[[Transaction], T]) -> T:
        return self._store.read_now(closure)


@dataclass
class FiringLeader:
    """One leader after another on one database. `wall` and the steady clock are the same clock unless a test sets another."""

    database: SqliteDatabase
    clock: ManualClock
    wall: ManualClock

    def __post_init__(self) -> None:
        self.take_over()

    def take_over(self) -> None:
        """A new process leads. `is_open`: every repository, unless a test says otherwise."""
        self.open = True
        timings = Timings()
        self.store = MortalStore(self.database)
        steady = SteadyClock(self.clock)
        self.lease = LeaderLease(self.database, steady, timings)
        asyncio.run(self.lease.acquire())
        executions = Executions(self.store, Wakes())
        self.closing = Closing(executions, self.lease, self.wall, steady, timings)
        self.firing = Firing(executions, self.lease, self.wall, steady, timings, self.closing, lambda _: self.open)

    def look(self, dies_after: int | None = None) -> None:
        """`dies_after`: so many writes; then another one takes over."""
        self.store.left = dies_after

        async def once() -> None:
            await self.closing.run_once()
            await self.firing.run_once()

        try:
            asyncio.run(self._kept(once))
        except Died:
            self.take_over()

    async def _kept(self, act: Callable[[], object]) -> None:
        await self.lease.renew()
        result = act()
        assert asyncio.iscoroutine(result)
        await result

    def runs(self, vm_id: str = "") -> list[Run]:
        """Oldest first."""
        return list(self.database.read_now(lambda transaction: transaction.runs.runs(RunFilter(vm_id=vm_id))))[::-1]

    def states(self, vm_id: str = "vm-1") -> str:
        return " ".join(run.state.value for run in self.runs(vm_id))

    def end(self, run: Run, state: RunState = RunState.SUCCEEDED) -> None:
        over = replace(run, state=state, ended_us=self.clock.now_us())
        self.database.write_now(lambda transaction: transaction.runs.save_run(run, over))

    def end_all(self) -> None:
        for run in self.runs():
            if not run.state.over:
                self.end(run)

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)
        if self.wall is not self.clock:
            self.wall.advance(seconds)


@contextmanager
def monday_noon(folder: Path) -> Iterator[FiringLeader]:
    """With the VMs vm-1 and vm-2, and no policy yet."""
    with fleet_store(folder) as database:
        clock = ManualClock(BEGIN_US)
        yield FiringLeader(database, clock, clock)


def nightly(leader: FiringLeader, text: str = "", **fields: object) -> None:
    add_policy(leader.database, a_policy(text, fired_us=leader.clock.now_us(), **fields))  # type: ignore[arg-type]


def begin(leader: FiringLeader, run: Run, state: AttemptState = AttemptState.PREPARING) -> None:
    """A host works on it."""
    active, attempt = ready.assigned(run, "attempt-1", "alpha", 1, Moment(run.not_before_us, Timings()))

    def closure(transaction: Transaction) -> None:
        transaction.runs.save_run(run, active)
        transaction.runs.add_attempt(replace(attempt, state=state))

    leader.database.write_now(closure)
