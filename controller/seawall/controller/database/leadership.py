"""The leader row, the database's epoch, and the gc rows."""

import sqlalchemy as sa

from seawall.controller.database.tables import gc, leader, meta
from seawall.controller.errors import Unavailable
from seawall.controller.store import Leader

NAME = "main"
META = "main"


class LeadershipRows:
    """`Leadership` in one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def db_epoch(self) -> int:
        return int(self._connection.execute(sa.select(meta.c.db_epoch).where(meta.c.id == META)).scalar_one())

    def raise_db_epoch(self) -> int:
        self._connection.execute(sa.update(meta).where(meta.c.id == META).values(db_epoch=meta.c.db_epoch + 1))
        return self.db_epoch()

    def acquire(self, holder: str, now_us: int, lease_us: int) -> Leader | None:
        free = sa.or_(leader.c.expires_us <= now_us, leader.c.holder == holder, leader.c.holder == "")
        taken = self._connection.execute(
            sa.update(leader)
            .where(leader.c.name == NAME, free)
            .values(holder=holder, epoch=leader.c.epoch + 1, expires_us=now_us + lease_us)
            .returning(leader.c.epoch)
        ).scalar_one_or_none()
        return None if taken is None else Leader(holder, taken)

    def raise_epoch(self, held: Leader, above: int) -> Leader:
        self.check(held)
        epoch = max(held.epoch, above) + 1
        self._connection.execute(sa.update(leader).where(leader.c.name == NAME).values(epoch=epoch))
        return Leader(held.holder, epoch)

    def renew(self, held: Leader, now_us: int, lease_us: int) -> None:
        changed = sa.update(leader).where(*_held(held)).values(expires_us=now_us + lease_us)
        _require(self._connection.execute(changed).rowcount)

    def release(self, held: Leader) -> None:
        self._connection.execute(sa.update(leader).where(*_held(held)).values(holder="", expires_us=0))

    def check(self, held: Leader) -> None:
        _require(len(self._connection.execute(sa.select(leader.c.name).where(*_held(held))).all()))

    def publications(self, repository_id: str) -> int:
        query = sa.select(gc.c.seq).where(gc.c.repository_id == repository_id)
        return int(self._connection.execute(query).scalar_one())

    def raise_publications(self, repository_id: str, to: int) -> None:
        behind = sa.and_(gc.c.repository_id == repository_id, gc.c.seq < to)
        self._connection.execute(sa.update(gc).where(behind).values(seq=to))

    def order_publication(self, held: Leader, repository_id: str) -> int:
        still = sa.exists(sa.select(leader.c.name).where(*_held(held)))
        changed = sa.update(gc).where(gc.c.repository_id == repository_id, still).values(seq=gc.c.seq + 1)
        found = self._connection.execute(changed.returning(gc.c.seq)).all()
        _require(len(found))
        return int(found[0].seq)


def _held(held: Leader) -> tuple[sa.ColumnElement[bool], ...]:
    return (leader.c.name == NAME, leader.c.holder == held.holder, leader.c.epoch == held.epoch)


def _require(rows: int) -> None:
    if rows != 1:
        raise Unavailable("NOT_LEADER", "Another controller leads now; the caller's next try reaches it.")
