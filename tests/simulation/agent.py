"""A simulated host: the real supervisor over a hypervisor in memory; its workers are fibres."""

import asyncio
import random
import shutil
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seawall.agent.config import AgentConfig
from seawall.agent.control.identity import Identity
from seawall.agent.hypervisor.port import Domain
from seawall.agent.journal import Journal
from seawall.agent.supervisor.supervisor import Supervisor
from seawall.agent.worker.pipe import Event, Job
from support.agent_memory_hypervisor import MemoryHypervisor
from support.memory_disks import BLOCK, ModelDisk

from .clocks import MachineClock
from .process import CURRENT, Process
from .worker import SimulatedWorker

if TYPE_CHECKING:
    from .world import World

WRITE_BYTES = 8192
NO_PROCESS = 1 << 30
"""Above every process id that Linux gives."""


class SimulatedHost:
    """`machine`: its address in the network. Its disks stay when the agent is killed."""

    def __init__(self, world: "World", number: int, host_id: str, identity: Identity, directory: Path) -> None:
        self.world = world
        self.id = host_id
        self.name = f"host-{number:04d}"
        self.machine = f"192.168.{number // 250}.{number % 250 + 1}"
        self.identity = identity
        self.clock = MachineClock(world.loop, world.start_us, 500.0 + number)
        self.hypervisor = MemoryHypervisor()
        self.disks: dict[str, ModelDisk] = {}
        self.process = Process(self.name, world.loop)
        self.process.dead = True
        self._directory = directory
        self._pids = NO_PROCESS
        self._supervisor: Supervisor | None = None
        self.stopping = False
        """Told to end in an orderly way, and to be ended and begun again by whoever told it."""

    @property
    def up(self) -> bool:
        return not self.process.dead

    def disk(self, vm_id: str) -> ModelDisk | None:
        """None: the VM does not run here."""
        return self.disks.get(vm_id)

    def add_vm(self, domain: Domain, disk: ModelDisk) -> None:
        self.disks[domain.vm_id] = disk
        self.hypervisor.add(domain)

    def remove_vm(self, vm_id: str) -> ModelDisk:
        self.hypervisor.undefine(vm_id)
        return self.disks.pop(vm_id)

    def start(self) -> None:
        """The agent, as after a boot."""
        self.stopping = False
        self.process = Process(self.name, self.world.loop)
        _hosts[self.process] = self
        self.process.spawn(self._run())

    async def _run(self) -> None:
        await asyncio.sleep(self.world.work_rng.uniform(0.1, 5.0))
        config = AgentConfig(
            state_dir=self._directory / "state",
            run_dir=self._directory / "run",
            scratch_dir=self._directory / "scratch",
            host_name=self.name,
        )
        journal = Journal(config.state_dir, self.clock)
        timing = self.world.size.pace.agent
        self._supervisor = Supervisor(config, self.identity, self.hypervisor, journal, self.clock, ["worker"], timing)
        try:
            await self._supervisor.run()
        finally:
            journal.close()

    def stop(self) -> None:
        """In an orderly way."""
        self.stopping = True
        if self._supervisor is not None:
            self._supervisor.stop()

    def kill(self, *, reinstalled: bool = False) -> None:
        """`reinstalled`: the journal is lost as well."""
        self.process.kill()
        _hosts.pop(self.process, None)
        if reinstalled:
            shutil.rmtree(self._directory / "state", ignore_errors=True)

    def next_pid(self) -> int:
        self._pids += 1
        return self._pids


_hosts: dict[Process, SimulatedHost] = {}


def current_host() -> SimulatedHost:
    process = CURRENT.get()
    if process is None or process not in _hosts:
        raise asyncio.CancelledError  # of an agent that was killed
    return _hosts[process]


async def start_worker(
    command: Sequence[str], job: Job, log: Any, on_event: Callable[[Event], None]
) -> SimulatedWorker:
    """In the place of `supervisor.process.start_worker`."""
    host = current_host()
    log.close()
    return SimulatedWorker(host, job, on_event, host.next_pid())


def changed(disk: ModelDisk, rng: random.Random) -> None:
    """The guest writes."""
    blocks = disk.size_bytes // WRITE_BYTES
    for _ in range(rng.randint(1, 2)):
        offset = rng.randrange(blocks) * WRITE_BYTES
        for at, part in enumerate(_written(rng.randint(0, 40))):
            disk.write(offset + at * len(part), part)


@cache
def _written(which: int) -> tuple[bytes, ...]:
    """In blocks of a ModelDisk, which are then the same objects in all disks: a large fleet's disks cost little."""
    content = random.Random(which).randbytes(WRITE_BYTES)
    return tuple(content[at : at + BLOCK] for at in range(0, WRITE_BYTES, BLOCK))
