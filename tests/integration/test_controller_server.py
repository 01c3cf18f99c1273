"""The server shell over real gRPC and TLS: who may call, how errors leave, how it ends."""

import asyncio
import os
import signal
import ssl
import time
import uuid
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status

from seawall.agent.control.errors import NotTrusted
from seawall.agent.control.pinned import fetch_root
from seawall.api.v1 import agent_pb2, agent_pb2_grpc, enroll_pb2, enroll_pb2_grpc, operator_pb2, operator_pb2_grpc
from seawall.controller.certificates.generation import key_pem, new_key
from seawall.controller.config import ControllerConfig
from seawall.controller.enrolment.port import AgentRecord
from seawall.controller.enrolment.tokens import create_join_token
from seawall.controller.enrolment.tries import ALLOWED
from seawall.controller.errors import Aborted, NotFound, Unavailable
from seawall.controller.initialise import initialise
from seawall.controller.server.auth import agent_id_of
from seawall.controller.server.drain import Drain
from seawall.repository.clock import SystemClock
from support.controller_shell import Shell, authority_of, csr_of, shell

Context = Any


class Agents(agent_pb2_grpc.AgentServiceServicer):
    """Answers with the caller's identity, fails as asked, waits as a long-poll does."""

    def __init__(self, drain: Drain) -> None:
        self._drain = drain
        self.polling = 0

    async def Hello(self, request: agent_pb2.HelloRequest, context: Context) -> agent_pb2.HelloResponse:
        return agent_pb2.HelloResponse(session_id=agent_id_of(context))

    async def Heartbeat(self, request: agent_pb2.HeartbeatRequest, context: Context) -> agent_pb2.HeartbeatResponse:
        if request.session_id == "lost":
            raise Aborted("SLOTS_MISSING", "long " * 1000, {"slots": "x" * 9000, "repository": "r1"})
        if request.session_id == "bug":
            raise ZeroDivisionError("the password is hunter2")
        await context.abort(grpc.StatusCode.OUT_OF_RANGE, "as the handler wishes")
        raise AssertionError("abort raises")

    async def Poll(self, request: agent_pb2.PollRequest, context: Context) -> agent_pb2.PollResponse:
        self.polling += 1
        await self._drain.first(asyncio.Event().wait(), 60)
        return agent_pb2.PollResponse(generation=7)


class Backups(operator_pb2_grpc.BackupServiceServicer):
    """One unary call and one stream."""

    async def GetStatus(
        self, request: operator_pb2.GetStatusRequest, context: Context
    ) -> operator_pb2.GetStatusResponse:
        return operator_pb2.GetStatusResponse(controller_version="9")

    async def WatchRuns(
        self, request: operator_pb2.WatchRunsRequest, context: Context
    ) -> AsyncIterator[operator_pb2.WatchRunsResponse]:
        yield operator_pb2.WatchRunsResponse()
        raise NotFound("RUN_UNKNOWN", "There is no run r9.")


@pytest.fixture
async def edge(tmp_path: Path) -> AsyncIterator[tuple[Shell, Agents]]:
    async with shell(tmp_path) as made:
        agents = Agents(made.drain)  # type: ignore[abstract]  # the rest stays UNIMPLEMENTED
        agent_pb2_grpc.add_AgentServiceServicer_to_server(agents, made.servers.agent)
        operator_pb2_grpc.add_BackupServiceServicer_to_server(
            Backups(),  # type: ignore[abstract]
            made.servers.operator,
        )
        await made.start()
        yield made, agents


async def failure(call: Awaitable[object]) -> tuple[grpc.StatusCode, str, dict[str, str], str]:
    """(code, reason, metadata, message) of a call that fails."""
    with pytest.raises(aio.AioRpcError) as caught:
        await call
    error = caught.value
    info = error_details_pb2.ErrorInfo()
    status = rpc_status.from_call(error)  # type: ignore[arg-type]
    if status is not None and status.details:
        status.details[0].Unpack(info)
        assert info.domain == "seawall"
    return error.code(), info.reason, dict(info.metadata), error.details() or ""


