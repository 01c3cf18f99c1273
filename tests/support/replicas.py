"""Several real controllers on one PostgreSQL: processes that a test kills and stops, agents over files, an operator."""

import asyncio
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import grpc
import psycopg
from grpc_health.v1 import health_pb2, health_pb2_grpc

from seawall.agent.config import AgentConfig
from seawall.agent.join import join_host
from seawall.agent.supervisor.supervisor import Supervisor
from seawall.controller.config import ControllerConfig, load_config
from seawall.controller.database.opening import check_new
from seawall.controller.database.postgresql_address import Address
from seawall.controller.initialise import initialise
from seawall.repository.clock import SystemClock
from support.agent_file_joined import FILE_WORKER
from support.agent_host import FAST, AgentHost
from support.agent_memory_hypervisor import vm
from support.cli_command import Answer, Cli
from support.controller_application import free_port
from support.parent_death import dying_with_parent
from support.postgresql import PostgresServer

LEASE_SECONDS = 3.0
WRONG_CLOCK = Path(__file__).with_name("wrong_clock")
LONGEST_WAIT = 120.0
TIMINGS = """[timings]
heartbeat_seconds = 0.5
lease_ttl_seconds = 60
failover_grace_seconds = 0
scheduler_interval_seconds = 0.3
watch_interval_seconds = 0.1
poll_wait_seconds = 5
retry_seconds = 0.2
drain_grace_seconds = 2
"""


@dataclass
class ReplicaProcess:
    """One `seawall controller run`."""

    config: ControllerConfig
    file: Path
    process: "subprocess.Popen[bytes] | None" = None
    wrong_seconds: int = 0
    """By so much its machine's clock is ahead."""

    def start(self) -> None:
        path = os.pathsep.join(filter(None, (str(WRONG_CLOCK), os.environ.get("PYTHONPATH", ""))))
        clock = {"PYTHONPATH": path, "SEAWALL_WRONG_SECONDS": str(self.wrong_seconds)}
        with (self.file.parent / f"{self.file.stem}.log").open("ab") as log:
            words = [sys.executable, "-m", "seawall.cli", "controller", "run", "--config-file", str(self.file)]
            env = os.environ | clock if self.wrong_seconds else None
            self.process = subprocess.Popen(dying_with_parent(words), stdout=log, stderr=log, env=env)

    def send(self, how: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(how)

    def end(self, how: signal.Signals = signal.SIGKILL) -> int:
        if self.process is None:
            return 0
        self.process.send_signal(signal.SIGCONT)
        self.process.send_signal(how)
        code = self.process.wait(60)
        self.process = None
        return code

    def health(self) -> int:
        """What the operator port says; UNKNOWN while there is none."""
        root = self.config.paths.root_certificate.read_bytes()
        with grpc.secure_channel(self.config.operator_listen, grpc.ssl_channel_credentials(root)) as channel:
            try:
                answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)
            except grpc.RpcError:
                return int(health_pb2.HealthCheckResponse.UNKNOWN)
            return int(answer.status)

    async def serves(self) -> None:
        """Returns once it does."""
        while await asyncio.to_thread(self.health) != health_pb2.HealthCheckResponse.SERVING:
            await asyncio.sleep(0.05)

    @property
    def log(self) -> str:
        return (self.file.parent / f"{self.file.stem}.log").read_text()


@dataclass
class Replicas:
    """All that one test has."""

    folder: Path
    members: list[ReplicaProcess]
    cli: Cli
    lease_row: Callable[[], tuple[str, str]]
    """(holder, operator address) as the database has it."""

    def leader(self) -> ReplicaProcess | None:
        holder, address = self.lease_row()
        return next((each for each in self.members if holder and each.config.operator_listen == address), None)

    async def led(self, but: ReplicaProcess | None = None) -> ReplicaProcess:
        """Once one leads that is alive, and is not this one."""
        while True:
            leader = await asyncio.to_thread(self.leader)
            if leader is not None and leader is not but and leader.process is not None:
                return leader
            await asyncio.sleep(0.05)

    async def seawall(self, *words: str) -> Answer:
        return await asyncio.to_thread(self.cli, *words)

    async def asked(self, *words: str) -> Any:
        answer = await self.seawall(*words, "--json")
        assert answer.code == 0, (words, answer.out, answer.err, self.logs())
        return answer.json

    async def until(self, fits: Callable[[Any], bool], *words: str) -> Any:
        """The first answer that fits. A controller that is away for a moment is asked again."""
        deadline = time.monotonic() + LONGEST_WAIT
        while True:
            answer = await self.seawall(*words, "--json")
            if answer.code == 0 and fits(answer.json):
                return answer.json
            assert time.monotonic() < deadline, (words, answer.out, answer.err, self.logs())
            await asyncio.sleep(0.1)

    def logs(self) -> str:
        return "\n".join(f"--- {each.file.stem}\n{each.log[-3000:]}" for each in self.members)


def lease_row_of(server: Callable[[], PostgresServer], address: Address) -> Callable[[], tuple[str, str]]:
    """For Replicas: asks the server that there is now. ("", "") while it cannot say."""
    name = address.url.rpartition("?")[0].rpartition("/")[2] or address.url.rpartition("/")[2]

    def lease_row() -> tuple[str, str]:
        try:
            rows = server().sql("SELECT holder, operator_address FROM leader", name)
        except psycopg.Error:
            return "", ""
        return str(rows[0][0]), str(rows[0][1])

    return lease_row


