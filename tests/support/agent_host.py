"""A host for the supervisor's tests: directories, an identity, a hypervisor in memory, a supervisor to start and stop."""

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from seawall.agent.config import AgentConfig
from seawall.agent.control.identity import Identity, load_identity, save_identity
from seawall.agent.hypervisor.port import Located
from seawall.agent.journal import Journal
from seawall.agent.supervisor.supervisor import Supervisor
from seawall.agent.supervisor.timing import Timing
from seawall.repository.clock import SystemClock
from support.agent_memory_hypervisor import MemoryHypervisor
from support.scripted_controller import ScriptedController

TINY_WORKER = (sys.executable, str(Path(__file__).with_name("agent_tiny_worker.py")))
FAST = Timing(
    first_backoff=0.02,
    longest_backoff=0.1,
    refused_backoff=0.1,
    inventory=5.0,
    look=0.05,
    cancel_grace=0.4,
    fence_grace=0.3,
    stop_grace=0.5,
    settling_grace=1.0,
    renewal_check=0.1,
    first_sweep_again=0.02,
    longest_sweep_again=0.1,
)


@dataclass
class AgentHost:
    """Everything one agent keeps."""

    config: AgentConfig
    hypervisor: MemoryHypervisor = field(default_factory=MemoryHypervisor)
    worker: Sequence[str] = TINY_WORKER
    timing: Timing = FAST
    located: Located = tuple

    @property
    def identity(self) -> Identity:
        return load_identity(self.config.state_dir)

    def journal(self) -> Journal:
        return Journal(self.config.state_dir, SystemClock())

    def with_timing(self, **seconds: float) -> "AgentHost":
        return replace(self, timing=replace(self.timing, **seconds))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Supervisor]:
        """A supervisor from start to orderly stop."""
        journal = self.journal()
        supervisor = Supervisor(
            self.config,
            self.identity,
            self.hypervisor,
            journal,
            SystemClock(),
            self.worker,
            self.timing,
            located=self.located,
        )
        task = asyncio.create_task(supervisor.run())
        try:
            yield supervisor
        finally:
            supervisor.stop()
            await task
            journal.close()


def enrolled_host(tmp_path: Path, controller: ScriptedController, identity: Identity | None = None) -> AgentHost:
    config = AgentConfig(
        state_dir=tmp_path / "state", run_dir=tmp_path / "run", scratch_dir=tmp_path / "scratch", host_name="alpha"
    )
    save_identity(config.state_dir, identity or controller.authority.identity(controller.address))
    return AgentHost(config)
