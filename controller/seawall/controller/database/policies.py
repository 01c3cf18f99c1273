"""Policies, what is due because of them, their runs, and holds."""

from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import Any

import sqlalchemy as sa

from seawall.controller.database.columns import dump, load
from seawall.controller.database.plain_rows import plain_rows
from seawall.controller.database.points import AVAILABLE, TAKEN_US
from seawall.controller.database.runs import OPEN, OPEN_BACKUP, of_policy
from seawall.controller.database.tables import (
    attempts,
    due_firings,
    holds,
    policies,
    policy_revisions,
    restore_points,
    runs,
)
from seawall.controller.errors import Aborted
from seawall.controller.records.catalogue import PointState
from seawall.controller.records.policies import DueFiring, Hold, Policy, PolicySpec
from seawall.controller.records.runs import WINDOW_ENDED, RunKind, RunState
from seawall.repository.batches import in_batches

SHOWN = (PointState.PUBLISHING.value, PointState.AVAILABLE.value)
_ACTIVE = RunState.ACTIVE.value
DONE = (RunState.SUCCEEDED.value, RunState.SUCCEEDED_WITH_WARNINGS.value)
_WHOLE = sa.select(policies, policy_revisions.c.spec).join(
    policy_revisions,
    sa.and_(policy_revisions.c.policy_id == policies.c.id, policy_revisions.c.revision == policies.c.revision),
)
_VM = sa.select(restore_points.c.vm_id)


