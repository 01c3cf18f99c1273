"""The two ports: operators and enrolment on server TLS, agents on mTLS. The composition root adds the services in between."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import grpc
from grpc import aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from seawall.controller.addresses import join_address, split_address
from seawall.controller.certificates.server_certificate import TlsFiles
from seawall.controller.errors import Unavailable
from seawall.controller.server.around import Interceptor
from seawall.controller.server.drain import Drain
from seawall.controller.server.status import status_interceptor

MAX_MESSAGE_BYTES = 4 * 1024 * 1024

# Between the drain and the close of the ports: a call that the server has not looked at yet, or whose answer is on its way, is cut off by
# gRPC's stop whatever its grace.
SETTLE_SECONDS = 0.2

OPTIONS: list[tuple[str, int]] = [
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    # Agents ping each 30 s, also without a call; a server that is stricter than its clients answers with GOAWAY too_many_pings.
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 15_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # Connections end now and then, so that clients look at the name again and spread over replicas.
    ("grpc.max_connection_age_ms", 30 * 60_000),
    ("grpc.max_connection_age_grace_ms", 60_000),
    # What an idle connection keeps for TLS records and for reading, of which a thousand agents have a thousand: 10 KB of 115 less each.
    ("grpc.tsi.max_frame_size", 4096),
    ("grpc.experimental.tcp_max_read_chunk_size", 8192),
    ("grpc.so_reuseport", 0),  # a second controller must fail to bind, not share the port
]


@dataclass(frozen=True, slots=True)
class BoundPorts:
    operator: int
    agent: int


class Servers:
    """Made inside a running event loop. Add services to `operator` and `agent`, then start."""

    def __init__(
        self,
        *,
        operator_listen: str,
        agent_listen: str,
        tls: Callable[[], TlsFiles],
        operator_interceptors: Sequence[Interceptor],
        agent_interceptors: Sequence[Interceptor],
        drain: Drain,
        drain_grace_seconds: float = 10.0,
    ) -> None:
        """`tls` is asked at each handshake, from gRPC's threads: it must be fast and thread-safe."""
        self.operator = aio.server(interceptors=[status_interceptor(), *operator_interceptors], options=OPTIONS)
        self.agent = aio.server(interceptors=[status_interceptor(), *agent_interceptors], options=OPTIONS)
        self._listen = {"operator_listen": operator_listen, "agent_listen": agent_listen}
        self._tls = tls
        self._drain = drain
        self._grace_seconds = drain_grace_seconds
        self._health = health.aio.HealthServicer()  # type: ignore[attr-defined]  # the stubs lack it
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self.operator)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self.agent)

    async def start(self) -> BoundPorts:
        """Bind both, then serve; health says SERVING. Raises Unavailable/PORT_IN_USE naming setting and address."""
        ports = BoundPorts(self._bind_operator(), self._bind_agent())
        await self.operator.start()
        await self.agent.start()
        await self.ready(True)
        return ports

    async def ready(self, ready: bool) -> None:
        """What health says. After `stop` it stays NOT_SERVING."""
        serving = health_pb2.HealthCheckResponse
        await self._health.set("", serving.SERVING if ready else serving.NOT_SERVING)

    async def stop(self) -> None:
        """Health says NOT_SERVING, long-polls are answered, then both ports close; calls that go on are cut off after the grace."""
        await self._health.enter_graceful_shutdown()
        self._drain.start()
        await asyncio.sleep(SETTLE_SECONDS)
        await asyncio.gather(self.operator.stop(self._grace_seconds), self.agent.stop(self._grace_seconds))

    def _bind_operator(self) -> int:
        return self._bind(self.operator, "operator_listen", mutual=False)

    def _bind_agent(self) -> int:
        return self._bind(self.agent, "agent_listen", mutual=True)

    def _bind(self, server: aio.Server, setting: str, *, mutual: bool) -> int:
        address = self._listen[setting]
        host, port = split_address(address)
        try:
            return server.add_secure_port(join_address(host, port), _credentials(self._tls, mutual=mutual))
        except RuntimeError as error:
            raise Unavailable(
                "PORT_IN_USE",
                f"Cannot listen on {address}: in use by another process, or not an address of this machine. See {setting}.",
            ) from error


def _credentials(tls: Callable[[], TlsFiles], *, mutual: bool) -> grpc.ServerCredentials:
    """Credentials that ask for the present certificate at each handshake, so that a renewed one needs no restart.

    gRPC is told only of a certificate that is another one (None: go on with the last). It frees the configuration before while other
    handshakes may just begin with it (grpcio 1.73 to 1.85: a handful of clients that only connect and hang up bring the process
    down with SIGSEGV within a second, if each handshake brings a new one); a renewal comes once in weeks.
    """
    shown = tls()

    def changed() -> grpc.ServerCertificateConfiguration | None:
        nonlocal shown
        files = tls()
        if files is shown:
            return None
        shown = files
        return _configuration(files, mutual=mutual)

    return grpc.dynamic_ssl_server_credentials(
        _configuration(shown, mutual=mutual),
        changed,  # type: ignore[arg-type]  # the stubs do not know None
        require_client_authentication=mutual,
    )


def _configuration(files: TlsFiles, *, mutual: bool) -> grpc.ServerCertificateConfiguration:
    roots = files.client_roots_pem if mutual else None
    return grpc.ssl_server_certificate_configuration(
        [(files.key_pem.reveal(), files.chain_pem)], root_certificates=roots
    )
