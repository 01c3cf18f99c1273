"""A fixed history in which everything happens once, stopped after any one step of any part, carried on by whoever comes next."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from . import host
from .bucket import Died, Fault
from .place import Place
from .world import HORIZON_SECONDS, VMS, World

ONE, TWO = VMS
LITTLE_BYTES = 3 * 8192


@dataclass
class Stop:
    """Where to stop: after the n-th step told (from 0) of controller or host, or at the n-th change of the bucket. -1: nowhere."""

    controller: int = -1
    host: int = -1
    request: int = -1
    before: bool = False


@dataclass
class Counted:
    """Steps that there were."""

    controller: list[str] = field(default_factory=list)
    host: list[str] = field(default_factory=list)
    requests: int = 0


def stepped(place: Place, directory: Path, stop: Stop) -> tuple[World, Counted]:
    """The history with that stop. The world's findings say what came of it."""
    world, counted = World(place, directory), Counted()
    history = History(world, counted, stop)
    try:
        history.play()
        counted.requests = history.requests
        world.settle()
    finally:
        world.close()
    return world, counted


class History:
    """Each action is begun anew where the controller died in it."""

    def __init__(self, world: World, counted: Counted, stop: Stop) -> None:
        self._world = world
        self._counted = counted
        self._stop = stop
        self.requests = 0
        world.interrupt = self._controller_step
        world.host_step = self._host_step
        self._plan()

    def play(self) -> None:
        for action in (
            self._leave_unreported,
            lambda: self._backup(ONE, 1),
            lambda: self._backup(TWO, 1),
            lambda: self._backup(ONE, 2),
            lambda: self._forget(0),
            self._world.collect,
            lambda: self._backup(TWO, 3),
            lambda: self._forget(0),
            self._world.collect,
            self._trim,
        ):
            self._through(action)
            self._world.check()
        self.requests += self._world.controller.line.changes

    def _through(self, action: Callable[[], object]) -> None:
        try:
            action()
        except Died:
            self.requests += self._world.controller.line.changes
            self._world.restart({})
            for attempted in list(self._world.waiting):
                self._world.complete(attempted)
            self._world.finish()
            action()

    def _backup(self, vm_id: str, seed: int) -> None:
        world = self._world
        if world.waiting:
            return
        disk = world.disks[vm_id]
        size = disk.size_bytes if seed == 1 else disk.size_bytes // 2
        disk.write(0, random.Random(seed).randbytes(size))
        begun = world.begin(vm_id, "full") or world.begin(vm_id, "full")  # the host that died is started again
        if begun is not None:
            world.complete(begun)

    def _leave_unreported(self) -> None:
        """A pack that a host stored and never reported: collection gives it up and sweeps it."""
        world = self._world
        world.disks[ONE].write(0, random.Random(9).randbytes(LITTLE_BYTES))
        seen = world.host_step

        def die(name: str) -> None:
            seen(name)
            if name == "put":
                raise host.AgentDied("before it reports")

        world.host_step = die
        world.begin(ONE, "full")
        world.host_step = seen

    def _trim(self) -> None:
        """After the time for which condemn logs are kept."""
        self._world.clock.advance(HORIZON_SECONDS)
        self._world.collect()

    def _forget(self, number: int) -> None:
        points = self._world.available()
        if points:
            self._world.forget(points[number])
        self._world.finish()

    def _controller_step(self, name: str) -> None:
        self._counted.controller.append(name)
        if len(self._counted.controller) - 1 == self._stop.controller:
            self._world.controller.line.dead = True
            raise Died

    def _host_step(self, name: str) -> None:
        self._counted.host.append(name)
        if len(self._counted.host) - 1 == self._stop.host:
            raise host.AgentDied(f"after {name}")

    def _plan(self) -> None:
        if self._stop.request >= 0:
            fault = Fault.STOP_BEFORE if self._stop.before else Fault.STOP_AFTER
            self._world.controller.line.plan[self._world.controller.line.changes + self._stop.request] = fault