class PolicyRows:
    """`Policies` in one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def policies(self, *, deleted: bool = False, after: str = "", limit: int | None = None) -> Sequence[Policy]:
        query = _WHOLE.order_by(policies.c.name).limit(limit)
        if after:
            query = query.where(policies.c.name > after)
        return self._all(query if deleted else query.where(policies.c.deleted_us == 0))

    def policy(self, policy_id: str) -> Policy | None:
        return next(iter(self._all(_WHOLE.where(policies.c.id == policy_id))), None)

    def policy_named(self, name: str) -> Policy | None:
        return next(iter(self._all(_WHOLE.where(policies.c.name == name))), None)

    def revision(self, policy_id: str, revision: int) -> PolicySpec | None:
        mine = sa.and_(policy_revisions.c.policy_id == policy_id, policy_revisions.c.revision == revision)
        spec = self._connection.execute(sa.select(policy_revisions.c.spec).where(mine)).scalar_one_or_none()
        return None if spec is None else load(PolicySpec, spec)

    def add_policy(self, policy: Policy) -> None:
        self._connection.execute(sa.insert(policies).values(id=policy.id, name=policy.name, **_values(policy)))
        self._add_revision(policy)

    def save_policy(self, before: Policy, after: Policy) -> None:
        same = sa.and_(policies.c.id == before.id, policies.c.revision == before.revision)
        if self._connection.execute(sa.update(policies).where(same).values(**_values(after))).rowcount != 1:
            raise Aborted("CHANGED", f"Policy {before.name} changed meanwhile; look at it again.")
        if after.revision != before.revision:
            self._add_revision(after)

    def mark_fired(self, policy_id: str, fired_us: int) -> None:
        self._connection.execute(sa.update(policies).where(policies.c.id == policy_id).values(fired_us=fired_us))

    def fired(self, policy_id: str, vm_ids: Sequence[str], nominal_us: int) -> frozenset[str]:
        found: set[str] = set()
        for ids in in_batches(vm_ids):
            mine = sa.and_(of_policy(policy_id), runs.c.vm_id.in_(ids), runs.c.nominal_us == nominal_us)
            found |= set(self._connection.execute(sa.select(runs.c.vm_id).where(mine)).scalars())
        return frozenset(found)

    def backed_up_since(self, policy_id: str, repository_id: str, since_us: int) -> frozenset[str]:
        point, adopted = restore_points.c, runs.c.deadline_us == runs.c.created_us
        whose = sa.or_(point.policy_id == policy_id, sa.and_(point.policy_id == "", adopted))
        # Of either policy by its own index, as few are so new. Hosts' clocks may be wrong: published then as well.
        new = sa.and_(
            point.policy_id.in_((policy_id, "")), point.published_us >= since_us, point.instant_us >= since_us
        )
        mine = sa.and_(new, AVAILABLE, point.repository_id == repository_id, whose)
        query = sa.select(point.vm_id).join(runs, runs.c.id == point.id).where(mine)
        return frozenset(self._connection.execute(query).scalars())

    def in_the_way(self, policy_id: str, vm_ids: Sequence[str], repository_id: str) -> dict[str, tuple[str, str]]:
        own = runs.c.policy_id == policy_id
        found: dict[str, tuple[str, str]] = {}
        for ids in in_batches(vm_ids):
            some = sa.and_(runs.c.vm_id.in_(ids), runs.c.repository_id == repository_id)
            query = sa.select(runs.c.vm_id, runs.c.id, runs.c.policy_id).where(some, OPEN_BACKUP)
            for row in self._connection.execute(query.where(sa.or_(own, runs.c.state == _ACTIVE))):
                if row.policy_id == policy_id or row.vm_id not in found:
                    found[row.vm_id] = (row.id, row.policy_id)
        return found

    def skipped_since(self, policy_id: str, vm_ids: Sequence[str], run_ids: Sequence[str]) -> frozenset[str]:
        found: set[str] = set()
        oldest = min(run_ids, default="")
        opened = dict(zip(vm_ids, run_ids, strict=True))
        for ids in in_batches(opened):
            some = runs.c.vm_id.in_(ids)
            skipped = sa.and_(runs.c.policy_id == policy_id, runs.c.state == RunState.SKIPPED.value, some)
            query = sa.select(runs.c.vm_id, sa.func.max(runs.c.id).label("last")).where(skipped, runs.c.id > oldest)
            last = {row.vm_id: row.last for row in self._connection.execute(query.group_by(runs.c.vm_id))}
            found |= {vm_id for vm_id, run_id in last.items() if run_id > opened[vm_id]}
        return frozenset(found)

    def open_runs(self, policy_id: str, *, begin_us: int, nominal_us: int, active: bool) -> Sequence[str]:
        early = sa.or_(runs.c.not_before_us < begin_us, runs.c.nominal_us < nominal_us)
        found = sa.and_(runs.c.state == RunState.READY.value, early)
        if active:
            found = sa.or_(found, sa.and_(runs.c.state == RunState.ACTIVE.value, runs.c.cancel_us == 0))
        # The states once more: with them it is an index of the policy that is read, not one of all that waits.
        query = sa.select(runs.c.id).where(of_policy(policy_id), runs.c.state.in_(OPEN), found)
        return self._connection.execute(query.order_by(runs.c.id)).scalars().all()

    def due(self, policy_id: str = "") -> Sequence[DueFiring]:
        query = sa.select(due_firings).order_by(due_firings.c.nominal_us, due_firings.c.policy_id, due_firings.c.vm_id)
        found = self._connection.execute(query.where(due_firings.c.policy_id == policy_id) if policy_id else query)
        return [DueFiring(row.policy_id, row.vm_id, row.nominal_us) for row in found]

    def put_due(self, firing: DueFiring) -> None:
        self.drop_due(firing.policy_id, firing.vm_id)
        values = {"policy_id": firing.policy_id, "vm_id": firing.vm_id, "nominal_us": firing.nominal_us}
        self._connection.execute(sa.insert(due_firings).values(**values))

    def drop_due(self, policy_id: str, vm_id: str = "") -> None:
        gone = sa.delete(due_firings).where(due_firings.c.policy_id == policy_id)
        self._connection.execute(gone.where(due_firings.c.vm_id == vm_id) if vm_id else gone)

    def drop_due_of(self, policy_id: str, vm_ids: Sequence[str]) -> None:
        for ids in in_batches(vm_ids):
            mine = sa.and_(due_firings.c.policy_id == policy_id, due_firings.c.vm_id.in_(ids))
            self._connection.execute(sa.delete(due_firings).where(mine))

    def durations_us(self, vm_ids: Sequence[str], since_us: int) -> dict[str, int]:
        found: dict[str, int] = {}
        for ids in in_batches(vm_ids):
            some = sa.and_(runs.c.vm_id.in_(ids), runs.c.kind == RunKind.BACKUP.value)
            query = sa.select(runs.c.vm_id, sa.func.max(runs.c.id).label("last")).group_by(runs.c.vm_id)
            newest = query.where(some, runs.c.state.in_(DONE), runs.c.ended_us >= since_us).subquery()
            began_us = sa.func.coalesce(attempts.c.created_us, runs.c.created_us)
            took = sa.select(runs.c.vm_id, (runs.c.ended_us - began_us).label("took_us"))
            tried = took.join(newest, newest.c.last == runs.c.id).outerjoin(
                attempts, attempts.c.id == runs.c.current_attempt
            )
            found |= {row.vm_id: row.took_us for row in self._connection.execute(tried)}
        return found

    def cut_off(self, policy_id: str, since_us: int) -> frozenset[str]:
        mine = sa.and_(of_policy(policy_id), runs.c.ended_us >= since_us)
        told = runs.c.warnings.contains(f'"{WINDOW_ENDED}"', autoescape=True)
        ended = self._last(sa.and_(mine, runs.c.state == RunState.CANCELED.value, told))
        done: dict[str, str] = {}
        for ids in in_batches(ended):
            done |= self._last(sa.and_(mine, runs.c.state.in_(DONE), runs.c.vm_id.in_(ids)))
        return frozenset(vm_id for vm_id, run_id in ended.items() if run_id > done.get(vm_id, ""))

    def _last(self, which: sa.ColumnElement[bool]) -> dict[str, str]:
        """VM id -> its newest run of these."""
        query = sa.select(runs.c.vm_id, sa.func.max(runs.c.id)).where(which).group_by(runs.c.vm_id)
        return {row[0]: row[1] for row in self._connection.execute(query)}

    def backed_up(self, policy_id: str, since_us: int) -> list[str]:
        since = sa.and_(restore_points.c.policy_id == policy_id, restore_points.c.published_us >= since_us)
        # Few are so new. With their state in the query SQLite would read all of the policy that are AVAILABLE instead, by their index.
        query = sa.select(restore_points.c.vm_id, restore_points.c.state).where(since)
        found = plain_rows(self._connection, query)
        return sorted({vm_id for vm_id, state in found if state == PointState.AVAILABLE})

    def crowded(self, policy_id: str) -> list[str]:
        mine = sa.and_(restore_points.c.policy_id == policy_id, AVAILABLE)
        grouped = _VM.where(mine).group_by(restore_points.c.vm_id, restore_points.c.repository_id)
        crowded = grouped.having(sa.func.count() > 1).distinct().order_by(restore_points.c.vm_id)
        return list(self._connection.execute(crowded).scalars())

    def newest_us(self, policy_id: str) -> dict[str, int]:
        mine = sa.and_(restore_points.c.policy_id == policy_id, AVAILABLE)
        query = sa.select(restore_points.c.vm_id, sa.func.max(TAKEN_US)).where(mine)
        return {row[0]: row[1] for row in self._connection.execute(query.group_by(restore_points.c.vm_id))}

    def point_ids(self, policy_id: str, vm_id: str = "") -> Sequence[str]:
        mine = sa.and_(restore_points.c.policy_id == policy_id, restore_points.c.state.in_(SHOWN))
        query = sa.select(restore_points.c.id).where(mine)
        if vm_id:
            query = query.where(restore_points.c.vm_id == vm_id)
        return self._connection.execute(query.order_by(restore_points.c.id)).scalars().all()

    def count_points(self, policy_id: str) -> int:
        mine = sa.and_(restore_points.c.policy_id == policy_id, restore_points.c.state.in_(SHOWN))
        return self._connection.execute(sa.select(sa.func.count()).where(mine)).scalar_one()

    def hold(self, hold: Hold) -> None:
        self.release(hold.point_id)
        values = {name: getattr(hold, name) for name in holds.c.keys()}
        self._connection.execute(sa.insert(holds).values(**values))

    def release(self, point_id: str) -> bool:
        return bool(self._connection.execute(sa.delete(holds).where(holds.c.point_id == point_id)).rowcount)

    def drop_holds(self, now_us: int) -> int:
        over = sa.and_(holds.c.until_us > 0, holds.c.until_us <= now_us)
        return int(self._connection.execute(sa.delete(holds).where(over)).rowcount)

    def holds_of(self, point_ids: Collection[str]) -> dict[str, Hold]:
        found: dict[str, Hold] = {}
        for ids in in_batches(point_ids):
            some = holds.c.point_id.in_(ids)
            found |= {
                row.point_id: Hold(**row._mapping) for row in self._connection.execute(sa.select(holds).where(some))
            }
        return found

    def _add_revision(self, policy: Policy) -> None:
        values = {"revision": policy.revision, "spec": dump(policy.spec), "applied_us": policy.changed_us}
        self._connection.execute(sa.insert(policy_revisions).values(policy_id=policy.id, **values))

    def _all(self, query: sa.Select[Any]) -> list[Policy]:
        return [_policy(row) for row in self._connection.execute(query)]


PLAIN = ("revision", "repository_id", "created_us", "changed_us", "fired_us", "deleted_us")


def _values(policy: Policy) -> dict[str, Any]:
    return {name: getattr(policy, name) for name in PLAIN}


def _policy(row: sa.Row[Any]) -> Policy:
    columns = row._mapping
    return Policy(id=row.id, spec=_spec(row.spec), **{name: columns[name] for name in PLAIN})


@lru_cache(maxsize=4096)
def _spec(text: str) -> PolicySpec:
    """Each text is read once: the scheduler asks for all policies at each tick."""
    return load(PolicySpec, text)
