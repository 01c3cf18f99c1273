"""Deciding who gets a certificate: a host with a join token, and an agent whose certificate grows old. Blocking; no gRPC here."""

import hmac
import uuid
from dataclasses import dataclass, field

from seawall.controller.certificates.authority import CertificateAuthority, IssuedCertificate
from seawall.controller.certificates.csr import public_key_of_request, public_key_sha256
from seawall.controller.enrolment.port import AgentRecord, AgentStatus, EnrolmentStore, JoinTokenRecord
from seawall.controller.enrolment.tokens import secret_hash
from seawall.controller.errors import Unauthenticated
from seawall.controller.text import printable
from seawall.repository.clock import Clock, datetime_of


@dataclass(frozen=True, slots=True)
class Application:
    """What a host hands in."""

    token_id: str
    token_secret: str = field(repr=False)
    csr_der: bytes
    host_name: str


class Enrolment:
    """Thread-safe."""

    def __init__(
        self, store: EnrolmentStore, authority: CertificateAuthority, clock: Clock, life_seconds: float
    ) -> None:
        """`life_seconds`: of agents' certificates."""
        self._store = store
        self._authority = authority
        self._clock = clock
        self._life_seconds = life_seconds

    def enrol(self, application: Application) -> AgentRecord:
        """The agent that this token and key stand for; made at the first call, the same at each further one.

        Raises Unauthenticated/TOKEN_UNKNOWN, TOKEN_EXPIRED, TOKEN_USED, AGENT_REVOKED; InvalidArgument/BAD_CSR.
        """
        token = self._proven_token(application)
        if self._clock.now_us() >= token.expires_us:
            message = f"The join token ended at {datetime_of(token.expires_us):%Y-%m-%d %H:%M:%S} UTC; make a new one: seawall host token"
            raise Unauthenticated("TOKEN_EXPIRED", message)
        key = public_key_of_request(application.csr_der)
        fingerprint = public_key_sha256(key)
        agent = self._store.enrolled_with(token.token_id, fingerprint)
        if agent is None:
            agent_id = str(uuid.uuid4())
            issued = self._authority.issue_agent(agent_id, key, self._life_seconds)
            agent = self._store.enrol(
                AgentRecord(
                    agent_id=agent_id,
                    token_id=token.token_id,
                    public_key_sha256=fingerprint,
                    host_name=printable(application.host_name) or "unnamed",
                    certificate_pem=issued.chain_pem,
                    certificate_expires_us=issued.expires_us,
                    enrolled_us=self._clock.now_us(),
                )
            )
        return _not_revoked(agent)

    def renew(self, agent_id: str, csr_der: bytes) -> IssuedCertificate:
        """A new certificate for an agent that showed its present one. The old one stays valid until it ends.

        Raises Unauthenticated/AGENT_REVOKED (also for an agent that this controller does not know); InvalidArgument/BAD_CSR.
        """
        self.check_agent(agent_id)
        key = public_key_of_request(csr_der)
        issued = self._authority.issue_agent(agent_id, key, self._life_seconds)
        self._store.record_certificate(agent_id, public_key_sha256(key), issued.chain_pem, issued.expires_us)
        return issued

    def check_agent(self, agent_id: str) -> None:
        """Raises Unauthenticated/AGENT_REVOKED."""
        _not_revoked(self._store.agent(agent_id))

    def _proven_token(self, application: Application) -> JoinTokenRecord:
        """The token, once the secret fits. An unknown id and a wrong secret look alike, and take alike long."""
        token = self._store.join_token(application.token_id)
        stored = token.secret_sha256 if token else bytes(32)
        if not hmac.compare_digest(stored, secret_hash(application.token_secret)) or token is None:
            raise Unauthenticated(
                "TOKEN_UNKNOWN", "This controller does not know the join token; make a new one: seawall host token"
            )
        return token


def _not_revoked(agent: AgentRecord | None) -> AgentRecord:
    if agent is None or agent.status is AgentStatus.REVOKED:
        raise Unauthenticated(
            "AGENT_REVOKED", "This host's enrolment was revoked or is unknown here; enrol it anew: seawall agent join"
        )
    return agent
