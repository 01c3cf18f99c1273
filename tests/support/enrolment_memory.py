"""An EnrolmentStore in memory; tests/contract/test_enrolment_store.py holds it to the port."""

from dataclasses import replace
from threading import Lock

from seawall.controller.enrolment.port import AgentRecord, AgentStatus, JoinTokenRecord
from seawall.controller.errors import AlreadyExists, NotFound, Unauthenticated


class MemoryEnrolmentStore:
    def __init__(self) -> None:
        self._tokens: dict[str, JoinTokenRecord] = {}
        self._agents: dict[str, AgentRecord] = {}
        self._enrolled: dict[tuple[str, bytes], str] = {}
        self._lock = Lock()

    def add_join_token(self, token: JoinTokenRecord) -> None:
        with self._lock:
            if token.token_id in self._tokens:
                raise AlreadyExists("TOKEN_EXISTS", f"There is a join token {token.token_id} already.")
            self._tokens[token.token_id] = token

    def join_token(self, token_id: str) -> JoinTokenRecord | None:
        return self._tokens.get(token_id)

    def enrolled_with(self, token_id: str, public_key_sha256: bytes) -> AgentRecord | None:
        agent_id = self._enrolled.get((token_id, public_key_sha256))
        return None if agent_id is None else self._agents[agent_id]

    def enrol(self, agent: AgentRecord) -> AgentRecord:
        with self._lock:
            token = self._tokens.get(agent.token_id)
            if token is None:
                raise Unauthenticated("TOKEN_UNKNOWN", "No such join token.")
            key = (agent.token_id, agent.public_key_sha256)
            if key in self._enrolled:
                return self._agents[self._enrolled[key]]
            if sum(token_id == agent.token_id for token_id, _ in self._enrolled) >= token.max_uses:
                raise Unauthenticated("TOKEN_USED", "All uses of the join token are taken.")
            self._enrolled[key] = agent.agent_id
            self._agents[agent.agent_id] = agent
            return agent

    def agent(self, agent_id: str) -> AgentRecord | None:
        return self._agents.get(agent_id)

    def record_certificate(
        self, agent_id: str, public_key_sha256: bytes, certificate_pem: bytes, expires_us: int
    ) -> None:
        with self._lock:
            agent = self._agents.get(agent_id)
            if agent is None or agent.status is AgentStatus.REVOKED:
                raise Unauthenticated("AGENT_REVOKED", "The agent is revoked or unknown.")
            self._agents[agent_id] = replace(
                agent,
                public_key_sha256=public_key_sha256,
                certificate_pem=certificate_pem,
                certificate_expires_us=expires_us,
            )

    def revoke_agent(self, agent_id: str) -> None:
        with self._lock:
            if agent_id not in self._agents:
                raise NotFound("AGENT_UNKNOWN", f"No agent {agent_id}.")
            self._agents[agent_id] = replace(self._agents[agent_id], status=AgentStatus.REVOKED)
