"""Repositories, with their gc rows, creations under way, and secrets."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from seawall.controller.database.columns import dump, load, load_tuple
from seawall.controller.database.names import named
from seawall.controller.database.points import AVAILABLE
from seawall.controller.database.tables import creations, gc, packs, repositories, restore_points, secrets
from seawall.controller.errors import AlreadyExists
from seawall.controller.records.catalogue import (
    Capabilities,
    PackState,
    RepositoryRecord,
    RepositoryTotals,
    Wrapper,
)


class RepositoryRows:
    """`Repositories` in one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def repository(self, repository_id: str) -> RepositoryRecord | None:
        query = sa.select(repositories).where(repositories.c.id == repository_id)
        row = self._connection.execute(query).one_or_none()
        return None if row is None else _record(row)

    def repositories(self, after: str = "", limit: int | None = None) -> Sequence[RepositoryRecord]:
        query = sa.select(repositories).order_by(repositories.c.name).limit(limit)
        if after:
            query = query.where(repositories.c.name > after)
        return [_record(row) for row in self._connection.execute(query)]

    def repositories_named(self, text: str) -> Sequence[RepositoryRecord]:
        query = named(sa.select(repositories), text, repositories.c.id, repositories.c.name)
        return [_record(row) for row in self._connection.execute(query)]

    def add_repository(self, record: RepositoryRecord) -> None:
        values = {column.name: getattr(record, column.name) for column in repositories.c} | {
            "wrappers": dump(record.wrappers),
            "capabilities": dump(record.capabilities),
        }
        try:
            self._connection.execute(sa.insert(repositories).values(**values))
        except IntegrityError as error:
            raise AlreadyExists("NAME_TAKEN", f"There is a repository named {record.name!r} already.") from error
        self._connection.execute(sa.insert(gc).values(repository_id=record.id))

    def set_capabilities(self, repository_id: str, capabilities: Capabilities) -> None:
        change = sa.update(repositories).where(repositories.c.id == repository_id)
        self._connection.execute(change.values(capabilities=dump(capabilities)))

    def totals(self, repository_id: str) -> RepositoryTotals:
        points = sa.select(sa.func.count()).where(AVAILABLE, restore_points.c.repository_id == repository_id)
        # A meta pack is stored twice.
        size = sa.func.sum(packs.c.size_bytes * (1 + packs.c.meta))
        stored = sa.select(sa.func.count(), sa.func.coalesce(size, 0)).where(
            packs.c.repository_id == repository_id, packs.c.state == PackState.STORED.value
        )
        count, stored_bytes = self._connection.execute(stored).one()
        return RepositoryTotals(self._connection.execute(points).scalar_one(), count, int(stored_bytes))

    def secret(self, secret_id: str) -> bytes | None:
        query = sa.select(secrets.c.ciphertext).where(secrets.c.id == secret_id)
        return self._connection.execute(query).scalar_one_or_none()

    def add_secret(self, secret_id: str, ciphertext: bytes) -> None:
        self._connection.execute(sa.insert(secrets).values(id=secret_id, ciphertext=ciphertext))

    def creation(self, url: str) -> bytes | None:
        return self._connection.execute(_CREATIONS.where(creations.c.url == url)).scalar_one_or_none()

    def begin_creation(self, url: str, ciphertext: bytes) -> bytes:
        known = self.creation(url)
        if known is not None:
            return known
        self._connection.execute(sa.insert(creations).values(url=url, ciphertext=ciphertext))
        return ciphertext

    def end_creation(self, url: str) -> None:
        self._connection.execute(sa.delete(creations).where(creations.c.url == url))


_CREATIONS = sa.select(creations.c.ciphertext)


def _record(row: sa.Row[Any]) -> RepositoryRecord:
    values = dict(row._mapping) | {
        "wrappers": load_tuple(Wrapper, row.wrappers),
        "capabilities": load(Capabilities, row.capabilities),
    }
    return RepositoryRecord(**values)
