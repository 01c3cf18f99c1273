"""What enrolment asks of the database. Implemented by the controller's Store and, in tests, in memory; one contract holds both."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


@dataclass(frozen=True, slots=True)
class JoinTokenRecord:
    """A token as stored: never its secret."""

    token_id: str
    secret_sha256: bytes
    """32 bytes."""
    created_us: int
    expires_us: int
    max_uses: int


class AgentStatus(StrEnum):
    ACTIVE = "ACTIVE"
    REVOKED = "REVOKED"


@dataclass(frozen=True, slots=True)
class AgentRecord:
    """An enrolled host. `agent_id` is also the host's id."""

    agent_id: str
    """UUID."""
    token_id: str
    public_key_sha256: bytes
    """Of the SubjectPublicKeyInfo DER of the newest certificate, 32 bytes."""
    host_name: str
    """As the host called itself; for people."""
    certificate_pem: bytes
    """The newest certificate, with its chain."""
    certificate_expires_us: int
    enrolled_us: int
    status: AgentStatus = AgentStatus.ACTIVE


class EnrolmentStore(Protocol):
    """Blocking and thread-safe; called from worker threads. Each method is one transaction, durable when it returns."""

    def add_join_token(self, token: JoinTokenRecord) -> None:
        """Raises AlreadyExists/TOKEN_EXISTS when the id is taken."""

    def join_token(self, token_id: str) -> JoinTokenRecord | None: ...

    def enrolled_with(self, token_id: str, public_key_sha256: bytes) -> AgentRecord | None:
        """The agent that first enrolled with this token and this key, whatever its certificate and status are now."""

    def enrol(self, agent: AgentRecord) -> AgentRecord:
        """Use the token once and add the agent and its host, or, when this token and key enrolled before, change nothing and return that
        agent: of several callers at once exactly one wins and all get its record. Does not look at the token's expiry.

        Raises Unauthenticated/TOKEN_UNKNOWN, TOKEN_USED (all uses are taken by other keys).
        """

    def agent(self, agent_id: str) -> AgentRecord | None: ...

    def record_certificate(
        self, agent_id: str, public_key_sha256: bytes, certificate_pem: bytes, expires_us: int
    ) -> None:
        """The newest certificate of an agent. Raises Unauthenticated/AGENT_REVOKED when the agent is unknown or revoked by now."""

    def revoke_agent(self, agent_id: str) -> None:
        """For ever; repeatable. Raises NotFound/AGENT_UNKNOWN."""
