"""The controller's server shell on loopback, with real certificates, real ports, and services as small as the test needs."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from grpc import aio

from seawall.api.v1 import enroll_pb2_grpc
from seawall.controller.certificates.authority import CertificateAuthority
from seawall.controller.certificates.generation import key_pem, new_key
from seawall.controller.certificates.server_certificate import ServerCertificate
from seawall.controller.config import ControllerConfig
from seawall.controller.enrolment.enrol import Enrolment
from seawall.controller.enrolment.nonces import Nonces
from seawall.controller.enrolment.recover import Recovery
from seawall.controller.enrolment.service import EnrollServicer
from seawall.controller.enrolment.tries import WrongTries
from seawall.controller.initialise import initialise, load_operator_token_hashes
from seawall.controller.operator_access import OperatorAccess
from seawall.controller.secrets import SecretBox
from seawall.controller.server.auth import agent_auth, operator_auth
from seawall.controller.server.callers import Callers
from seawall.controller.server.drain import Drain
from seawall.controller.server.ports import BoundPorts, Servers
from seawall.controller.server.revocation import RevocationCheck
from seawall.repository.clock import SystemClock
from support.enrolment_memory import MemoryEnrolmentStore


def csr_of(key: ec.EllipticCurvePrivateKey) -> bytes:
    """PKCS#10, DER."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


@dataclass
class Shell:
    """A controller's edge. `servers` takes further services until `start`."""

    config: ControllerConfig
    authority: CertificateAuthority
    store: MemoryEnrolmentStore
    enrolment: Enrolment
    servers: Servers
    drain: Drain
    certificate: ServerCertificate
    ports: BoundPorts | None = None

    @property
    def operator_token(self) -> str:
        return OperatorAccess.parse(self.config.operator_toml.read_text()).token.reveal().decode()

    async def start(self) -> None:
        self.ports = await self.servers.start()

    def operator_channel(self) -> aio.Channel:
        assert self.ports is not None
        credentials = grpc.ssl_channel_credentials(self.authority.bundle_pem)
        return aio.secure_channel(f"127.0.0.1:{self.ports.operator}", credentials)

    def agent_channel(
        self, agent_id: str | None, authority: CertificateAuthority | None = None, serial: int = 0
    ) -> aio.Channel:
        """As that agent, or without a certificate. Channels of different `serial` share no connection."""
        assert self.ports is not None
        if agent_id is None:
            credentials = grpc.ssl_channel_credentials(self.authority.bundle_pem)
        else:
            key = new_key()
            chain = (authority or self.authority).issue_agent(agent_id, key.public_key(), 3600).chain_pem
            credentials = grpc.ssl_channel_credentials(self.authority.bundle_pem, key_pem(key).reveal(), chain)
        return aio.secure_channel(f"127.0.0.1:{self.ports.agent}", credentials, [("seawall.serial", serial)])


def authority_of(config: ControllerConfig) -> CertificateAuthority:
    return CertificateAuthority.load(config.paths, SecretBox.from_file(config.paths.kek), SystemClock())


async def no_users() -> tuple[()]:
    """But for the first operator."""
    return ()


@asynccontextmanager
async def shell(
    state_dir: Path, agent_listen: str = "127.0.0.1:0", remember_seconds: float = 0.0, cluster_id: str | None = None
) -> AsyncIterator[Shell]:
    """Not started; stopped at the end without grace. `cluster_id`: whose agents it lets in; its own if None."""
    clock = SystemClock()
    config = ControllerConfig(
        state_dir=state_dir,
        agent_listen=agent_listen,
        operator_listen="127.0.0.1:0",
        agent_address="127.0.0.1:7441",
        enrol_address="127.0.0.1:7440",
    )
    initialise(config, clock)
    authority, store, drain = authority_of(config), MemoryEnrolmentStore(), Drain()
    box = SecretBox.from_file(config.paths.kek)
    certificate = ServerCertificate(config.paths.server_certificate, authority, box, config.certificate_names, clock)
    enrolment = Enrolment(store, authority, clock, config.timings.agent_certificate_seconds)
    check = RevocationCheck(enrolment.check_agent, clock, remember_seconds)
    servers = Servers(
        operator_listen=config.operator_listen,
        agent_listen=config.agent_listen,
        tls=certificate.current,
        operator_interceptors=[operator_auth(Callers(load_operator_token_hashes(config.paths), no_users, clock))],
        agent_interceptors=[agent_auth(cluster_id or authority.cluster_id, authority.root_above, check)],
        drain=drain,
    )
    servicer = EnrollServicer(
        enrolment,
        Recovery(store, enrolment, Nonces(clock)),
        WrongTries(clock),
        bundle=lambda: authority.bundle_pem,
        agent_address=config.dialled_by_agents,
    )
    enroll_pb2_grpc.add_EnrollServiceServicer_to_server(servicer, servers.operator)
    try:
        yield Shell(config, authority, store, enrolment, servers, drain, certificate)
    finally:
        await servers.operator.stop(None)
        await servers.agent.stop(None)
