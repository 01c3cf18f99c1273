"""Hosts whose VMs are folders of image files: their supervisors live in this process, each backup is a worker process of its own."""

import asyncio
import random
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from seawall.agent.config import AgentConfig
from seawall.agent.join import join_host
from seawall.api.v1 import operator_pb2
from seawall.repository.clock import SystemClock
from support.agent_file_joined import FILE_WORKER
from support.agent_host import FAST, AgentHost
from support.agent_memory_hypervisor import vm
from support.controller_process import Served

MIB = 1 << 20


@dataclass(frozen=True)
class Sizes:
    """Bytes of a VM's disk: what all VMs have, what those of one host have, what it has alone; and what changes between two backups."""

    shared: int
    of_host: int
    own: int
    changed: int


@dataclass(frozen=True)
class Machine:
    """A VM. `number` counts all of them."""

    number: int
    folder: Path

    @property
    def name(self) -> str:
        return f"vm-{self.number}"

    @property
    def image(self) -> Path:
        return self.folder / "vda.img"

    @property
    def id(self) -> str:
        return self.folder.name

    @property
    def hold(self) -> Path:
        """While this file is there its reads wait."""
        return self.folder / "hold"


def write_disk(machine: Machine, host: int, sizes: Sizes) -> None:
    parts = [(1, sizes.shared), (1000 + host, sizes.of_host), (2000 + machine.number, sizes.own)]
    machine.folder.mkdir(parents=True)
    machine.image.write_bytes(b"".join(random.Random(seed).randbytes(size) for seed, size in parts) + bytes(MIB // 4))
    (machine.folder / "domain.xml").write_text(f"<domain><name>{machine.name}</name></domain>")


def change_disk(machine: Machine, sizes: Sizes, seed: int) -> None:
    """The same update everywhere, and a little of its own."""
    with machine.image.open("r+b") as file:
        file.seek(sizes.shared // 3)
        file.write(random.Random(seed).randbytes(sizes.changed))
        file.seek(sizes.shared + sizes.of_host)
        file.write(random.Random(seed * 1000 + machine.number).randbytes(sizes.own // 4))


@asynccontextmanager
async def joined_hosts(served: Served, root: Path, machines: list[list[Machine]]) -> AsyncIterator[list[AgentHost]]:
    """One host for each list of machines, their VMs known to the controller. They run until the block ends."""
    hosts = []
    for number, mine in enumerate(machines):
        place = root / f"host-{number}"
        config = AgentConfig(
            state_dir=place / "state",
            run_dir=place / "run",
            scratch_dir=place / "scratch",
            hypervisor=f"file://{root / f'vms-{number}'}",
            host_name=f"host-{number}",
        )
        request = operator_pb2.CreateJoinTokenRequest(request_id=str(uuid.uuid4()))
        token = (await asyncio.to_thread(served.admin.CreateJoinToken, request)).token
        await asyncio.to_thread(join_host, config, token, force=False, clock=SystemClock())
        host = AgentHost(config, worker=FILE_WORKER, timing=replace(FAST, cancel_grace=30.0, stop_grace=30.0))
        for machine in mine:
            host.hypervisor.add(vm(machine.id, machine.name))
        hosts.append(host)
    wanted = sum(map(len, machines))
    async with AsyncExitStack() as stack:
        for host in hosts:
            await stack.enter_async_context(host.running())
        while len((await asyncio.to_thread(served.backups.ListVms, operator_pb2.ListVmsRequest())).vms) < wanted:
            await asyncio.sleep(0.05)
        yield hosts


def made_machines(root: Path, hosts: int, each: int, sizes: Sizes) -> list[list[Machine]]:
    found = []
    for host in range(hosts):
        mine = []
        for place in range(each):
            number = host * each + place
            machine = Machine(number, root / f"vms-{host}" / str(uuid.UUID(int=0x1000 + number, version=4)))
            write_disk(machine, host, sizes)
            mine.append(machine)
        found.append(mine)
    return found
