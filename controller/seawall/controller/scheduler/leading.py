"""The leader's lease: who may act for all controllers of a database. Every leader write is guarded by its epoch.

With SQLite there is one controller, as the lock of its state directory proves: it takes the lease at once and keeps it. On a shared
database a lease is over when its row did not change for `leader_lease_seconds` of the observer's own monotonic time: no clock of another
machine is believed. It is over sooner when the database has no connection of the holder any more, as when its process was killed. None of
this is what keeps two leaders apart: that is the epoch in each write.

A leader that could not renew for two thirds of a lease acts as one no more, whatever it was doing meanwhile; when it can renew again and
nobody else led in between, it goes on.
"""

import asyncio
import math
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import replace

import structlog

from seawall.controller.errors import ControllerError, Unavailable
from seawall.controller.records.leadership import Leader, LeaseRow, Replica
from seawall.controller.runs.steady import SteadyClock
from seawall.controller.scheduler.agreeing import agree, apart_us, renewed
from seawall.controller.server.drain import Drain
from seawall.controller.store.transaction import Store, Transaction
from seawall.controller.timings import Timings, microseconds

# One name for all starts: with SQLite the file lock already proved that the holder before is gone.
HOLDER = "controller"

Ready = Callable[[bool], Awaitable[None]]
"""Told whether the database answers."""

_log = structlog.get_logger()


class LeaderLease:
    """Held from `acquire`, or a `try_acquire` that succeeded, to `release`. `current` is the guard of each leader write."""

    def __init__(self, store: Store, clock: SteadyClock, timings: Timings, replica: Replica | None = None) -> None:
        """`replica`: this controller, where others may be on the same database. None: it is alone. `clock`: agrees with the leader's."""
        self._store = store
        self._clock = clock
        self._timings = timings
        self._lease_us = microseconds(timings.leader_lease_seconds)
        self._apart_us = apart_us(timings.leader_look_seconds)
        self._replica = replica
        self._current: Leader | None = None
        self._renewed = clock.monotonic_seconds()
        self._seen: tuple[LeaseRow, float] | None = None
        self._looked = self._renewed

    @property
    def current(self) -> Leader:
        """Raises Unavailable/NOT_LEADER; its metadata name the leader's addresses where they are known."""
        if self._current is None or self.overdue:
            raise self._not_leader()
        return self._current

    @property
    def held(self) -> bool:
        return self._current is not None and not self.overdue

    def require(self) -> None:
        """Raises Unavailable/NOT_LEADER."""
        if not self.held:
            raise self._not_leader()

    @property
    def shared(self) -> bool:
        """Whether other controllers may be on the same database."""
        return self._replica is not None

    @property
    def overdue(self) -> bool:
        """It could not be renewed for so long that another controller may lead soon."""
        waited = self._clock.monotonic_seconds() - self._renewed
        return self.shared and self._current is not None and waited >= self._timings.leader_deadline_seconds

    async def acquire(self) -> None:
        """Raises Unavailable/NOT_LEADER when another controller holds it."""
        now_us = self._clock.now_us()
        self._current = await self._store.write(
            lambda transaction: transaction.leadership.acquire(HOLDER, now_us, self._lease_us)
        )
        self._renewed = self._clock.monotonic_seconds()
        _log.info("leader.acquired", epoch=self.current.epoch)

    async def try_acquire(self) -> bool:
        """One look at the row of a shared database: whether the lease is ours now."""
        begun = self._clock.monotonic_seconds()
        row, connected = await self._store.read(_looked)
        # Until the answer: what was read before this process stood still says no time of now.
        since, self._looked = self._clock.monotonic_seconds() - self._looked, begun
        if self._seen is not None and renewed(self._seen[0], row, since, self._apart_us):
            agree(self._clock, row, self._lease_us, self._apart_us)
        if not self._is_over(row, connected, begun):
            return False
        replica, now_us = self._own(), self._clock.now_us()
        taken = await self._store.write(
            lambda transaction: transaction.leadership.take(row, replica, now_us, self._lease_us)
        )
        if taken is None:
            return False
        self._current, self._renewed = taken, begun
        _log.info("leader.acquired", epoch=taken.epoch, replica=replica.id)
        return True

    async def meet(self) -> None:
        """Before anybody is served: returns once the leader's time is known, or nobody seems to lead. Raises what the database raises."""
        pause = self._timings.leader_look_seconds / 4
        patience = self._timings.leader_renew_seconds + self._timings.leader_look_seconds
        before, looked = None, 0.0
        for _ in range(math.ceil(patience / pause)):
            begun = self._clock.monotonic_seconds()
            row, connected = await self._store.read(_looked)
            if row.holder in ("", self._own().id) or not connected:
                return
            if before is not None and renewed(before, row, self._clock.monotonic_seconds() - looked, self._apart_us):
                agree(self._clock, row, self._lease_us, self._apart_us)
                return
            before, looked = row, begun
            await asyncio.sleep(pause)

    async def renew(self) -> None:
        """Raises Unavailable/NOT_LEADER when it was lost."""
        self._clock.creep()
        held, now_us, begun = self._current, self._clock.now_us(), self._clock.monotonic_seconds()
        if held is None:
            raise self._not_leader()
        await self._store.write(lambda transaction: transaction.leadership.renew(held, now_us, self._lease_us))
        self._renewed = begun

    def rise_above(self, epoch: int) -> None:
        """For worker threads. A bucket knows a higher epoch: this database was rolled back. All attempts of before are fenced."""
        held = self.current

        def rise(transaction: Transaction) -> Leader:
            transaction.leadership.raise_db_epoch()
            return transaction.leadership.raise_epoch(held, epoch)

        self._current = self._store.write_now(rise)
        _log.warning("leader.database_rolled_back", bucket_epoch=epoch, epoch=self.current.epoch)

    async def release(self) -> None:
        """Raises Unavailable/NOT_LEADER when there is nothing to release."""
        held = self.current
        await self._store.write(lambda transaction: transaction.leadership.release(held))

    async def report(self) -> None:
        """Tell the other controllers of this one."""
        replica = replace(self._own(), seen_us=self._clock.now_us())
        await self._store.write(lambda transaction: transaction.leadership.report(replica))

    def _own(self) -> Replica:
        if self._replica is None:
            raise Unavailable("NOT_LEADER", "This controller is alone on its database.")
        return self._replica

    def _is_over(self, row: LeaseRow, connected: bool, now: float) -> bool:
        """Nobody's, this process's own (of a term before), or unchanged for too long."""
        if self._seen is None or self._seen[0] != row:
            self._seen = (row, now)
        if row.holder in ("", self._own().id):
            return True
        silent = now - self._seen[1]
        return silent >= (self._timings.leader_lease_seconds if connected else self._timings.leader_gone_seconds)

    def _not_leader(self) -> Unavailable:
        row = self._seen[0] if self._seen else None
        if row is None or not row.holder or row.holder == (self._replica.id if self._replica else ""):
            return Unavailable("NOT_LEADER", "This controller does not lead now; try again.")
        addresses = {"operator_address": row.operator_address, "agent_address": row.agent_address}
        return Unavailable("NOT_LEADER", f"The controller at {row.operator_address} leads; ask it.", addresses)


