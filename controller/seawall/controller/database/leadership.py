"""The leader row, who else is there, the database's epoch, and the gc rows."""

import dataclasses
from collections.abc import Sequence

import sqlalchemy as sa

from seawall.controller.database.tables import gc, leader, meta, replicas
from seawall.controller.errors import Unavailable
from seawall.controller.records.leadership import Leader, LeaseRow, Replica

NAME = "main"
META = "main"
DAY_US = 86_400 * 1_000_000


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
        return None if taken is None else self._begun(holder, taken)

    def lease(self) -> LeaseRow:
        columns = (getattr(leader.c, each.name) for each in dataclasses.fields(LeaseRow))
        row = self._connection.execute(sa.select(*columns).where(leader.c.name == NAME)).one()
        return LeaseRow(**row._mapping)

    def connected(self, holder: str) -> bool:
        if self._connection.dialect.name != "postgresql":
            return True
        found = sa.text("SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE application_name = :name)")
        return bool(self._connection.execute(found, {"name": connection_name(holder)}).scalar_one())

    def take(self, seen: LeaseRow, replica: Replica, now_us: int, lease_us: int) -> Leader | None:
        same = (leader.c.holder == seen.holder, leader.c.epoch == seen.epoch, leader.c.expires_us == seen.expires_us)
        taken = self._connection.execute(
            sa.update(leader)
            .where(leader.c.name == NAME, *same)
            .values(
                holder=replica.id,
                epoch=leader.c.epoch + 1,
                expires_us=now_us + lease_us,
                operator_address=replica.operator_address,
                agent_address=replica.agent_address,
            )
            .returning(leader.c.epoch)
        ).scalar_one_or_none()
        return None if taken is None else self._begun(replica.id, taken)

    def _begun(self, holder: str, epoch: int) -> Leader:
        """Another history of the server than the last leader's: its last transactions may be gone, so attempts of then are fenced."""
        server = server_of(self._connection)
        timeline = server.partition(" ")[0]
        mine = meta.c.id == META
        before = self._connection.execute(sa.select(meta.c.pg_timeline).where(mine)).scalar_one()
        if before != timeline:
            self._connection.execute(sa.update(meta).where(mine).values(pg_timeline=timeline))
            if before:
                self.raise_db_epoch()
        return Leader(holder, epoch, server)

    def report(self, replica: Replica) -> None:
        values = dataclasses.asdict(replica)
        mine = replicas.c.id == replica.id
        self._connection.execute(sa.delete(replicas).where(replicas.c.seen_us < replica.seen_us - DAY_US))
        if self._connection.execute(sa.update(replicas).where(mine).values(**values)).rowcount == 0:
            self._connection.execute(sa.insert(replicas).values(**values))

    def replicas(self, since_us: int) -> Sequence[Replica]:
        query = sa.select(replicas).where(replicas.c.seen_us >= since_us).order_by(replicas.c.id)
        return [Replica(**row._mapping) for row in self._connection.execute(query)]

    def raise_epoch(self, held: Leader, above: int) -> Leader:
        self.check(held)
        epoch = max(held.epoch, above) + 1
        self._connection.execute(sa.update(leader).where(leader.c.name == NAME).values(epoch=epoch))
        return dataclasses.replace(held, epoch=epoch)

    def renew(self, held: Leader, now_us: int, lease_us: int) -> None:
        changed = sa.update(leader).where(*self._held(held)).values(expires_us=now_us + lease_us)
        _require(self._connection.execute(changed).rowcount)

    def release(self, held: Leader) -> None:
        self._connection.execute(sa.update(leader).where(*self._held(held)).values(holder="", expires_us=0))

    def check(self, held: Leader) -> None:
        _require(len(self._connection.execute(sa.select(leader.c.name).where(*self._held(held))).all()))

    def _held(self, held: Leader) -> tuple[sa.ColumnElement[bool], ...]:
        mine = (leader.c.name == NAME, leader.c.holder == held.holder, leader.c.epoch == held.epoch)
        return (*mine, _SERVER == held.server) if held.server else mine

    def publications(self, repository_id: str) -> int:
        query = sa.select(gc.c.seq).where(gc.c.repository_id == repository_id)
        return int(self._connection.execute(query).scalar_one())

    def raise_publications(self, repository_id: str, to: int) -> None:
        behind = sa.and_(gc.c.repository_id == repository_id, gc.c.seq < to)
        self._connection.execute(sa.update(gc).where(behind).values(seq=to))

    def opened_epoch(self, repository_id: str) -> int:
        query = sa.select(gc.c.opened_epoch).where(gc.c.repository_id == repository_id)
        return int(self._connection.execute(query).scalar_one())

    def note_opening(self, repository_id: str, epoch: int) -> None:
        mine = gc.c.repository_id == repository_id
        self._connection.execute(sa.update(gc).where(mine).values(opened_epoch=epoch))

    def order_publication(self, held: Leader, repository_id: str) -> int:
        still = sa.exists(sa.select(leader.c.name).where(*self._held(held)))
        changed = sa.update(gc).where(gc.c.repository_id == repository_id, still).values(seq=gc.c.seq + 1)
        found = self._connection.execute(changed.returning(gc.c.seq)).all()
        _require(len(found))
        return int(found[0].seq)


def server_of(connection: sa.Connection) -> str:
    """ "<timeline> <start>" of a PostgreSQL server: the first changes when a standby is promoted, the second when it starts. Else ""."""
    if connection.dialect.name != "postgresql":
        return ""
    return str(connection.execute(sa.select(_SERVER)).scalar_one())


def connection_name(holder: str) -> str:
    """How the connections of a controller are called on the server. At most 63 characters."""
    return f"seawall {holder}" if holder else "seawall"


_TIMELINE = sa.func.substr(sa.func.pg_walfile_name(sa.func.pg_current_wal_lsn()), 1, 8)
_STARTED = sa.func.to_char(sa.func.pg_postmaster_start_time(), "YYYYMMDDHH24MISSUS")
_SERVER = _TIMELINE.concat(" ").concat(_STARTED)


def _require(rows: int) -> None:
    if rows != 1:
        raise Unavailable("NOT_LEADER", "Another controller leads now; the caller's next try reaches it.")
