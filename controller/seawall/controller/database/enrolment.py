"""Join tokens and agents: enrolment's port over the controller's database. Each method is one transaction."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from seawall.controller.database.database import Database
from seawall.controller.database.tables import agents, hosts, join_tokens
from seawall.controller.enrolment.port import AgentRecord, AgentStatus, JoinTokenRecord
from seawall.controller.errors import AlreadyExists, NotFound, Unauthenticated


class DatabaseEnrolment:
    """An `EnrolmentStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add_join_token(self, token: JoinTokenRecord) -> None:
        values = {
            "id": token.token_id,
            "secret_sha256": token.secret_sha256,
            "created_us": token.created_us,
            "expires_us": token.expires_us,
            "max_uses": token.max_uses,
        }
        try:
            self._database.write_sql(lambda connection: connection.execute(sa.insert(join_tokens).values(**values)))
        except IntegrityError as error:
            raise AlreadyExists("TOKEN_EXISTS", f"There is a join token {token.token_id} already.") from error

    def join_token(self, token_id: str) -> JoinTokenRecord | None:
        row = self._one(sa.select(join_tokens).where(join_tokens.c.id == token_id))
        if row is None:
            return None
        return JoinTokenRecord(row.id, row.secret_sha256, row.created_us, row.expires_us, row.max_uses)

    def enrolled_with(self, token_id: str, public_key_sha256: bytes) -> AgentRecord | None:
        row = self._one(_with_key(token_id, public_key_sha256))
        return None if row is None else _agent(row)

    def enrol(self, agent: AgentRecord) -> AgentRecord:
        return self._database.write_sql(lambda connection: _enrol(connection, agent))

    def agent(self, agent_id: str) -> AgentRecord | None:
        row = self._one(_AGENTS.where(agents.c.id == agent_id))
        return None if row is None else _agent(row)

    def record_certificate(
        self, agent_id: str, public_key_sha256: bytes, certificate_pem: bytes, expires_us: int
    ) -> None:
        active = sa.and_(agents.c.id == agent_id, agents.c.status == AgentStatus.ACTIVE.value)
        changed = sa.update(agents).where(active)
        changed = changed.values(
            public_key_sha256=public_key_sha256, certificate_pem=certificate_pem, certificate_expires_us=expires_us
        )
        if self._database.write_sql(lambda connection: connection.execute(changed).rowcount) != 1:
            raise Unauthenticated("AGENT_REVOKED", f"The agent {agent_id} is revoked or unknown; join again.")

    def revoke_agent(self, agent_id: str) -> None:
        changed = sa.update(agents).where(agents.c.id == agent_id).values(status=AgentStatus.REVOKED.value)
        if self._database.write_sql(lambda connection: connection.execute(changed).rowcount) != 1:
            raise NotFound("AGENT_UNKNOWN", f"There is no agent {agent_id}.")

    def _one(self, query: sa.Select[Any]) -> sa.Row[Any] | None:
        return self._database.read_sql(lambda connection: connection.execute(query).one_or_none())


_AGENTS = sa.select(agents, hosts.c.name.label("host_name")).join(hosts, hosts.c.id == agents.c.id)


def _with_key(token_id: str, public_key_sha256: bytes) -> sa.Select[Any]:
    return _AGENTS.where(agents.c.token_id == token_id, agents.c.first_key_sha256 == public_key_sha256)


def _enrol(connection: sa.Connection, agent: AgentRecord) -> AgentRecord:
    known = connection.execute(_with_key(agent.token_id, agent.public_key_sha256)).one_or_none()
    if known is not None:
        return _agent(known)
    _use_token(connection, agent.token_id)
    connection.execute(
        sa.insert(agents).values(
            id=agent.agent_id,
            token_id=agent.token_id,
            first_key_sha256=agent.public_key_sha256,
            public_key_sha256=agent.public_key_sha256,
            certificate_pem=agent.certificate_pem,
            certificate_expires_us=agent.certificate_expires_us,
            enrolled_us=agent.enrolled_us,
            status=agent.status.value,
        )
    )
    connection.execute(sa.insert(hosts).values(id=agent.agent_id, name=agent.host_name))
    return agent


def _use_token(connection: sa.Connection, token_id: str) -> None:
    mine = join_tokens.c.id == token_id
    used = sa.update(join_tokens).where(mine, join_tokens.c.uses < join_tokens.c.max_uses)
    if connection.execute(used.values(uses=join_tokens.c.uses + 1)).rowcount == 1:
        return
    if connection.execute(sa.select(join_tokens.c.id).where(mine)).one_or_none() is None:
        raise Unauthenticated("TOKEN_UNKNOWN", "There is no such join token; make a new one.")
    raise Unauthenticated("TOKEN_USED", "The join token was used by other hosts; make a new one.")


def _agent(row: sa.Row[Any]) -> AgentRecord:
    return AgentRecord(
        agent_id=row.id,
        token_id=row.token_id,
        public_key_sha256=row.public_key_sha256,
        host_name=row.host_name,
        certificate_pem=row.certificate_pem,
        certificate_expires_us=row.certificate_expires_us,
        enrolled_us=row.enrolled_us,
        status=AgentStatus(row.status),
    )
