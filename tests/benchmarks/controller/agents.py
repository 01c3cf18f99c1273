"""A load-generating process: some hundred agents over the agent's own channel, calls and retries, each with its own certificate.

    python -m tests.benchmarks.controller.agents IDENTITIES VMS_EACH

Orders come as JSON lines on stdin, what happened leaves as JSON lines on stdout; the end of stdin is the end. What an agent does beside its
control plane is left out: no libvirt, no worker process. An assignment counts as received when the poll that names it is answered; then, by
the mode, a point of 64 KiB is written and handed in by the real writer over its own connection, or the attempt is accepted and held.
"""

import asyncio
import json
import random
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import grpc
import structlog

from seawall.agent.control.errors import SessionUnknown
from seawall.agent.control.identity import Identity
from seawall.agent.control.messages import Assignment, AttemptRef, DiskProgress, Progress, Session
from seawall.agent.errors import AgentError
from seawall.agent.hypervisor.port import Domain, DomainDisk, Hypervisor
from seawall.agent.supervisor.heartbeat import BUSY_SECONDS
from seawall.agent.supervisor.inventory import Inventory
from seawall.agent.supervisor.link import HostFacts, Link
from seawall.agent.supervisor.state import SupervisorState
from seawall.agent.supervisor.steps import repeat
from seawall.agent.supervisor.timing import Backoff, Timing
from seawall.api.v1 import agent_pb2
from seawall.repository.clock import SystemClock
from seawall.repository.store.presigned import PresignedClient
from support.controller_agent import ScriptedAgent
from support.memory_disks import ModelDisk

NAMES = uuid.UUID("6ba7b811-9dad-11d1-80b4-00c04fd430c8")
DISK_BYTES = 64 * 1024
WRITERS = 4
STATE_SECONDS = 0.05
JOIN_SPREAD_SECONDS = 2.0
TIMING = Timing()


def vm_id(host_name: str, number: int) -> str:
    return str(uuid.uuid5(NAMES, f"{host_name}/{number}"))


@dataclass
class Totals:
    """Of this process. `beaten`: agents whose newest heartbeat was answered; `rows`: progress reports that were acknowledged."""

    beaten: set[str] = field(default_factory=set)
    beats: int = 0
    rows: int = 0
    held: int = 0
    completed: int = 0
    failed: int = 0
    slowest_beat: float = 0.0


