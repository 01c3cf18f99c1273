"""What happens to a fleet, by seed: every kind of fault that the design names, and the operator's commands in between.

Some faults last for a while; `heal` ends all of them.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import Context
from pathlib import Path
from typing import TYPE_CHECKING

from seawall.api.v1 import agent_pb2
from seawall.controller.records.maintenance import JobState
from seawall.controller.records.runs import AttemptState, RunState
from seawall.repository.format.layout import REFMAPS_PREFIX

from .database import Stop
from .network import Weather

if TYPE_CHECKING:
    from .agent import SimulatedHost
    from .controller import SimulatedController
    from .world import World

HAND_IN = "/seawall.api.v1.AgentService/CompleteAttempt"
OFTEN = 12
LONGEST_RUN_SECONDS, LOOK_SECONDS = 240.0, 5.0
EARLY_SECONDS, ORDERED = 12.0, 4
BACK_SECONDS = (5.0, 240.0)
SMALL_SKEW_SECONDS, LARGE_SKEW_SECONDS = 20, 3600


class Faults:
    """`run_until` a time, then `heal`. What weighs nothing happens only where it is asked for (`often`)."""

    def __init__(self, world: "World", often: tuple[str, ...] = ()) -> None:
        self._world = world
        self._often = often
        self._rng = world.rng("faults")
        self._copy: Path | None = None
        self._later: set[asyncio.Task[None]] = set()
        self._kinds: list[tuple[int, Callable[[], Awaitable[None]]]] = [
            (10, world.operator.act),
            (3, self._kill_agent),
            (1, self._restart_agent),
            (2, self._kill_controller),
            (2, self._stop_controller),
            (1, self._outlive_leader),
            (1, world.operator.delete_held),
            (1, world.operator.set_limit),
            (1, world.operator.set_budget),
            (1, self._late_hand_in),
            (2, self._stop_agent),
            (3, self._cut_network),
            (1, self._lose_busy_host),
            (2, self._weather),
            (2, self._cut_bucket),
            (2, self._bucket_trouble),
            (1, self._database_away),
            (3, self._migrate),
            (2, self._jump),
            (1, self._copy_database),
            (1, self._roll_back),
            (0, self._order_what_is_due),
            (0, self._lose_a_deletion),
            (1, self._lose_a_collection),
        ]

    async def run_until(self, end: float) -> None:
        kinds = [kind for weight, kind in self._kinds for _ in range(weight)]
        kinds += [kind for _, kind in self._kinds if kind.__name__ in self._often for _ in range(OFTEN)]
        while self._world.now < end:
            await asyncio.sleep(self._rng.uniform(*self._world.size.between_faults))
            await self._rng.choice(kinds)()

    async def heal(self) -> None:
        """Everything runs, everybody reaches everybody, all clocks are right but for controllers that would have to begin anew."""
        world = self._world
        for task in list(self._later):
            task.cancel()
        self._later.clear()
        world.network.cut.clear()
        world.network.weather = Weather()
        world.network.detain = None
        world.bucket.cut.clear()
        world.bucket.trouble = 0.0
        world.bucket.refused = ""
        world.database.away_until = 0.0
        world.database.stops.clear()
        for host in world.hosts:
            if host.stopping:  # its next start was among what was cancelled
                host.kill()
        for machine in world.machines:
            machine.process.stopped_until = 0.0
            machine.clock.skew_us = 0
            if not machine.up:
                machine.start()
        world.note("all is healed")

    def _after(self, seconds: float, act: Callable[[], None]) -> None:
        async def later() -> None:
            await asyncio.sleep(seconds)
            act()

        task = asyncio.ensure_future(later())
        self._later.add(task)
        task.add_done_callback(self._later.discard)

    def _back(self) -> float:
        return self._rng.uniform(*BACK_SECONDS)

    async def _kill_agent(self) -> None:
        host = self._rng.choice(self._world.hosts)
        if host.up:
            reinstalled = self._rng.random() < 0.1
            self._world.note(f"{host.name} loses its power{' and its journal' if reinstalled else ''}")
            host.kill(reinstalled=reinstalled)
            # Sometimes longer than a lost attempt is waited for.
            self._after(self._back() * self._rng.choice((0.2, 1.0, 2.0)), lambda: _begin(host))

    async def _restart_agent(self) -> None:
        host = self._rng.choice(self._world.hosts)
        if host.up:
            self._world.note(f"the agent of {host.name} is restarted")
            host.stop()
            seconds = self._rng.uniform(10.0, 30.0)
            self._after(seconds, host.kill)
            self._after(seconds + 1.0, lambda: _begin(host))

    async def _kill_controller(self) -> None:
        controller = self._rng.choice(self._world.controllers)
        if controller.up:
            self._world.note(f"{controller.name} is killed")
            controller.kill()
            self._after(self._back() * self._rng.choice((0.1, 0.5, 1.0)), lambda: _begin(controller))

    async def _stop_controller(self) -> None:
        """SIGSTOP; or its machine sleeps."""
        controller = self._rng.choice(self._world.controllers)
        seconds = self._rng.choice((5.0, 70.0, 130.0, 250.0))
        self._world.note(f"{controller.name} stands still for {seconds:.0f} s")
        controller.process.stopped_until = self._world.now + seconds

    async def _outlive_leader(self) -> None:
        """The leader stands still between what it read and what it is about to write, and wakes when another one leads."""
        world = self._world
        leader = world.leader()
        if leader is None or leader.process.stopped_until > world.now:
            return
        for other in world.controllers:
            if other is not leader:
                other.process.stopped_until = 0.0
                _begin(other)
        seconds = world.timings.leader_lease_seconds * self._rng.uniform(1.2, 1.6)
        world.note(f"{leader.name} will stand still for {seconds:.0f} s in the middle of its work")
        world.database.stops[leader.process] = Stop(self._rng.randrange(4), seconds)

    async def _stop_agent(self) -> None:
        host = self._rng.choice(self._world.hosts)
        seconds = self._rng.choice((5.0, 50.0, 120.0, 300.0))
        self._world.note(f"{host.name} stands still for {seconds:.0f} s")
        host.process.stopped_until = self._world.now + seconds

    async def _cut_network(self) -> None:
        """Between a host and one controller or all, in one direction or both."""
        host = self._rng.choice(self._world.hosts)
        some = self._rng.choice(
            (self._world.controllers, self._world.controllers, [self._rng.choice(self._world.controllers)])
        )
        directions = self._rng.choice(("both", "there", "back"))
        pairs = set()
        for controller in some:
            if directions != "back":
                pairs.add((host.machine, controller.machine))
            if directions != "there":
                pairs.add((controller.machine, host.machine))
        self._world.note(f"{host.name} is cut off from {len(some)} controllers, {directions}")
        self._cut(pairs, self._back() * self._rng.choice((0.3, 1.0, 2.0)))

    def _cut(self, pairs: set[tuple[str, str]], seconds: float) -> None:
        self._world.network.cut |= pairs
        self._after(seconds, lambda: self._world.network.cut.difference_update(pairs))

    async def _lose_busy_host(self) -> None:
        """Long enough for its attempts to be LOST, while others wait for their slots."""
        world = self._world
        busy = {attempt.host_id for attempt in world.invariants.shadow.live.values()}
        hosts = [host for host in world.hosts if host.id in busy]
        if not hosts:
            return
        host = self._rng.choice(hosts)
        world.note(f"{host.name} is lost with its attempts")
        lease = world.timings.lease_ttl_seconds
        self._cut({(host.machine, each.machine) for each in world.controllers}, lease * self._rng.uniform(1.5, 4.0))
        await world.operator.order_more_than_fits()

    async def _weather(self) -> None:
        weather = Weather(
            self._rng.choice((0.0, 0.1, 0.3)), self._rng.choice((0.0, 0.1, 0.3)), self._rng.choice((0.0, 0.1))
        )
        self._world.note(f"the network: {weather}")
        self._world.network.weather = weather
        self._after(self._back(), lambda: setattr(self._world.network, "weather", Weather()))

    async def _late_hand_in(self) -> None:
        """The next hand-in is on its way for a while, and its run is canceled meanwhile."""
        world, network = self._world, self._world.network

        def late(method: str, request: bytes) -> float:
            if method != HAND_IN:
                return 0.0
            network.detain = None
            attempt_id = agent_pb2.CompleteAttemptRequest.FromString(request).attempt.attempt_id
            attempt = world.invariants.shadow.attempts.get(attempt_id)
            if attempt is None:
                return 0.0
            world.note(f"the hand-in of attempt {attempt_id} is late")
            # In no process's context: the operator goes on when the agent dies.
            world.loop.create_task(world.operator.cancel(attempt.run_id), context=Context())
            return self._rng.uniform(5.0, 60.0)

        network.detain = late

    async def _cut_bucket(self) -> None:
        machine = self._rng.choice(self._world.machines)
        self._world.note(f"{machine.name} does not reach the bucket")
        self._world.bucket.cut.add(machine.machine)
        self._after(self._back(), lambda: self._world.bucket.cut.discard(machine.machine))

    async def _bucket_trouble(self) -> None:
        self._world.bucket.trouble = self._rng.choice((0.05, 0.3))
        self._world.note(f"the bucket fails {self._world.bucket.trouble:.0%} of requests")
        self._after(self._back(), lambda: setattr(self._world.bucket, "trouble", 0.0))

    async def _database_away(self) -> None:
        seconds = self._rng.choice((3.0, 30.0, 100.0))
        self._world.note(f"the database is away for {seconds:.0f} s")
        self._world.database.away_until = self._world.now + seconds

    async def _migrate(self) -> None:
        self._world.migrate(self._rng)

    async def _jump(self) -> None:
        """A wall clock is set wrong, and right again."""
        machine = self._rng.choice([*self._world.machines, *self._world.controllers])
        most = self._rng.choice((SMALL_SKEW_SECONDS, SMALL_SKEW_SECONDS, LARGE_SKEW_SECONDS))
        seconds = self._rng.uniform(-most, most)
        self._world.note(f"the clock of {machine.name} jumps by {seconds:.0f} s")
        machine.clock.skew_us = int(seconds * 1_000_000)
        if machine in self._world.controllers:
            self._world.skew_seconds = max(self._world.skew_seconds, abs(seconds))
        self._after(self._back(), lambda: setattr(machine.clock, "skew_us", 0))

    async def _copy_database(self) -> None:
        if self._copy is None:
            self._copy = self._world.directory / "copy.sqlite"
            self._world.copy_database(self._copy)

    async def _roll_back(self) -> None:
        """All controllers are down, last night's copy is put in place of the database, and they begin again."""
        if self._copy is None:
            return
        for controller in self._world.controllers:
            controller.kill()
        await asyncio.sleep(1.0)
        self._world.roll_back(self._copy)
        self._copy = None
        for controller in self._world.controllers:
            self._after(self._rng.uniform(1.0, 20.0), lambda controller=controller: _begin(controller))  # type: ignore[misc]

    async def _order_what_is_due(self) -> None:
        """Backups by hand, under way when the policy is due: what it fires for their VMs waits for them."""
        every_seconds = self._world.size.every_minutes * 60.0
        left = every_seconds - self._world.clock.now_us() / 1_000_000 % every_seconds
        await asyncio.sleep(max(0.0, left - EARLY_SECONDS))
        for _ in range(ORDERED):
            await self._world.operator.start_backup()

    async def _lose_a_deletion(self) -> None:
        """A run is open in the copy that is put back, and its point was made and deleted meanwhile."""
        world, began = self._world, self._world.now
        running = [run.id for run in world.invariants.shadow.open() if run.state is RunState.ACTIVE]
        if self._copy is not None or not running:
            return
        run_id = self._rng.choice(running)
        await self._copy_database()
        while run_id not in world.truth.promised and world.now < began + LONGEST_RUN_SECONDS:
            await asyncio.sleep(LOOK_SECONDS)
        if run_id in world.truth.promised:
            await world.operator.ask_to_delete(run_id)
            await self._roll_back()

    async def _lose_a_collection(self) -> None:
        """A point is PUBLISHING in the copy that is put back, and was given up meanwhile, what it names collected. Where the same
        controller leads all the time, no epoch in the bucket says that the copy is older.
        """
        world, began = self._world, self._world.now
        if self._copy is not None:
            return
        world.note("nobody may write refmaps")
        world.bucket.refused = REFMAPS_PREFIX
        try:
            await world.operator.start_backup()
            found = ""
            while not found and world.now < began + LONGEST_RUN_SECONDS:
                await asyncio.sleep(LOOK_SECONDS)
                found = self._publishing()
            if not found:
                return
            await self._copy_database()
            await world.operator.cancel(found)
            while not world.invariants.shadow.runs[found].state.over and world.now < began + 2 * LONGEST_RUN_SECONDS:
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            world.bucket.refused = ""
        for _ in range(2):  # what one condemns, the next deletes
            await self._collected(await world.operator.collect())
        await self._roll_back()

    def _publishing(self) -> str:
        """A run whose point is validated and waits for the bucket; "" where there is none."""
        live = self._world.invariants.shadow.live.values()
        return next((each.run_id for each in live if each.state is AttemptState.PUBLISHING), "")

    async def _collected(self, job_id: str) -> None:
        until = self._world.now + LONGEST_RUN_SECONDS

        def over() -> bool:
            job = self._world.database.read(lambda transaction: transaction.jobs.job(job_id))
            return job is None or job.state not in (JobState.READY, JobState.ACTIVE)

        while not over() and self._world.now < until:
            await asyncio.sleep(LOOK_SECONDS)


def _begin(machine: "SimulatedHost | SimulatedController") -> None:
    if not machine.up:
        machine.start()