def enrolled(made: Shell, max_uses: int = 1) -> tuple[AgentRecord, enroll_pb2.EnrollRequest]:
    """An agent by way of the store, and the request that would enrol another one."""
    created = create_join_token(
        made.store,
        SystemClock(),
        enrol_address=made.config.dialled_to_enrol,
        ca_sha256=made.authority.root_sha256,
        ttl_seconds=3600,
        max_uses=max_uses,
    )
    token = created.token
    request = enroll_pb2.EnrollRequest(
        token_id=token.token_id, token_secret=token.secret, csr_der=csr_of(new_key()), host_name="alpha"
    )
    agent = AgentRecord(str(uuid.uuid4()), token.token_id, os.urandom(32), "a", b"PEM", 1, 1)
    return agent, request


async def test_a_host_enrols_and_speaks_as_the_agent_it_became(edge: tuple[Shell, Agents]) -> None:
    made, _ = edge
    _, request = enrolled(made)
    async with made.operator_channel() as channel:
        stub = enroll_pb2_grpc.EnrollServiceStub(channel)
        first = await stub.Enroll(request)
        assert await stub.Enroll(request) == first
        assert first.ca_bundle_pem == made.authority.bundle_pem
        assert first.agent_address == made.config.dialled_by_agents
        other = enroll_pb2.EnrollRequest()
        other.CopyFrom(request)
        other.csr_der = csr_of(new_key())
        assert (await failure(stub.Enroll(other)))[:2] == (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_USED")
        other.csr_der = b"rubbish"
        assert (await failure(stub.Enroll(other)))[:2] == (grpc.StatusCode.INVALID_ARGUMENT, "BAD_CSR")
    async with made.agent_channel(first.agent_id) as channel:
        answer = await agent_pb2_grpc.AgentServiceStub(channel).Hello(agent_pb2.HelloRequest())
        assert answer.session_id == first.agent_id


async def test_a_host_finds_the_root_that_its_token_names_in_the_handshake(edge: tuple[Shell, Agents]) -> None:
    made, _ = edge
    assert made.ports is not None
    address = f"127.0.0.1:{made.ports.operator}"
    assert (
        await asyncio.to_thread(fetch_root, address, made.authority.root_sha256, SystemClock().now_us())
        == made.authority.bundle_pem
    )
    with pytest.raises(NotTrusted):
        await asyncio.to_thread(fetch_root, address, bytes(32), SystemClock().now_us())


async def test_a_renewed_server_certificate_needs_no_restart(edge: tuple[Shell, Agents]) -> None:
    made, _ = edge
    assert made.ports is not None
    address = ("127.0.0.1", made.ports.operator)
    first = await asyncio.to_thread(ssl.get_server_certificate, address)
    assert await asyncio.to_thread(ssl.get_server_certificate, address) == first
    made.certificate._renew_us = 0
    second = await asyncio.to_thread(ssl.get_server_certificate, address)
    assert second != first
    assert made.certificate.current().chain_pem.decode().startswith(second.strip())


async def test_guessing_tokens_is_stopped(edge: tuple[Shell, Agents]) -> None:
    made, _ = edge
    _, request = enrolled(made)
    wrong = enroll_pb2.EnrollRequest()
    wrong.CopyFrom(request)
    wrong.token_secret = "guess"
    async with made.operator_channel() as channel:
        stub = enroll_pb2_grpc.EnrollServiceStub(channel)
        for _ in range(ALLOWED):
            assert (await failure(stub.Enroll(wrong)))[:2] == (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_UNKNOWN")
        for late in (wrong, request):
            told = await failure(stub.Enroll(late))
            assert told[:2] == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_TRIES")


async def test_without_a_certificate_of_this_cluster_nobody_reaches_the_agent_port(
    edge: tuple[Shell, Agents], tmp_path: Path
) -> None:
    made, _ = edge
    elsewhere = ControllerConfig(state_dir=tmp_path / "elsewhere")
    initialise(elsewhere, SystemClock())
    agent_id = str(uuid.uuid4())
    beyond_its_bounds = authority_of(made.config)
    beyond_its_bounds._cluster_id = str(uuid.uuid4())
    for presented, authority in ((None, None), (agent_id, authority_of(elsewhere)), (agent_id, beyond_its_bounds)):
        async with made.agent_channel(presented, authority) as channel:
            stub = agent_pb2_grpc.AgentServiceStub(channel)
            assert (await failure(stub.Hello(agent_pb2.HelloRequest())))[0] == grpc.StatusCode.UNAVAILABLE


async def test_the_name_in_the_certificate_is_looked_at_even_where_the_handshake_let_it_in(tmp_path: Path) -> None:
    async with shell(tmp_path, cluster_id=str(uuid.uuid4())) as made:
        agent_pb2_grpc.add_AgentServiceServicer_to_server(
            Agents(made.drain),  # type: ignore[abstract]
            made.servers.agent,
        )
        await made.start()
        async with made.agent_channel(str(uuid.uuid4())) as channel:
            told = await failure(agent_pb2_grpc.AgentServiceStub(channel).Hello(agent_pb2.HelloRequest()))
            assert told[:2] == (grpc.StatusCode.UNAUTHENTICATED, "NO_CERTIFICATE")


async def test_the_server_certificate_opens_no_door_for_agents(edge: tuple[Shell, Agents]) -> None:
    made, _ = edge
    assert made.ports is not None
    key = new_key()
    chain = made.authority.issue_server(("localhost",), key.public_key()).chain_pem
    credentials = grpc.ssl_channel_credentials(made.authority.bundle_pem, key_pem(key).reveal(), chain)
    async with aio.secure_channel(f"127.0.0.1:{made.ports.agent}", credentials) as channel:
        stub = agent_pb2_grpc.AgentServiceStub(channel)
        assert (await failure(stub.Hello(agent_pb2.HelloRequest())))[0] == grpc.StatusCode.UNAVAILABLE


async def test_a_revoked_agent_is_refused_at_its_next_call(edge: tuple[Shell, Agents]) -> None:
    made, _ = edge
    agent, _ = enrolled(made)
    made.store.enrol(agent)
    async with made.agent_channel(agent.agent_id) as channel:
        stub = agent_pb2_grpc.AgentServiceStub(channel)
        assert (await stub.Hello(agent_pb2.HelloRequest())).session_id == agent.agent_id
        made.store.revoke_agent(agent.agent_id)
        told = await failure(stub.Hello(agent_pb2.HelloRequest()))
        assert told[:2] == (grpc.StatusCode.UNAUTHENTICATED, "AGENT_REVOKED")
    async with made.agent_channel(str(uuid.uuid4())) as channel:
        told = await failure(agent_pb2_grpc.AgentServiceStub(channel).Hello(agent_pb2.HelloRequest()))
        assert told[:2] == (grpc.StatusCode.UNAUTHENTICATED, "AGENT_REVOKED")


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ((), "NO_TOKEN"),
        ((("authorization", "Bearer wrong"),), "BAD_TOKEN"),
        ((("authorization", "Basic {token}"),), "BAD_TOKEN"),
        ((("authorization", "Bearer {token}"), ("authorization", "Bearer wrong")), "BAD_TOKEN"),
        ((("authorization", "Bearer {token}"),), ""),
        ((("authorization", "bearer {token}"),), ""),
    ],
)
async def test_operators_show_their_token(
    edge: tuple[Shell, Agents], metadata: tuple[tuple[str, str], ...], reason: str
) -> None:
    made, _ = edge
    given = tuple((key, value.format(token=made.operator_token)) for key, value in metadata)
    async with made.operator_channel() as channel:
        stub = operator_pb2_grpc.BackupServiceStub(channel)
        call = stub.GetStatus(operator_pb2.GetStatusRequest(), metadata=given)
        if reason:
            assert (await failure(call))[:2] == (grpc.StatusCode.UNAUTHENTICATED, reason)
        else:
            assert (await call).controller_version == "9"


