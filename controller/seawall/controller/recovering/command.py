"""The composition root of `seawall controller recover`: the parts of a controller that a recovery needs, and the lead while it works.

No port is opened. On a shared database the lease is kept alive by the event loop while the work goes on in a thread.
"""

import asyncio
from collections.abc import Callable

from seawall.controller.config import ControllerConfig
from seawall.controller.database.opening import open_database
from seawall.controller.errors import FailedPrecondition
from seawall.controller.initialise import load_wrapper_key, require_initialised
from seawall.controller.recovering.recovery import OnStep, Order, Recovered, Recovery
from seawall.controller.repositories.catalogue import Keys, RepositoryCatalogue
from seawall.controller.runs.steady import SteadyClock
from seawall.controller.scheduler.leading import LeaderLease, keep_lead, new_replica
from seawall.controller.secrets import SecretBox
from seawall.controller.server.drain import Drain
from seawall.controller.store.transaction import Store as Database
from seawall.repository.clock import Clock
from seawall.repository.store.locate import open_store


class RecoverCommand:
    """One call of the command. Raises what Recovery raises; FailedPrecondition/CONTROLLER_RUNS, NOT_INITIALISED, DATABASE_IN_USE."""

    def __init__(self, config: ControllerConfig, clock: Clock, on_step: OnStep = lambda step: None) -> None:
        require_initialised(config.paths)
        self._config = config
        self._wall = clock
        self._clock = SteadyClock(clock)
        self._on_step = on_step

    def look(self, order: Order) -> Recovered:
        return asyncio.run(self._with(lambda recovery: recovery.look(order), leading=False))

    def run(self, order: Order, progress: Callable[[Recovered], None]) -> Recovered:
        return asyncio.run(self._with(lambda recovery: recovery.run(order, progress), leading=True))

    async def _with(self, work: Callable[[Recovery], Recovered], *, leading: bool) -> Recovered:
        config = self._config
        replica = new_replica("recovery", config.dialled_by_operators, config.dialled_by_agents)
        shared = replica if config.is_shared else None
        database = open_database(config, replica.id if shared else "")
        try:
            lease = LeaderLease(database, self._clock, config.timings, shared)
            catalogue = self._catalogue(database, lease)
            recovery = Recovery(database, catalogue, lease, config.paths.known_cluster_id(), self._clock, self._on_step)
            try:
                return await self._leading(lease, lambda: work(recovery)) if leading else work(recovery)
            finally:
                catalogue.close()
        finally:
            database.close()

    def _catalogue(self, database: Database, lease: LeaderLease) -> RepositoryCatalogue:
        paths = self._config.paths
        box = SecretBox.from_file(paths.kek)
        keys = Keys(load_wrapper_key(paths, box), box)
        return RepositoryCatalogue(database, keys, paths, lease, self._wall, open_store)

    async def _leading(self, lease: LeaderLease, work: Callable[[], Recovered]) -> Recovered:
        await self._take_the_lead(lease)
        drain = Drain()
        keeping = asyncio.create_task(self._keep(lease, drain))
        try:
            return await asyncio.to_thread(work)
        finally:
            drain.start()
            await keeping
            if lease.held:
                await lease.release()

    async def _take_the_lead(self, lease: LeaderLease) -> None:
        if not lease.shared:
            return await lease.acquire()
        timings = self._config.timings
        deadline = self._clock.monotonic_seconds() + timings.leader_lease_seconds + timings.leader_renew_seconds
        while not await lease.try_acquire():
            if self._clock.monotonic_seconds() > deadline:
                raise FailedPrecondition(
                    "CONTROLLER_RUNS",
                    "A controller leads on this database. Stop all of them, then recover, then start them.",
                )
            await asyncio.sleep(timings.leader_look_seconds)

    async def _keep(self, lease: LeaderLease, drain: Drain) -> None:
        async def told(_: bool) -> None:
            """Nobody asks a recovery whether it is ready."""

        if lease.shared:
            await keep_lead(lease, self._config.timings.leader_renew_seconds, drain, told)
