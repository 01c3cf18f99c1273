"""Simulated controllers: `app.serve` as it is, each in a process that can be killed and stopped."""

import asyncio
from typing import TYPE_CHECKING, Any

from seawall.controller.app import Outside, serve
from seawall.controller.config import ControllerConfig
from seawall.controller.policies.protection import unprotected_page
from seawall.controller.policies.unprotected import UnprotectedVms
from seawall.controller.store.transaction import Transaction
from seawall.repository.clock import Clock
from seawall.repository.store.location import S3Credentials

from .bucket import Line
from .clocks import MachineClock
from .database import Connection
from .process import CURRENT, Process
from .server import SimulatedServer

if TYPE_CHECKING:
    from .world import World

OPERATOR_PORT = 7440
AGENT_PORT = 7441
MOST_VMS = 1_000_000


class SimulatedController:
    """`machine`: its address. `state`: its own copy of the keys."""

    def __init__(self, world: "World", number: int, config: ControllerConfig) -> None:
        self.world = world
        self.name = f"controller-{number}"
        self.machine = machine_of(number)
        self.config = config
        self.clock = MachineClock(world.loop, world.start_us, 200.0 + number)
        self.process = Process(self.name, world.loop)
        self.process.dead = True

    @property
    def up(self) -> bool:
        return not self.process.dead

    def start(self) -> None:
        self.process = Process(self.name, self.world.loop)
        _controllers[self.process] = self
        self.process.spawn(self._serve())

    async def _serve(self) -> None:
        await asyncio.sleep(0.5)
        outside = Outside(self.clock, self._open_store, self.config.timings)
        try:
            await serve(self.config, outside)
        except Exception as error:
            self.world.problem(f"{self.name} ended by itself: {type(error).__name__}: {error}")
            raise
        finally:
            self.process.dead = True

    def _open_store(self, url: str, credentials: S3Credentials | None, clock: Clock | None) -> Line:
        return Line(self.world.bucket, self.machine)

    def kill(self) -> None:
        self.process.kill()
        for address, (process, server) in list(self.world.network.servers.items()):
            if process is self.process:
                self.world.network.close(address, server)
        _controllers.pop(self.process, None)


_controllers: dict[Process, SimulatedController] = {}


def machine_of(number: int) -> str:
    return f"10.0.0.{number + 1}"


def current_controller() -> SimulatedController:
    process = CURRENT.get()
    if process is None or process not in _controllers:
        raise asyncio.CancelledError  # it was killed
    return _controllers[process]


def open_database(config: ControllerConfig, holder: str = "") -> Connection:
    """In the place of `database.opening.open_database`."""
    controller = current_controller()
    controller.world.holders[controller.process] = holder
    return Connection(controller.world.database, controller.process, controller.world.loop)


def connected(rows: object, holder: str) -> bool:
    """In the place of `LeadershipRows.connected`: as a server knows it of its connections. One that stands still keeps its own."""
    return any(not process.dead and each.world.holders.get(process) == holder for process, each in _controllers.items())


class ComparedUnprotectedVms(UnprotectedVms):
    """What `status` counts is what is listed, in the very transaction that it was asked in."""

    def count(self, transaction: Transaction, now_us: int) -> int:
        world, counted = current_controller().world, super().count(transaction, now_us)
        listed = len(unprotected_page(transaction, "", "", MOST_VMS))
        world.invariants.looked["status"] += 1
        if counted != listed:
            world.problem(f"{counted} VMs are said to be unprotected, and {listed} are listed")
        return counted


class SimulatedAio:
    """In the place of `grpc.aio` in `server.ports`."""

    @staticmethod
    def server(interceptors: Any = (), options: Any = ()) -> SimulatedServer:
        controller = current_controller()
        network, process = controller.world.network, controller.process
        return SimulatedServer(
            interceptors, lambda address, server: network.serve(address, process, server), network.close
        )
