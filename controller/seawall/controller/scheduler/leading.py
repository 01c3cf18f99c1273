"""The leader's lease. One controller per SQLite file, as its lock proves, but every leader write is guarded all the same."""

import structlog

from seawall.controller.errors import Unavailable
from seawall.controller.store import Leader, Store, Transaction
from seawall.controller.timings import Timings, microseconds
from seawall.repository.clock import Clock

# One name for all starts: with SQLite the file lock already proved that the holder before is gone.
HOLDER = "controller"

_log = structlog.get_logger()


class LeaderLease:
    """Held from `acquire` to `release`. `current` is the guard of each leader write; its epoch grows with each start."""

    def __init__(self, store: Store, clock: Clock, timings: Timings) -> None:
        self._store = store
        self._clock = clock
        self._lease_us = microseconds(timings.leader_lease_seconds)
        self._current: Leader | None = None

    @property
    def current(self) -> Leader:
        """Raises Unavailable/NOT_LEADER."""
        if self._current is None:
            raise Unavailable("NOT_LEADER", "This controller does not lead yet; try again.")
        return self._current

    async def acquire(self) -> None:
        """Raises Unavailable/NOT_LEADER when another controller holds it."""
        now_us = self._clock.now_us()
        self._current = await self._store.write(
            lambda transaction: transaction.leadership.acquire(HOLDER, now_us, self._lease_us)
        )
        _log.info("leader.acquired", epoch=self.current.epoch)

    async def renew(self) -> None:
        """Raises Unavailable/NOT_LEADER when it was lost."""
        held, now_us = self.current, self._clock.now_us()
        await self._store.write(lambda transaction: transaction.leadership.renew(held, now_us, self._lease_us))

    def rise_above(self, epoch: int) -> None:
        """For worker threads. A bucket knows a higher epoch: this database was rolled back. All attempts of before are fenced."""
        held = self.current

        def rise(transaction: Transaction) -> Leader:
            transaction.leadership.raise_db_epoch()
            return transaction.leadership.raise_epoch(held, epoch)

        self._current = self._store.write_now(rise)
        _log.warning("leader.database_rolled_back", bucket_epoch=epoch, epoch=self.current.epoch)

    async def release(self) -> None:
        held = self.current
        await self._store.write(lambda transaction: transaction.leadership.release(held))