async def test_errors_carry_their_reason_and_stay_small(
    edge: tuple[Shell, Agents], capsys: pytest.CaptureFixture[str]
) -> None:
    made, _ = edge
    agent, _ = enrolled(made)
    made.store.enrol(agent)
    async with made.agent_channel(agent.agent_id) as channel:
        stub = agent_pb2_grpc.AgentServiceStub(channel)
        code, reason, metadata, message = await failure(stub.Heartbeat(agent_pb2.HeartbeatRequest(session_id="lost")))
        assert (code, reason) == (grpc.StatusCode.ABORTED, "SLOTS_MISSING")
        assert len(message.encode()) <= 2048
        assert message.startswith("long long")
        assert 2048 < len(metadata["slots"].encode()) <= 3072
        code, reason, metadata, message = await failure(stub.Heartbeat(agent_pb2.HeartbeatRequest(session_id="bug")))
        assert (code, reason) == (grpc.StatusCode.INTERNAL, "INTERNAL")
        assert "hunter2" not in message
        logged = capsys.readouterr().err
        assert metadata["error_id"] in logged
        assert "ZeroDivisionError" in logged
        code, _, _, message = await failure(stub.Heartbeat(agent_pb2.HeartbeatRequest()))
        assert (code, message) == (grpc.StatusCode.OUT_OF_RANGE, "as the handler wishes")