@asynccontextmanager
async def replicas(
    folder: Path,
    database: str,
    lease_row: Callable[[], tuple[str, str]],
    count: int = 2,
    lease_seconds: float = LEASE_SECONDS,
    wrong_seconds: Sequence[int] = (),
) -> AsyncIterator[Replicas]:
    """Made, running, with a repository in a folder. Killed at the end. `wrong_seconds`: by which the clock of each is wrong, if any is."""
    ports = [(free_port(), free_port()) for _ in range(count)]
    first = _configured(folder, 0, ports, database, lease_seconds)
    check_new(first.config)
    initialise(first.config, SystemClock())
    members = [first]
    for number in range(1, count):
        other = _configured(folder, number, ports, database, lease_seconds)
        shutil.copytree(first.config.state_dir, other.config.state_dir, ignore=shutil.ignore_patterns("lock", "index"))
        (other.config.state_dir / "index").mkdir(mode=0o700)
        members.append(other)
    for each, seconds in zip(members, wrong_seconds, strict=False):
        each.wrong_seconds = seconds
    made = Replicas(folder, members, Cli(folder, first.config.operator_toml), lease_row)
    try:
        for each in members:
            each.start()
        await asyncio.wait_for(made.led(), LONGEST_WAIT)
        (folder / "repository").mkdir()
        url = (folder / "repository").as_uri()
        await made.until(lambda _: True, "repo", "add", "main", url, "--recovery-key", str(folder / "recovery.key"))
        yield made
    finally:
        for each in members:
            each.end()


@dataclass
class FileHost:
    """An agent with one VM of image files."""

    name: str
    vm_id: str
    host: AgentHost
    folder: Path
    supervisor: Supervisor | None = None

    @property
    def answered_us(self) -> int:
        """When its last heartbeat was answered, by its clock."""
        assert self.supervisor is not None
        return self.supervisor.health().last_heartbeat_us

    @property
    def image(self) -> Path:
        return self.folder / "vms" / self.vm_id / "vda.img"

    def slow(self, slow: bool) -> None:
        """Each read of the VM's disk takes a second."""
        mark = self.image.with_name("slow")
        mark.touch() if slow else mark.unlink(missing_ok=True)

    def hold(self, hold: bool) -> None:
        """No read of the VM's disk ends."""
        mark = self.image.with_name("hold")
        mark.touch() if hold else mark.unlink(missing_ok=True)

    def restored(self) -> list[bytes]:
        found = (self.folder / "vms").iterdir()
        return [(path / "vda.img").read_bytes() for path in found if path.name != self.vm_id]


@asynccontextmanager
async def file_hosts(
    made: Replicas, count: int, image_bytes: int = 600_000, **timing: float
) -> AsyncIterator[Sequence[FileHost]]:
    """Joined by tokens, running, their VMs (vm-0, vm-1, …) known. `timing`: of their supervisors, where it is not to be quick."""
    hosts = [await _joined(made, number, image_bytes) for number in range(count)]
    for each in hosts:
        each.host = each.host.with_timing(**timing)
    async with AsyncExitStack() as running:
        for each in hosts:
            each.supervisor = await running.enter_async_context(each.host.running())
        await made.until(lambda answer: len(answer["vms"]) == count, "vm", "list")
        yield hosts


async def _joined(made: Replicas, number: int, image_bytes: int) -> FileHost:
    folder, vm_id = made.folder / f"host-{number}", f"{number:08}-3333-4333-8333-333333333333"
    (folder / "vms" / vm_id).mkdir(parents=True)
    (folder / "vms" / vm_id / "vda.img").write_bytes(random.Random(number).randbytes(image_bytes) + bytes(65536))
    (folder / "vms" / vm_id / "domain.xml").write_text(f"<domain><name>vm-{number}</name></domain>")
    config = AgentConfig(
        state_dir=folder / "state",
        run_dir=folder / "run",
        scratch_dir=folder / "scratch",
        hypervisor=f"file://{folder / 'vms'}",
        host_name=f"host-{number}",
    )
    token = (await made.asked("host", "token"))["token"]
    await asyncio.to_thread(join_host, config, token, force=False, clock=SystemClock())
    host = AgentHost(
        config, worker=FILE_WORKER, timing=replace(FAST, cancel_grace=30.0, stop_grace=10.0, settling_grace=120.0)
    )
    host.hypervisor.add(vm(vm_id, f"vm-{number}"))
    return FileHost(config.host_name, vm_id, host, folder)


def _configured(
    folder: Path, number: int, ports: Sequence[tuple[int, int]], database: str, lease_seconds: float
) -> ReplicaProcess:
    """This one's addresses stand first in what it advertises."""
    order = [ports[number], *(each for each in ports if each != ports[number])]
    operators, agents = (",".join(f"127.0.0.1:{each[kind]}" for each in order) for kind in (0, 1))
    file = folder / f"controller-{number}.toml"
    file.write_text(
        f'state_dir = "{folder / f"state-{number}"}"\ndatabase = "{database}"\n'
        f'operator_listen = "127.0.0.1:{ports[number][0]}"\nagent_listen = "127.0.0.1:{ports[number][1]}"\n'
        f'enrol_address = "{operators}"\noperator_address = "{operators}"\nagent_address = "{agents}"\n'
        f"{TIMINGS}leader_lease_seconds = {lease_seconds}\n"
    )
    return ReplicaProcess(load_config(file), file)
