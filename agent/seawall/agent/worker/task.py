"""What one attempt works with: built by `main`, handed to `backup` and `restore`."""

from dataclasses import dataclass

from seawall.agent.control.client import ControllerClient
from seawall.agent.control.coordinator import AgentCoordinator, AgentPackReader
from seawall.agent.journal import Journal
from seawall.agent.limits.bucket import RateBucket
from seawall.agent.worker.adapters import Adapters
from seawall.agent.worker.pipe import Job
from seawall.agent.worker.reporter import Reporter
from seawall.agent.worker.stop import StopFlag
from seawall.repository.clock import Clock


@dataclass(frozen=True, slots=True)
class Task:
    """One attempt's tools."""

    job: Job
    client: ControllerClient
    coordinator: AgentCoordinator
    packs: AgentPackReader
    adapters: Adapters
    reporter: Reporter
    stop: StopFlag
    journal: Journal
    clock: Clock
    bucket: RateBucket

    @property
    def attempt_id(self) -> str:
        return self.job.assignment.ref.attempt_id