async def test_streams_fail_as_unary_calls_do(edge: tuple[Shell, Agents]) -> None:
    made, _ = edge
    async with made.operator_channel() as channel:
        stub = operator_pb2_grpc.BackupServiceStub(channel)
        stream = stub.WatchRuns(operator_pb2.WatchRunsRequest())
        assert (await failure(anext(aiter(stream))))[1] == "NO_TOKEN"
        metadata = (("authorization", f"Bearer {made.operator_token}"),)
        answers = aiter(stub.WatchRuns(operator_pb2.WatchRunsRequest(), metadata=metadata))
        assert await anext(answers) == operator_pb2.WatchRunsResponse()
        assert (await failure(anext(answers)))[:2] == (grpc.StatusCode.NOT_FOUND, "RUN_UNKNOWN")


async def test_a_port_in_use_is_named(edge: tuple[Shell, Agents], tmp_path: Path) -> None:
    made, _ = edge
    assert made.ports is not None
    taken = f"127.0.0.1:{made.ports.agent}"
    async with shell(tmp_path / "second", agent_listen=taken) as second:
        with pytest.raises(Unavailable) as caught:
            await second.start()
    assert caught.value.reason == "PORT_IN_USE"
    assert taken in str(caught.value)
    assert "agent_listen" in str(caught.value)


async def test_sigterm_with_200_open_polls_takes_less_than_a_second(edge: tuple[Shell, Agents]) -> None:
    made, agents = edge
    agent, _ = enrolled(made)
    made.store.enrol(agent)
    made.drain.on_signals()
    channels = [made.agent_channel(agent.agent_id, serial=n) for n in range(10)]
    stubs = [agent_pb2_grpc.AgentServiceStub(channel) for channel in channels]
    polls = [asyncio.ensure_future(stubs[n % 10].Poll(agent_pb2.PollRequest(), timeout=30)) for n in range(200)]
    async with asyncio.timeout(20):
        while agents.polling < 200:
            await asyncio.sleep(0.01)
    async with made.operator_channel() as operator:
        watch = health_pb2_grpc.HealthStub(operator).Watch(health_pb2.HealthCheckRequest())
        health = aiter(watch)
        assert (await anext(health)).status == health_pb2.HealthCheckResponse.SERVING
        began = time.monotonic()
        os.kill(os.getpid(), signal.SIGTERM)
        await made.drain.wait()
        stopping = asyncio.ensure_future(made.servers.stop())
        assert (await anext(health)).status == health_pb2.HealthCheckResponse.NOT_SERVING
        watch.cancel()
        answers = await asyncio.gather(*polls)
        await stopping
        seconds = time.monotonic() - began
    assert [answer.generation for answer in answers] == [7] * 200
    assert seconds < 5.0
    for channel in channels:
        await channel.close(None)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().remove_signal_handler(number)


async def test_a_long_poll_ends_by_condition_time_or_drain() -> None:
    drain = Drain()
    event = asyncio.Event()
    assert await drain.first(event.wait(), 0.0) is False
    event.set()
    assert await drain.first(event.wait(), 60) is True

    async def broken() -> None:
        raise NotFound("RUN_UNKNOWN", "gone")

    with pytest.raises(NotFound):
        await drain.first(broken(), 60)
    drain.refuse_if_started()
    drain.start()
    assert await drain.first(asyncio.Event().wait(), 60) is False
    with pytest.raises(Unavailable) as caught:
        drain.refuse_if_started()
    assert caught.value.reason == "DRAINING"
