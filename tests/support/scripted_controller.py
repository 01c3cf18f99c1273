"""A controller for agents' tests: a real grpc.aio server with mTLS that keeps the protocol's promises, told by the test what to want.

It knows sessions, the desired set with its generation, fencing and cancels; it records what agents say. Data calls (Lookup, SealPack, ...)
go to a `DataPlane` when the test gives one.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn, Protocol, TypeAlias

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2

from seawall.api.v1 import agent_pb2 as wire
from seawall.api.v1 import agent_pb2_grpc, enroll_pb2, enroll_pb2_grpc
from seawall.api.v1 import resources_pb2 as resources
from support.agent_certificates import Authority

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
WAIT_SECONDS = 15.0


class DataPlane(Protocol):
    """What a repository behind the controller does."""

    def grant(self, ref: wire.AttemptRef) -> wire.AcceptAttemptResponse: ...

    def lookup(self, request: wire.LookupRequest) -> wire.LookupResponse: ...

    def seal_pack(self, request: wire.SealPackRequest) -> wire.SealPackResponse: ...

    def pack_stored(self, request: wire.PackStoredRequest) -> wire.PackStoredResponse: ...

    def seal_hand_in(self, request: wire.SealHandInRequest) -> wire.SealHandInResponse: ...

    def read_urls(self, request: wire.GetReadUrlsRequest) -> wire.GetReadUrlsResponse: ...

    def complete(self, request: wire.CompleteAttemptRequest) -> wire.CompleteAttemptResponse: ...


@dataclass
class ScriptedController(agent_pb2_grpc.AgentServiceServicer, enroll_pb2_grpc.EnrollServiceServicer):
    """State is public: tests read it; they change it through the methods. One event loop."""

    authority: Authority = field(default_factory=Authority)
    data: DataPlane | None = None
    heartbeat_seconds: float = 0.1
    poll_wait_seconds: float = 5.0
    tokens: dict[str, str] = field(default_factory=dict)
    address: str = ""
    desired: dict[str, wire.Assignment] = field(default_factory=dict)
    over: set[str] = field(default_factory=set)
    generation: int = 1
    session_id: str = ""
    hellos: list[wire.HelloRequest] = field(default_factory=list)
    heartbeats: int = 0
    progress: dict[str, resources.AttemptProgress] = field(default_factory=dict)
    states: dict[str, list[int]] = field(default_factory=dict)
    failures: list[wire.FailAttemptRequest] = field(default_factory=list)
    completions: list[wire.CompleteAttemptRequest] = field(default_factory=list)
    inventory: list[resources.Vm] = field(default_factory=list)
    inventory_pages: list[wire.ReportInventoryRequest] = field(default_factory=list)
    client_certificates: set[bytes] = field(default_factory=set)
    lose_answers: dict[str, int] = field(default_factory=dict)
    refuse: dict[str, tuple[grpc.StatusCode, str]] = field(default_factory=dict)
    """By method: what its next calls are refused with; after a lost answer, if one is to be lost."""
    enrolled: dict[bytes, enroll_pb2.EnrollResponse] = field(default_factory=dict)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    def assign(self, vm_name: str, *, kind: int = resources.RUN_KIND_BACKUP, vm_id: str = "") -> str:
        """Want a new attempt; returns its id."""
        attempt_id = str(uuid.uuid4())
        self.desired[attempt_id] = wire.Assignment(
            attempt=wire.AttemptRef(attempt_id=attempt_id, attempt_no=1, db_epoch=1),
            kind=resources.RunKind.ValueType(kind),
            run_id=str(uuid.uuid4()),
            vm_id=vm_id or str(uuid.uuid4()),
            vm_name=vm_name,
        )
        self._bump()
        return attempt_id

    def cancel(self, attempt_id: str) -> None:
        self.desired[attempt_id].cancel = True
        self._bump()

    def give_up(self, attempt_id: str) -> None:
        """Fence it for ever."""
        self.desired.pop(attempt_id, None)
        self.over.add(attempt_id)
        self._bump()

    def lose_session(self) -> None:
        """As a controller whose database forgot it, or that saw a newer Hello."""
        self.session_id = ""
        self._bump()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for something that the agent will do."""
        async with asyncio.timeout(WAIT_SECONDS), self.changed:
            await self.changed.wait_for(condition)

    def failure_of(self, attempt_id: str) -> wire.FailAttemptRequest | None:
        return next((item for item in self.failures if item.attempt.attempt_id == attempt_id), None)

    @asynccontextmanager
    async def serving(self, port: int = 0) -> AsyncIterator["ScriptedController"]:
        """mTLS on a free port of 127.0.0.1, which also takes enrolments (without asking for a certificate) on a second one."""
        server = grpc.aio.server()
        agent_pb2_grpc.add_AgentServiceServicer_to_server(self, server)
        port = server.add_secure_port(f"127.0.0.1:{port}", self._credentials(ask=True))
        self.address = f"127.0.0.1:{port}"
        enrolment = grpc.aio.server()
        enroll_pb2_grpc.add_EnrollServiceServicer_to_server(self, enrolment)
        self.enrolment_address = f"127.0.0.1:{enrolment.add_secure_port('127.0.0.1:0', self._credentials(ask=False))}"
        await server.start()
        await enrolment.start()
        try:
            yield self
        finally:
            await server.stop(None)
            await enrolment.stop(None)

    def _credentials(self, *, ask: bool) -> grpc.ServerCredentials:
        return grpc.ssl_server_credentials(
            [self.authority.server()], self.authority.root_pem if ask else None, require_client_auth=ask
        )

    # -- sessions --

    async def Hello(self, request: wire.HelloRequest, context: Context) -> wire.HelloResponse:
        self.hellos.append(request)
        self.session_id = str(uuid.uuid4())
        running = {item.attempt.attempt_id for item in request.attempts if item.worker_running}
        for item in request.attempts:
            if item.attempt.attempt_id not in running:
                self.give_up(item.attempt.attempt_id)
        await self._tell()
        answer = wire.HelloResponse(session_id=self.session_id, protocol=1)
        answer.heartbeat_interval.FromMilliseconds(int(self.heartbeat_seconds * 1000))
        answer.lease_ttl.FromSeconds(90)
        answer.poll_wait.FromMilliseconds(int(self.poll_wait_seconds * 1000))
        answer.server_time.GetCurrentTime()
        return answer

    async def Poll(self, request: wire.PollRequest, context: Context) -> wire.PollResponse:
        await self._session(request.session_id, context)
        async with self.changed:
            try:
                async with asyncio.timeout(request.wait.ToMilliseconds() / 1000):
                    await self.changed.wait_for(
                        lambda: self.generation != request.known_generation or self.session_id != request.session_id
                    )
            except TimeoutError:
                pass
        await self._session(request.session_id, context)
        return wire.PollResponse(generation=self.generation, assignments=self.desired.values())

    async def Heartbeat(self, request: wire.HeartbeatRequest, context: Context) -> wire.HeartbeatResponse:
        await self._session(request.session_id, context)
        self.heartbeats += 1
        self.client_certificates.add(next(iter(context.auth_context()["x509_pem_cert"])))
        for item in request.attempts:
            self.progress[item.attempt_id] = item
            self.states.setdefault(item.attempt_id, []).append(item.state)
        await self._tell()
        answer = wire.HeartbeatResponse(
            generation=self.generation,
            unknown_attempt_ids=[item.attempt_id for item in request.attempts if item.attempt_id in self.over],
        )
        answer.lease_ttl.FromSeconds(90)
        return answer

    async def ReportInventory(
        self, request: wire.ReportInventoryRequest, context: Context
    ) -> wire.ReportInventoryResponse:
        await self._session(request.session_id, context)
        if request.page == 0:
            self.inventory_pages = []
        self.inventory_pages.append(request)
        if request.last:
            self.inventory = [vm for page in self.inventory_pages for vm in page.vms]
        await self._tell()
        return wire.ReportInventoryResponse()

    # -- attempts --

    async def AcceptAttempt(self, request: wire.AcceptAttemptRequest, context: Context) -> wire.AcceptAttemptResponse:
        await self._attempt(request, context)
        if self.data is None:
            await refuse(context, grpc.StatusCode.UNIMPLEMENTED, "NO_DATA", "this test has no data plane")
        return self.data.grant(request.attempt)

    async def FailAttempt(self, request: wire.FailAttemptRequest, context: Context) -> wire.FailAttemptResponse:
        await self._session(request.session_id, context)
        if request.attempt.attempt_id in self.over:
            await refuse(context, grpc.StatusCode.FAILED_PRECONDITION, "FENCED", "the attempt is over")
        self.failures.append(request)
        self.give_up(request.attempt.attempt_id)
        await self._tell()
        return wire.FailAttemptResponse()

    async def CompleteAttempt(
        self, request: wire.CompleteAttemptRequest, context: Context
    ) -> wire.CompleteAttemptResponse:
        known = [item for item in self.completions if item.attempt == request.attempt]
        await self._maybe_refuse("CompleteAttempt", context)
        if not known:
            await self._attempt(request, context)
        assert self.data is not None
        answer = self.data.complete(request)
        if not answer.missing_slots:
            self.completions.append(request)
            self.desired.pop(request.attempt.attempt_id, None)
            self._bump()
            await self._tell()
        await self._maybe_lose("CompleteAttempt", context)
        return answer

    # -- data --

    async def Lookup(self, request: wire.LookupRequest, context: Context) -> wire.LookupResponse:
        await self._attempt(request, context)
        assert self.data is not None
        return self.data.lookup(request)

    async def SealPack(self, request: wire.SealPackRequest, context: Context) -> wire.SealPackResponse:
        await self._attempt(request, context)
        assert self.data is not None
        return self.data.seal_pack(request)

    async def PackStored(self, request: wire.PackStoredRequest, context: Context) -> wire.PackStoredResponse:
        await self._attempt(request, context)
        assert self.data is not None
        return self.data.pack_stored(request)

    async def SealHandIn(self, request: wire.SealHandInRequest, context: Context) -> wire.SealHandInResponse:
        await self._attempt(request, context)
        assert self.data is not None
        return self.data.seal_hand_in(request)

    async def GetReadUrls(self, request: wire.GetReadUrlsRequest, context: Context) -> wire.GetReadUrlsResponse:
        await self._attempt(request, context)
        assert self.data is not None
        return self.data.read_urls(request)

    # -- identities --

    async def Enroll(self, request: enroll_pb2.EnrollRequest, context: Context) -> enroll_pb2.EnrollResponse:
        await self._maybe_refuse("Enroll", context)
        if self.tokens.get(request.token_id) != request.token_secret:
            await refuse(context, grpc.StatusCode.UNAUTHENTICATED, "TOKEN_UNKNOWN", "no such token")
        key = public_key_of(request.csr_der)
        if key not in self.enrolled:
            agent_id = str(uuid.uuid4())
            self.enrolled[key] = enroll_pb2.EnrollResponse(
                agent_id=agent_id,
                certificate_pem=self.authority.sign(request.csr_der, agent_id),
                ca_bundle_pem=self.authority.root_pem,
                agent_address=self.address,
            )
        await self._maybe_lose("Enroll", context)
        return self.enrolled[key]

    async def BeginRecovery(
        self, request: enroll_pb2.BeginRecoveryRequest, context: Context
    ) -> enroll_pb2.BeginRecoveryResponse:
        """Recovery is tried with the real controller alone."""
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "this controller recovers nobody")

    async def Recover(self, request: enroll_pb2.RecoverRequest, context: Context) -> enroll_pb2.RecoverResponse:
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "this controller recovers nobody")

    async def RenewCertificate(
        self, request: wire.RenewCertificateRequest, context: Context
    ) -> wire.RenewCertificateResponse:
        certificate = self.authority.sign(request.csr_der, "renewed")
        return wire.RenewCertificateResponse(certificate_pem=certificate, ca_bundle_pem=self.authority.root_pem)

    # -- checks --

    async def _session(self, session_id: str, context: Context) -> None:
        if session_id != self.session_id:
            await refuse(context, grpc.StatusCode.FAILED_PRECONDITION, "SESSION_UNKNOWN", "say Hello")

    async def _attempt(self, request: "_NamesAttempt", context: Context) -> None:
        await self._session(request.session_id, context)
        attempt_id = request.attempt.attempt_id
        if attempt_id in self.over:
            await refuse(context, grpc.StatusCode.FAILED_PRECONDITION, "FENCED", "the attempt is over")
        if attempt_id not in self.desired:
            await refuse(context, grpc.StatusCode.NOT_FOUND, "ATTEMPT_UNKNOWN", "no such attempt")
        if self.desired[attempt_id].cancel:
            await refuse(context, grpc.StatusCode.FAILED_PRECONDITION, "CANCELED", "the run was canceled")

    async def _maybe_lose(self, method: str, context: Context) -> None:
        """The work is done, the answer never arrives."""
        if self.lose_answers.get(method, 0) > 0:
            self.lose_answers[method] -= 1
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the connection broke")

    async def _maybe_refuse(self, method: str, context: Context) -> None:
        if method in self.refuse and not self.lose_answers.get(method):
            code, reason = self.refuse[method]
            await refuse(context, code, reason, "no")

    def _bump(self) -> None:
        self.generation += 1
        asyncio.get_running_loop().create_task(self._tell())

    async def _tell(self) -> None:
        async with self.changed:
            self.changed.notify_all()


class _NamesAttempt(Protocol):
    @property
    def session_id(self) -> str: ...

    @property
    def attempt(self) -> wire.AttemptRef: ...


def public_key_of(csr_der: bytes) -> bytes:
    key = x509.load_der_x509_csr(csr_der).public_key()
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


async def refuse(context: Context, code: grpc.StatusCode, reason: str, message: str) -> NoReturn:
    """Abort with an ErrorInfo, as the controller does."""
    detail = any_pb2.Any()
    detail.Pack(error_details_pb2.ErrorInfo(reason=reason, domain="seawall"))
    status = status_pb2.Status(code=code.value[0], message=message, details=[detail])
    await context.abort(code, message, (("grpc-status-details-bin", status.SerializeToString()),))
    raise AssertionError("abort raises")
