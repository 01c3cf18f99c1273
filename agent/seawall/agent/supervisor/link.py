"""The supervisor's side of the wire: aio calls with deadlines, errors mapped, over a channel that can be replaced. One attempt per call."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

import grpc

from seawall.agent.control import convert
from seawall.agent.control.channel import supervisor_channel
from seawall.agent.control.errors import ControllerStandsStill
from seawall.agent.control.failures import mapped
from seawall.agent.control.identity import Identity
from seawall.agent.control.messages import Assignment, AttemptRef, Failure, Progress, Session
from seawall.agent.hypervisor.port import Domain
from seawall.agent.supervisor.connection import Connection
from seawall.agent.supervisor.timing import Timing
from seawall.api.v1 import agent_pb2 as wire
from seawall.api.v1 import agent_pb2_grpc

PROTOCOL = 1
"""The only one so far: see the controller's services/protocol.py for when there is another."""
CLOSE_GRACE_SECONDS = 40.0  # longer than a long-poll: calls on the old channel end by themselves
CALM_SECONDS = 60.0
"""After so long without leaving anybody, a controller is left as soon as at first."""
MOST_SILENCE = 0.4
"""Of a call's time: with the look that follows, as long again, it is over before the call is. Else calls end and nobody is ever left."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What Hello says about this host."""

    agent_version: str
    boot_id: str
    host_name: str
    hypervisor_version: str


@dataclass(frozen=True, slots=True)
class Trust:
    """What the controller says of its certificate authority, at each Hello and heartbeat."""

    ca_bundle_pem: str = ""
    """To be trusted from now on; empty: what is trusted is right."""
    renew: bool = False
    """The certificate of this host is of an authority that is to be retired."""


