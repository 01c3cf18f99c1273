"""Packs."""

import json
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from seawall.controller.database.tables import packs
from seawall.controller.records.catalogue import Pack, PackState

SLICE = 500


class PackRows:
    """`Packs` in one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def packs(self, repository_id: str, pack_ids: Sequence[bytes]) -> dict[bytes, Pack]:
        found: dict[bytes, Pack] = {}
        for start in range(0, len(pack_ids), SLICE):
            some = sa.and_(packs.c.repository_id == repository_id, packs.c.id.in_(pack_ids[start : start + SLICE]))
            found |= {row.id: _pack(row) for row in self._connection.execute(sa.select(packs).where(some))}
        return found

    def stored(self, repository_id: str) -> Sequence[Pack]:
        query = sa.select(packs).where(packs.c.repository_id == repository_id, packs.c.state == PackState.STORED.value)
        return [_pack(row) for row in self._connection.execute(query)]

    def add_pack(self, pack: Pack) -> None:
        self._connection.execute(
            sa.insert(packs).values(
                id=pack.id,
                repository_id=pack.repository_id,
                tenant=pack.tenant,
                host_id=pack.host_id,
                attempt_id=pack.attempt_id,
                state=pack.state.value,
                meta=int(pack.meta),
                size_bytes=pack.size_bytes,
                slots=pack.slots,
                verified=int(pack.verified),
                condemned=json.dumps(pack.condemned),
            )
        )

    def reopen(self, repository_id: str, pack_id: bytes, attempt_id: str) -> None:
        self._connection.execute(sa.update(packs).where(_open(repository_id, pack_id)).values(attempt_id=attempt_id))

    def mark_stored(self, repository_id: str, pack_id: bytes, size_bytes: int, slots: int) -> bool:
        values = {"state": PackState.STORED.value, "size_bytes": size_bytes, "slots": slots}
        return (
            self._connection.execute(sa.update(packs).where(_open(repository_id, pack_id)).values(**values)).rowcount
            == 1
        )

    def void(self, repository_id: str, pack_id: bytes) -> bool:
        given_up = sa.update(packs).where(_open(repository_id, pack_id)).values(state=PackState.VOID.value)
        return self._connection.execute(given_up).rowcount == 1


def _open(repository_id: str, pack_id: bytes) -> sa.ColumnElement[bool]:
    return sa.and_(packs.c.repository_id == repository_id, packs.c.id == pack_id, packs.c.state == PackState.OPEN.value)


def _pack(row: sa.Row[Any]) -> Pack:
    values = dict(row._mapping) | {
        "state": PackState(row.state),
        "meta": bool(row.meta),
        "verified": bool(row.verified),
        "condemned": tuple(json.loads(row.condemned)),
    }
    return Pack(**values)
