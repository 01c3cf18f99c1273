"""The supervisor's side of the wire: aio calls with deadlines, errors mapped, over a channel that can be replaced. One attempt per call."""

from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import grpc

from seawall.agent.control import convert
from seawall.agent.control.channel import supervisor_channel
from seawall.agent.control.failures import mapped
from seawall.agent.control.identity import Identity
from seawall.agent.control.messages import Assignment, AttemptRef, Failure, Progress, Session
from seawall.agent.hypervisor.port import Domain
from seawall.agent.supervisor.timing import Timing
from seawall.api.v1 import agent_pb2 as wire
from seawall.api.v1 import agent_pb2_grpc

PROTOCOL = 1
CLOSE_GRACE_SECONDS = 40.0  # longer than a long-poll: calls on the old channel end by themselves

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What Hello says about this host."""

    agent_version: str
    boot_id: str
    host_name: str
    hypervisor_version: str


@dataclass(frozen=True, slots=True)
class Beat:
    """A heartbeat's answer."""

    lease_seconds: float
    unknown: tuple[str, ...]
    canceled: tuple[str, ...]
    bytes_per_second: int = 0
    """The host's share of the bandwidth; 0: no limit."""
    valid_seconds: float = 0.0
    floor_bytes_per_second: int = 0


@dataclass(frozen=True, slots=True)
class Renewed:
    certificate_pem: str
    ca_bundle_pem: str


class Link:
    """Make it inside the loop; `close()` when done. All methods raise what `control.failures` maps."""

    def __init__(self, identity: Identity, controllers: Sequence[str], timing: Timing) -> None:
        self._controllers = tuple(controllers)
        self._timing = timing
        self._open(identity)

    def _open(self, identity: Identity) -> None:
        self._channel = supervisor_channel(identity, self._controllers)
        self._stub: agent_pb2_grpc.AgentServiceAsyncStub = agent_pb2_grpc.AgentServiceStub(self._channel)

    async def replace(self, identity: Identity) -> None:
        """New calls use the new certificate at once; returns when the old channel has ended its calls."""
        old = self._channel
        self._open(identity)
        await old.close(CLOSE_GRACE_SECONDS)

    async def close(self) -> None:
        await self._channel.close(None)

    async def hello(self, facts: HostFacts, attempts: Sequence[tuple[AttemptRef, bool]]) -> Session:
        """`attempts`: those of the journal, and whether they are still in our hands."""
        request = wire.HelloRequest(
            protocol_min=PROTOCOL,
            protocol_max=PROTOCOL,
            agent_version=facts.agent_version,
            boot_id=facts.boot_id,
            host_name=facts.host_name,
            hypervisor_version=facts.hypervisor_version,
            attempts=[
                wire.JournalledAttempt(attempt=convert.ref_to(ref), worker_running=running) for ref, running in attempts
            ],
        )
        return convert.session_of(await _mapped(self._stub.Hello(request, timeout=self._timing.call)))

    async def poll(
        self, session_id: str, known_generation: int, wait_seconds: float
    ) -> tuple[int, tuple[Assignment, ...]]:
        """(generation, the full desired set)."""
        request = wire.PollRequest(
            session_id=session_id, known_generation=known_generation, wait=convert.duration(wait_seconds)
        )
        answer = await _mapped(self._stub.Poll(request, timeout=wait_seconds + self._timing.poll_margin))
        return answer.generation, tuple(convert.assignment_of(item) for item in answer.assignments)

    async def heartbeat(self, session_id: str, progress: Sequence[Progress], demand: int = 0, rate: int = 0) -> Beat:
        """`demand`, `rate`: bytes per second that the host's workers would use, and do."""
        request = wire.HeartbeatRequest(
            session_id=session_id,
            attempts=[convert.progress_to(report) for report in progress],
            demand_bytes_per_second=demand,
            rate_bytes_per_second=rate,
        )
        answer = await _mapped(self._stub.Heartbeat(request, timeout=self._timing.call))
        return Beat(
            convert.seconds(answer.lease_ttl),
            tuple(answer.unknown_attempt_ids),
            tuple(answer.cancel_attempt_ids),
            answer.bytes_per_second,
            convert.seconds(answer.valid_for),
            answer.floor_bytes_per_second,
        )

    async def fail(
        self, session_id: str, ref: AttemptRef, failure: Failure, progress: Progress, *, canceled: bool
    ) -> None:
        request = wire.FailAttemptRequest(
            session_id=session_id,
            attempt=convert.ref_to(ref),
            failure=convert.failure_to(failure),
            canceled=canceled,
            progress=convert.progress_to(progress),
        )
        await _mapped(self._stub.FailAttempt(request, timeout=self._timing.call))

    async def report_inventory(
        self,
        session_id: str,
        revision: int,
        page: int,
        vms: Sequence[Domain],
        *,
        last: bool,
        left_ms: Mapping[str, int] | None = None,
    ) -> None:
        """`left_ms`: VMs that migrated away, and how long ago; told with the last page."""
        request = wire.ReportInventoryRequest(
            session_id=session_id,
            revision=revision,
            page=page,
            last=last,
            vms=[convert.vm_to(vm) for vm in vms],
            departures=[convert.departure_to(*each) for each in sorted((left_ms or {}).items())] if last else [],
        )
        await _mapped(self._stub.ReportInventory(request, timeout=self._timing.call))

    async def renew(self, csr_der: bytes) -> Renewed:
        answer = await _mapped(
            self._stub.RenewCertificate(wire.RenewCertificateRequest(csr_der=csr_der), timeout=self._timing.call)
        )
        return Renewed(answer.certificate_pem.decode(), answer.ca_bundle_pem.decode())


async def _mapped(call: Awaitable[T]) -> T:
    try:
        return await call
    except grpc.RpcError as error:
        raise mapped(error) from error
