"""Limits, breakers, groups of VMs that stay apart, and bandwidth."""

from collections.abc import Mapping, Sequence

import sqlalchemy as sa

from seawall.controller.database.tables import apart, breakers, limits, traffic
from seawall.controller.records.limits import Apart, Breaker, Limit, Measure, Scope, ScopeKey, Traffic


class LimitRows:
    """`Limits` in one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def limits(self) -> Sequence[Limit]:
        query = sa.select(limits).order_by(limits.c.scope, limits.c.key, limits.c.measure)
        return [
            Limit(Scope(row.scope), row.key, Measure(row.measure), row.value) for row in self._connection.execute(query)
        ]

    def set_limit(self, limit: Limit) -> None:
        self.unset_limit(limit.scope, limit.key, limit.measure)
        self._connection.execute(sa.insert(limits).values(**limit._asdict()))

    def unset_limit(self, scope: Scope, key: str, measure: Measure) -> bool:
        same = (limits.c.scope == scope, limits.c.key == key, limits.c.measure == measure)
        return self._connection.execute(sa.delete(limits).where(*same)).rowcount > 0

    def breakers(self) -> Sequence[Breaker]:
        query = sa.select(breakers).order_by(breakers.c.scope, breakers.c.key)
        return [_breaker(row) for row in self._connection.execute(query)]

    def breaker(self, where: ScopeKey) -> Breaker | None:
        row = self._connection.execute(sa.select(breakers).where(*_of(where))).one_or_none()
        return None if row is None else _breaker(row)

    def save_breaker(self, breaker: Breaker) -> None:
        self._connection.execute(sa.delete(breakers).where(*_of(ScopeKey(breaker.scope, breaker.key))))
        if breaker.failures:
            values = {name: getattr(breaker, name) for name in breakers.c.keys()}
            self._connection.execute(sa.insert(breakers).values(**values))

    def apart(self) -> Sequence[Apart]:
        query = sa.select(apart).order_by(apart.c.label, apart.c.vm_id)
        return [Apart(row.label, row.vm_id) for row in self._connection.execute(query)]

    def keep_apart(self, label: str, vm_ids: Sequence[str]) -> None:
        self.keep_together(label, vm_ids)
        if vm_ids:
            rows = [{"label": label, "vm_id": vm_id} for vm_id in dict.fromkeys(vm_ids)]
            self._connection.execute(sa.insert(apart), rows)

    def keep_together(self, label: str, vm_ids: Sequence[str]) -> None:
        for vm_id in vm_ids:
            self._connection.execute(sa.delete(apart).where(apart.c.label == label, apart.c.vm_id == vm_id))

    def traffic(self) -> Sequence[Traffic]:
        return [Traffic(**row._mapping) for row in self._connection.execute(sa.select(traffic))]

    def traffic_of(self, host_id: str) -> Traffic | None:
        row = self._connection.execute(sa.select(traffic).where(traffic.c.host_id == host_id)).one_or_none()
        return None if row is None else Traffic(**row._mapping)

    def report_traffic(self, host_id: str, demand: int, rate: int, now_us: int) -> None:
        values = {"demand_bytes_per_second": demand, "rate_bytes_per_second": rate, "reported_us": now_us}
        changed = sa.update(traffic).where(traffic.c.host_id == host_id).values(**values)
        if not self._connection.execute(changed).rowcount:
            self._connection.execute(sa.insert(traffic).values(host_id=host_id, **values))

    def save_shares(self, shares: Mapping[str, int], now_us: int) -> None:
        for host_id, share in shares.items():
            values = {"share_bytes_per_second": share, "share_us": now_us}
            self._connection.execute(sa.update(traffic).where(traffic.c.host_id == host_id).values(**values))


def _of(where: ScopeKey) -> tuple[sa.ColumnElement[bool], ...]:
    return (breakers.c.scope == where.scope, breakers.c.key == where.key)


def _breaker(row: "sa.Row[tuple[object, ...]]") -> Breaker:
    return Breaker(Scope(row.scope), row.key, row.failures, row.last_us, row.reason, row.message)