@dataclass
class Held:
    """An accepted attempt."""

    ref: AttemptRef
    seq: int = 0

    def progress(self) -> Progress:
        self.seq += 1
        done = self.seq * 4_194_304
        disk = DiskProgress("vda", 1 << 40, 1 << 40, done, done // 2, done // 3, "full", "the first backup of this VM")
        return Progress(
            self.ref.attempt_id, self.seq, "transferring", "reading vda", (disk,), "", "network", 100_000_000, 3_600
        )


@dataclass(frozen=True)
class SteadyHypervisor:
    """In the place of libvirt: nothing ever changes."""

    all: tuple[Domain, ...]

    def domains(self) -> tuple[Domain, ...]:
        return self.all


class LoadAgent:
    """One host's supervisor."""

    def __init__(self, process: "LoadProcess", told: dict[str, str], vms: int) -> None:
        self.identity = Identity(**told)
        self._process = process
        self._totals = process.totals
        self._link = Link(self.identity, (), TIMING)
        self._state = SupervisorState(self.identity)
        self._hypervisor = SteadyHypervisor(tuple(_domain(self.identity.host_name, number) for number in range(vms)))
        self._generation = 0
        self._session: Session | None = None
        self._known: set[str] = set()
        self.held: dict[str, Held] = {}

    async def run(self) -> None:
        backoff = Backoff(TIMING.first_backoff, TIMING.longest_backoff)
        await asyncio.sleep(random.uniform(0, JOIN_SPREAD_SECONDS))
        while True:
            try:
                facts = HostFacts("bench", str(uuid.uuid4()), self.identity.host_name, "libvirt 9.0.0")
                self._session, _ = await self._link.hello(facts, [(held.ref, True) for held in self.held.values()])
                self._generation, self._state.generation = 0, None
                backoff.reset()
                inventory = Inventory(
                    self._link,
                    self._session,
                    cast(Hypervisor, self._hypervisor),
                    dict,
                    self._state,
                    TIMING,
                    SystemClock(),
                )
                steps = {"poll": self.poll, "heartbeat": self.heartbeat, "inventory": inventory.step}
                async with asyncio.TaskGroup() as group:
                    for name, step in steps.items():
                        pauses = Backoff(TIMING.first_backoff, TIMING.longest_backoff)
                        group.create_task(repeat(name, step, pauses, self._state, self._link.rest))
            except* (SessionUnknown, AgentError):
                self._totals.beaten.discard(self.identity.agent_id)
            await asyncio.sleep(backoff.next_seconds())

    async def poll(self) -> float:
        session = self.session
        self._generation, desired = await self._link.poll(
            session.session_id, self._generation, session.poll_wait_seconds
        )
        self._state.generation = self._generation
        for each in desired:
            if each.ref.attempt_id not in self._known:
                self._known.add(each.ref.attempt_id)
                self._process.say(event="assigned", run=each.run_id, at_us=time.time_ns() // 1000)
                self._process.start(self, each)
        return 0.0

    async def heartbeat(self) -> float:
        if not self._process.pressing:
            await self.beat()
        return BUSY_SECONDS if self.held else self.session.heartbeat_seconds * random.uniform(0.8, 1.2)

    async def beat(self) -> None:
        progress, begun = [held.progress() for held in self.held.values()], time.monotonic()
        try:
            await self._link.heartbeat(self.session.session_id, progress, 0, 0)
        except AgentError:
            self._totals.beaten.discard(self.identity.agent_id)
            raise
        self._totals.slowest_beat = max(self._totals.slowest_beat, time.monotonic() - begun)
        self._totals.beaten.add(self.identity.agent_id)
        self._totals.beats += 1
        self._totals.rows += len(progress)

    @property
    def session(self) -> Session:
        assert self._session is not None
        return self._session

    def work(self, assignment: Assignment, hold: bool) -> bool:
        """In a thread. Whether the attempt is over."""
        known = self.identity
        credentials = grpc.ssl_channel_credentials(
            known.ca_bundle_pem.encode(), known.private_key_pem.encode(), known.certificate_pem.encode()
        )
        agent = ScriptedAgent(known.address, credentials, known.agent_id, known.host_name, self._process.transfer)
        agent.session_id = self.session.session_id
        ref = agent_pb2.AttemptRef(
            attempt_id=assignment.ref.attempt_id,
            attempt_no=assignment.ref.attempt_no,
            db_epoch=assignment.ref.db_epoch,
        )
        try:
            grant = agent.accept(ref).backup
            if not hold:
                agent.stub.CompleteAttempt(
                    agent.hand_in(ref, agent.write(ref, grant, {"vda": _disk(assignment.vm_id)}))
                )
        finally:
            agent.channel.close()
        return not hold


class LoadProcess:
    """All agents of one process."""

    def __init__(self, identities: list[dict[str, str]], vms: int) -> None:
        self.totals = Totals()
        self.transfer = PresignedClient()
        self.pressing = False
        self.hold = False
        self._pool = ThreadPoolExecutor(WRITERS)
        self._tasks: set[asyncio.Task[None]] = set()
        self._last = ""
        self.agents = [LoadAgent(self, told, vms) for told in identities]

    async def run(self) -> None:
        tasks = [asyncio.create_task(agent.run()) for agent in self.agents]
        tasks.append(asyncio.create_task(self._tell()))
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        async for line in reader:
            await self._obey(json.loads(line))
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _obey(self, order: dict[str, Any]) -> None:
        if order["do"] == "mode":
            self.hold = order["hold"]
        elif order["do"] == "forget":
            self.totals.beaten.clear()
        elif order["do"] == "press":
            await self._press(float(order["seconds"]), int(order["at_once"]))

    async def _press(self, seconds: float, at_once: int) -> None:
        """Heartbeats of the agents that hold an attempt, one after the other, so many at once."""
        holding = [agent for agent in self.agents if agent.held]
        self.pressing, rows, begun = True, self.totals.rows, time.monotonic()
        until = begun + seconds

        async def press(mine: list[LoadAgent]) -> None:
            while mine and time.monotonic() < until:
                for agent in mine:
                    await agent.beat()
                    if time.monotonic() >= until:
                        return

        await asyncio.gather(*(press(holding[part::at_once]) for part in range(at_once)))
        self.pressing = False
        self.say(event="pressed", rows=self.totals.rows - rows, seconds=time.monotonic() - begun)

    def start(self, agent: LoadAgent, assignment: Assignment) -> None:
        task = asyncio.create_task(self._work(agent, assignment))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _work(self, agent: LoadAgent, assignment: Assignment) -> None:
        hold = self.hold
        try:
            await asyncio.get_running_loop().run_in_executor(self._pool, agent.work, assignment, hold)
        except Exception as error:
            self.totals.failed += 1
            self.say(event="failed", run=assignment.run_id, why=f"{type(error).__name__}: {error}"[:500])
            return
        if hold:
            agent.held[assignment.ref.attempt_id] = Held(assignment.ref)
            self.totals.held += 1
        else:
            self.totals.completed += 1

    async def _tell(self) -> None:
        while True:
            await asyncio.sleep(STATE_SECONDS)
            totals = self.totals
            counts = {"beaten": len(totals.beaten), "beats": totals.beats}
            counts |= {"held": totals.held, "completed": totals.completed, "failed": totals.failed}
            text = json.dumps(counts)
            if text != self._last:
                self._last = text
                self.say(event="state", at=time.monotonic(), slowest_beat=totals.slowest_beat, **counts)
                totals.slowest_beat = 0.0

    def say(self, **words: object) -> None:
        sys.stdout.write(json.dumps(words) + "\n")
        sys.stdout.flush()


def _domain(host_name: str, number: int) -> Domain:
    disk = DomainDisk(
        "vda", "disk", "file", f"/pool-{number % 3}/{number}.qcow2", "qcow2", 1 << 35, False, False, False
    )
    return Domain(vm_id(host_name, number), f"{host_name}-vm-{number}", "running", (disk,))


def _disk(seed: str) -> Any:
    disk = ModelDisk(DISK_BYTES)
    disk.write(0, random.Random(seed).randbytes(DISK_BYTES))
    return disk.source()


def main() -> None:
    process_arguments = json.loads(Path(sys.argv[1]).read_text()), int(sys.argv[2])

    # What the agent's own code logs; stdout is for the parent.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))

    async def serve() -> None:
        await LoadProcess(*process_arguments).run()

    asyncio.run(serve())


if __name__ == "__main__":
    main()