def _looked(transaction: Transaction) -> tuple[LeaseRow, bool]:
    """(the row, whether its holder is connected)."""
    row = transaction.leadership.lease()
    return row, transaction.leadership.connected(row.holder)


async def wait_for_lead(lease: LeaderLease, pause_seconds: float, drain: Drain, ready: Ready) -> bool:
    """Whether it was won before the drain. Looks again and again; a database that is away is waited for."""
    while not drain.started:
        try:
            await lease.report()
            won = await lease.try_acquire()
            await ready(True)
            if won:
                return True
        except ControllerError as error:
            _log.warning("leader.not_known", reason=error.reason, error=str(error))
            await ready(False)
        except Exception:
            # The top of the loop: who stands by goes on doing so.
            _log.exception("leader.not_known")
            await ready(False)
        await drain.first(asyncio.sleep(pause_seconds), pause_seconds)
    return False


async def keep_lead(lease: LeaderLease, pause_seconds: float, drain: Drain, ready: Ready) -> bool:
    """Whether it was lost before the drain: another one leads, or the database's server is another one. One that is away is waited for."""
    while not drain.started:
        try:
            await lease.renew()
            await lease.report()
            await ready(True)
        except ControllerError as error:
            _log.warning("leader.not_renewed", reason=error.reason, error=str(error))
            if error.reason == "NOT_LEADER":
                return True
            await ready(False)
        except Exception:
            # The top of the loop: a lease that is not renewed ends by itself, and nothing is led meanwhile.
            _log.exception("leader.not_renewed")
            await ready(False)
        await drain.first(asyncio.sleep(pause_seconds), pause_seconds)
    return False


def new_replica(version: str, operator_address: str, agent_address: str) -> Replica:
    """A name of its own for each start: whoever bore it before may not be gone."""
    return Replica(str(uuid.uuid4()), version, operator_address, agent_address)
