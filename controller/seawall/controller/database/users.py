"""Users, and the hashes of their tokens."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from seawall.controller.database.tables import users
from seawall.controller.records.users import Role, User

_STAYS = users.c.removed_us == 0


class UserRows:
    """`Users` in one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def user(self, name: str) -> User | None:
        return self._one(sa.select(users).where(users.c.name == name))

    def users(self, *, removed: bool = False, after: str = "", limit: int | None = None) -> Sequence[User]:
        query = sa.select(users).where(users.c.name > after).order_by(users.c.name).limit(limit)
        return [_user(row) for row in self._connection.execute(query if removed else query.where(_STAYS))]

    def with_token(self, token_sha256: str) -> User | None:
        mine = sa.select(users).where(users.c.token_sha256 == token_sha256, _STAYS)
        return self._one(mine.order_by(users.c.name).limit(1))

    def add(self, user: User) -> None:
        self._connection.execute(sa.insert(users).values(**_values(user)))

    def save(self, before: User, after: User) -> bool:
        same = sa.and_(users.c.name == before.name, users.c.changed_us == before.changed_us)
        return self._connection.execute(sa.update(users).where(same).values(**_values(after))).rowcount == 1

    def _one(self, query: sa.Select[Any]) -> User | None:
        row = self._connection.execute(query).one_or_none()
        return None if row is None else _user(row)


def _values(user: User) -> dict[str, Any]:
    return asdict(user) | {"role": user.role.value}


def _user(row: sa.Row[Any]) -> User:
    return User(**dict(row._mapping) | {"role": Role(row.role)})
