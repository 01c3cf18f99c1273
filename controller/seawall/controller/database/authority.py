"""The certificate authority's one row, and a row for each agent that said what it trusts."""

from collections.abc import Mapping

import sqlalchemy as sa

from seawall.controller.certificates.state import AuthorityState
from seawall.controller.database.columns import dump, load
from seawall.controller.database.tables import agents, authority, authority_said, join_tokens
from seawall.controller.store.authority import Said
from seawall.repository.batches import in_batches

NAME = "main"


class AuthorityRows:
    """`Authority` in one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def state(self) -> AuthorityState | None:
        query = sa.select(authority.c.body).where(authority.c.name == NAME)
        body = self._connection.execute(query).scalar_one_or_none()
        return None if body is None else load(AuthorityState, body)

    def save(self, state: AuthorityState, before: int) -> bool:
        values = {"version": state.version, "body": dump(state)}
        if not before:
            if self.state() is not None:
                return False
            self._connection.execute(sa.insert(authority).values(name=NAME, **values))
            return True
        mine = sa.and_(authority.c.name == NAME, authority.c.version == before)
        return self._connection.execute(sa.update(authority).where(mine).values(**values)).rowcount == 1

    def note(self, said: Mapping[str, Said], now_us: int) -> None:
        for some in in_batches(list(said)):
            known = self._connection.execute(sa.select(agents.c.id).where(agents.c.id.in_(some))).scalars().all()
            self._connection.execute(sa.delete(authority_said).where(authority_said.c.agent_id.in_(known)))
            rows = [
                {
                    "agent_id": each,
                    "trusts": " ".join(sorted(said[each].trusts)),
                    "shows": said[each].shows,
                    "said_us": now_us,
                }
                for each in known
            ]
            if rows:
                self._connection.execute(sa.insert(authority_said), rows)

    def said(self) -> Mapping[str, Said]:
        query = sa.select(authority_said)
        return {row.agent_id: Said(frozenset(row.trusts.split()), row.shows) for row in self._connection.execute(query)}

    def open_tokens(self, now_us: int) -> int:
        fresh = sa.and_(join_tokens.c.expires_us > now_us, join_tokens.c.uses < join_tokens.c.max_uses)
        query = sa.select(sa.func.count()).select_from(join_tokens).where(fresh)
        return int(self._connection.execute(query).scalar_one())
