"""Packs."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from seawall.controller.database.tables import attempts, packs, runs, void_packs
from seawall.controller.records.catalogue import Pack, PackState
from seawall.controller.records.runs import RunState
from seawall.repository.batches import in_batches
from seawall.repository.format.slot_set import SlotSet

OPEN_RUNS = (RunState.READY.value, RunState.ACTIVE.value)


class PackRows:
    """`Packs` in one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def packs(self, repository_id: str, pack_ids: Sequence[bytes]) -> dict[bytes, Pack]:
        found: dict[bytes, Pack] = {}
        for ids in in_batches(pack_ids):
            some = sa.and_(packs.c.repository_id == repository_id, packs.c.id.in_(ids))
            found |= {row.id: _pack(row) for row in self._connection.execute(sa.select(packs).where(some))}
        return found

    def pack_page(self, repository_id: str, after: bytes, limit: int) -> Sequence[Pack]:
        mine = sa.select(packs).where(packs.c.repository_id == repository_id, packs.c.id > after)
        return [_pack(row) for row in self._connection.execute(mine.order_by(packs.c.id).limit(limit))]

    def unseen(self, repository_id: str, limit: int) -> Sequence[Pack]:
        return self._looked(repository_id, packs.c.verified_us == 0, packs.c.id, limit)

    def seen(self, repository_id: str, limit: int) -> Sequence[Pack]:
        whole = self._looked(repository_id, packs.c.verified_us > 0, packs.c.verified_us, limit)
        flawed = self._looked(repository_id, packs.c.verified_us < 0, packs.c.verified_us.desc(), limit)
        return sorted([*whole, *flawed], key=lambda pack: (abs(pack.verified_us), pack.id))[:limit]

    def by_look(self, repository_id: str, limit: int) -> Sequence[Pack]:
        return [*self.unseen(repository_id, limit), *self.seen(repository_id, limit)][:limit]

    def flawed(self, repository_id: str) -> Sequence[Pack]:
        # In the order of the index: by their ids it would read all packs that there are.
        found = self._looked(repository_id, packs.c.verified_us < 0, packs.c.verified_us, None)
        return sorted(found, key=lambda pack: pack.id)

    def _looked(
        self, repository_id: str, when: sa.ColumnElement[bool], order: sa.ColumnElement[Any], limit: int | None
    ) -> list[Pack]:
        """By the index of what is stored."""
        mine = sa.and_(packs.c.repository_id == repository_id, packs.c.state == PackState.STORED.value, when)
        query = sa.select(packs).where(mine).order_by(order, packs.c.id).limit(limit)
        return [_pack(row) for row in self._connection.execute(query)]

    def in_use(self, repository_id: str, pack_ids: Sequence[bytes], since_us: int) -> frozenset[bytes]:
        found: set[bytes] = set()
        # What a run that failed has stored, the next one may find by Lookup. One that succeeded has named all that it needs.
        failed_late = sa.and_(runs.c.state == RunState.FAILED.value, attempts.c.ended_us > since_us)
        recent = sa.or_(runs.c.state.in_(OPEN_RUNS), failed_late)
        joined = packs.join(attempts, attempts.c.id == packs.c.attempt_id).join(runs, runs.c.id == attempts.c.run_id)
        for ids in in_batches(pack_ids):
            some = packs.c.id.in_(ids)
            query = (
                sa.select(packs.c.id).select_from(joined).where(packs.c.repository_id == repository_id, some, recent)
            )
            found.update(self._connection.execute(query).scalars())
        return frozenset(found)

    def add_pack(self, pack: Pack) -> None:
        self._connection.execute(sa.insert(packs).values(**_values(pack)))

    def save_pack(self, before: Pack, after: Pack) -> None:
        changed = {name: value for name, value in _values(after).items() if value != _values(before)[name]}
        if changed:
            mine = sa.and_(packs.c.repository_id == before.repository_id, packs.c.id == before.id)
            self._connection.execute(sa.update(packs).where(mine).values(**changed))

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

    def void_unknown(self, repository_id: str, pack_ids: Sequence[bytes]) -> None:
        for pack_id in set(pack_ids) - self.void_ids(repository_id, pack_ids):
            self._connection.execute(sa.insert(void_packs).values(repository_id=repository_id, id=pack_id))

    def void_ids(self, repository_id: str, pack_ids: Sequence[bytes]) -> frozenset[bytes]:
        found: set[bytes] = set()
        for ids in in_batches(pack_ids):
            some = void_packs.c.id.in_(ids)
            query = sa.select(void_packs.c.id).where(void_packs.c.repository_id == repository_id, some)
            found.update(self._connection.execute(query).scalars())
        return frozenset(found)


def _open(repository_id: str, pack_id: bytes) -> sa.ColumnElement[bool]:
    return sa.and_(packs.c.repository_id == repository_id, packs.c.id == pack_id, packs.c.state == PackState.OPEN.value)


def _values(pack: Pack) -> dict[str, Any]:
    return {field.name: getattr(pack, field.name) for field in dataclasses.fields(pack)} | {
        "state": pack.state.value,
        "meta": int(pack.meta),
        "generation_hash": pack.generation_hash or None,
        "condemned": pack.condemned.encoded or None,
        "bad": pack.bad.encoded or None,
    }


def _pack(row: sa.Row[Any]) -> Pack:
    values = dict(row._mapping) | {
        "state": PackState(row.state),
        "meta": bool(row.meta),
        "generation_hash": row.generation_hash or b"",
        "condemned": SlotSet(row.condemned or b""),
        "bad": SlotSet(row.bad or b""),
    }
    return Pack(**values)
