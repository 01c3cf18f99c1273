"""A supervisor of maintenance jobs without workers: its store says no as often as a test wants, its repositories are what a test says."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from seawall.controller.database.sqlite import SqliteDatabase
from seawall.controller.maintenance.supervisor import Supervisor
from seawall.controller.records.maintenance import Job
from seawall.controller.repositories.catalogue import RepositoryCatalogue
from seawall.controller.runs.steady import SteadyClock
from seawall.controller.scheduler.leading import LeaderLease
from seawall.controller.scheduler.wakes import Wakes
from seawall.controller.services.blocking import Blocking
from seawall.controller.store.transaction import Store, Transaction
from seawall.controller.timings import Timings
from support.controller_clock import ManualClock
from support.controller_records import NOW

T = TypeVar("T")


@dataclass
class RefusingStore:
    """The database, but its next writes raise `refusals`, first to last."""

    database: SqliteDatabase
    refusals: list[Exception] = field(default_factory=list)

    async def write(self, closure: Callable[[Transaction], T]) -> T:
        if self.refusals:
            raise self.refusals.pop(0)
        return await self.database.write(closure)

    async def read(self, closure: Callable[[Transaction], T]) -> T:
        return await self.database.read(closure)

    def write_now(self, closure: Callable[[Transaction], T]) -> T:
        return self.database.write_now(closure)

    def read_now(self, closure: Callable[[Transaction], T]) -> T:
        return self.database.read_now(closure)


@dataclass
class Repositories:
    """No repository can be opened: `says` raises, by id."""

    says: Callable[[str], Exception] | None = None

    def open(self, repository_id: str) -> Any:
        if self.says is None:
            raise AssertionError("no repository is wanted")
        raise self.says(repository_id)


@contextmanager
def supervising(
    store: RefusingStore, timings: Timings, repositories: Repositories | None = None, *, leads: bool = True
) -> Iterator[Supervisor]:
    """`leads`: with False, another controller took the lease since."""
    clock, blocking = ManualClock(NOW), Blocking(1)
    lease = LeaderLease(cast(Store, store.database), SteadyClock(clock), timings)
    asyncio.run(lease.acquire())
    if not leads:
        store.write_now(lambda transaction: transaction.leadership.raise_epoch(lease.current, lease.current.epoch + 5))
    catalogue = cast(RepositoryCatalogue, repositories or Repositories())
    yield Supervisor(store, lease, catalogue, blocking, Wakes(), clock, timings, {}, {})
    blocking.close()


def stored(store: RefusingStore, job_id: str) -> Job:
    found = store.read_now(lambda transaction: transaction.jobs.job(job_id))
    assert found is not None
    return found