@dataclass(frozen=True, slots=True)
class Beat:
    """A heartbeat's answer."""

    lease_seconds: float
    unknown: tuple[str, ...]
    canceled: tuple[str, ...]
    trust: Trust = Trust()
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
        self._closing: dict[asyncio.Task[None], grpc.aio.Channel] = {}
        self._silence = timing.silence
        self._left_seconds = -math.inf  # of the loop's time, when a controller that stood still was left last
        self._open(identity)

    def _open(self, identity: Identity) -> None:
        self._identity = identity
        self._trusted_sha256 = identity.trusted_sha256
        self._others = len(self._controllers or identity.addresses) > 1
        self._connection = Connection(supervisor_channel(identity, self._controllers))

    def replace(self, identity: Identity) -> None:
        """New calls use the new certificate from now on; those on the old channel, a long-poll, end by themselves."""
        self._close_later(self._connection)
        self._open(identity)

    def _leave(self, connection: Connection) -> None:
        """For whichever other controller answers first.

        Where one leaving follows another, all of them may be slow rather than still, and a thousand new connections would make that
        worse: each time more silence is borne, until nobody was left for a while.
        """
        if connection is not self._connection:
            return
        connection.leave()
        self._close_later(connection)
        self._silence = max(self._timing.silence, min(2 * self._silence, MOST_SILENCE * self._timing.call))
        self._left_seconds = asyncio.get_running_loop().time()
        self._open(self._identity)

    def _close_later(self, connection: Connection) -> None:
        closing = asyncio.create_task(connection.channel.close(CLOSE_GRACE_SECONDS))
        self._closing[closing] = connection.channel
        closing.add_done_callback(self._closing.pop)

    async def close(self) -> None:
        for channel in (*self._closing.values(), self._connection.channel):
            await channel.close(None)
        await asyncio.gather(*self._closing, return_exceptions=True)

    async def _answer(self, ask: "Callable[[agent_pb2_grpc.AgentServiceAsyncStub], Awaitable[T]]") -> T:
        """Soon, or another controller is asked the next time."""
        connection = self._connection
        try:
            answer = await connection.answer(_mapped(ask(connection.stub)), self._silence if self._others else None)
        except ControllerStandsStill:
            self._leave(connection)
            raise
        if asyncio.get_running_loop().time() - self._left_seconds >= CALM_SECONDS:
            self._silence = self._timing.silence
        return answer

    async def rest(self, seconds: float) -> None:
        """After a failure: so long, or until a controller that was away is connected again."""
        # A connection that breaks as soon as it is made is no reason to hurry.
        least = min(seconds, self._timing.first_backoff)
        await asyncio.sleep(least)
        channel = self._connection.channel
        if channel.get_state(try_to_connect=True) is grpc.ChannelConnectivity.READY:
            await asyncio.sleep(seconds - least)
            return
        with suppress(TimeoutError, grpc.aio.UsageError):  # the latter: it was replaced meanwhile
            async with asyncio.timeout(seconds - least):
                await channel.channel_ready()

    async def hello(self, facts: HostFacts, attempts: Sequence[tuple[AttemptRef, bool]]) -> tuple[Session, Trust]:
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
            trusted_root_sha256=self._trusted_sha256,
        )
        answer = await self._answer(lambda stub: stub.Hello(request, timeout=self._timing.call))
        return convert.session_of(answer), _trust_of(answer)

    async def poll(
        self, session_id: str, known_generation: int, wait_seconds: float
    ) -> tuple[int, tuple[Assignment, ...]]:
        """(generation, the full desired set)."""
        request = wire.PollRequest(
            session_id=session_id, known_generation=known_generation, wait=convert.duration(wait_seconds)
        )
        connection = self._connection
        call = connection.stub.Poll(request, timeout=wait_seconds + self._timing.poll_margin)
        answer = await connection.answer(_mapped(call), None)  # quiet by nature; a heartbeat finds out, and ends it
        return answer.generation, tuple(convert.assignment_of(item) for item in answer.assignments)

    async def heartbeat(self, session_id: str, progress: Sequence[Progress], demand: int = 0, rate: int = 0) -> Beat:
        """`demand`, `rate`: bytes per second that the host's workers would use, and do."""
        request = wire.HeartbeatRequest(
            session_id=session_id,
            attempts=[convert.progress_to(report) for report in progress],
            demand_bytes_per_second=demand,
            rate_bytes_per_second=rate,
            trusted_root_sha256=self._trusted_sha256,
        )
        answer = await self._answer(lambda stub: stub.Heartbeat(request, timeout=self._timing.call))
        return Beat(
            convert.seconds(answer.lease_ttl),
            tuple(answer.unknown_attempt_ids),
            tuple(answer.cancel_attempt_ids),
            _trust_of(answer),
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
        await self._answer(lambda stub: stub.FailAttempt(request, timeout=self._timing.call))

    async def report_inventory(
        self,
        session_id: str,
        revision: int,
        page: int,
        vms: Sequence[Domain],
        *,
        last: bool,
        left_ms: Mapping[str, int] | None = None,
    ) -> float:
        """`left_ms`: VMs that migrated away, and how long ago; told with the last page.

        Returns the seconds until the next report that the controller wants if nothing changes; 0.0 when it does not say.
        """
        request = wire.ReportInventoryRequest(
            session_id=session_id,
            revision=revision,
            page=page,
            last=last,
            vms=[convert.vm_to(vm) for vm in vms],
            departures=[convert.departure_to(*each) for each in sorted((left_ms or {}).items())] if last else [],
        )
        answer = await self._answer(lambda stub: stub.ReportInventory(request, timeout=self._timing.call))
        return convert.seconds(answer.next_report)

    async def renew(self, csr_der: bytes) -> Renewed:
        request = wire.RenewCertificateRequest(csr_der=csr_der)
        answer = await self._answer(lambda stub: stub.RenewCertificate(request, timeout=self._timing.call))
        return Renewed(answer.certificate_pem.decode(), answer.ca_bundle_pem.decode())


def _trust_of(answer: wire.HelloResponse | wire.HeartbeatResponse) -> Trust:
    return Trust(answer.ca_bundle_pem.decode("ascii", "replace"), answer.renew_certificate)


async def _mapped(call: Awaitable[T]) -> T:
    try:
        return await call
    except grpc.RpcError as error:
        raise mapped(error) from error
