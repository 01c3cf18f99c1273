"""Restore points."""

import dataclasses
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import sqlalchemy as sa

from seawall.controller.database.columns import dump, load_tuple
from seawall.controller.database.names import named
from seawall.controller.database.plain_rows import pairs
from seawall.controller.database.tables import restore_points, runs
from seawall.controller.errors import Aborted
from seawall.controller.records.catalogue import (
    Intent,
    Point,
    PointDisk,
    PointMark,
    PointMember,
    PointState,
    PointTotals,
)
from seawall.controller.records.runs import RunWarning
from seawall.repository.batches import in_batches

# Intents can be megabytes: all but the point itself leave them out.
BRIEF = sa.select(*(column for column in restore_points.c if not column.name.startswith("intent_")))
HIDDEN = (PointState.FAILED.value, PointState.DELETING.value, PointState.DELETED.value)
LISTED = BRIEF.where(restore_points.c.state.not_in(HIDDEN))
WHOLE = sa.select(restore_points)
AVAILABLE = restore_points.c.state == sa.literal_column("'AVAILABLE'")
"""Here and below in the words of the indexes of some points: SQLite does not see that parameters say the same, and would not take them."""
ROOT = sa.text("restore_points.state IN ('PUBLISHING', 'AVAILABLE', 'DELETING')")
_FLAWED = sa.text("(restore_points.damaged <> '' OR restore_points.verified_us < 0)")
_UNDAMAGED, _NOT_PROVED = sa.text("restore_points.damaged = ''"), sa.text("restore_points.verified_us <= 0")
TAKEN_US = sa.case(
    (restore_points.c.instant_us < restore_points.c.published_us, restore_points.c.instant_us),
    else_=restore_points.c.published_us,
)
"""A point's instant as far as it may be believed: a host's clock that is ahead makes none that is younger than its publication."""
PUBLISHING = restore_points.c.state == PointState.PUBLISHING.value
MARKS_AT_ONCE = 1000
_MARK_ORDER = (restore_points.c.vm_name, restore_points.c.vm_id, restore_points.c.repository_id, restore_points.c.id)
_MARK = [restore_points.c[field.name] for field in dataclasses.fields(PointMark) if field.name != "nominal_us"]
WITH_RUN = restore_points.outerjoin(runs, runs.c.id == restore_points.c.id)
"""A point has the id of the run that made it, which says when that was due."""


class PointRows:
    """`Points` in one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def point(self, point_id: str) -> Point | None:
        row = self._connection.execute(WHOLE.where(restore_points.c.id == point_id)).one_or_none()
        return None if row is None else _point(row)

    def points_named(self, text: str) -> Sequence[Point]:
        return self._all(named(LISTED, text, restore_points.c.id))

    def points(
        self, *, before: str = "", limit: int = 1000, vm_id: str = "", repository_id: str = "", policy_id: str = ""
    ) -> Sequence[Point]:
        query = LISTED.order_by(restore_points.c.id.desc()).limit(limit)
        if before:
            query = query.where(restore_points.c.id < before)
        if vm_id:
            query = query.where(restore_points.c.vm_id == vm_id)
        if repository_id:
            query = query.where(restore_points.c.repository_id == repository_id, ROOT)
        if policy_id:
            query = query.where(restore_points.c.policy_id == policy_id)
        return self._all(query)

    def points_of(self, point_ids: Sequence[str]) -> Sequence[Point]:
        return [
            point for ids in in_batches(point_ids) for point in self._all(LISTED.where(restore_points.c.id.in_(ids)))
        ]

    def marks(self, policy_id: str, vm_ids: Collection[str] = ()) -> Iterator[PointMark]:
        mine = sa.and_(restore_points.c.policy_id == policy_id, restore_points.c.state.not_in(HIDDEN))
        if vm_ids:
            mine = sa.and_(mine, restore_points.c.vm_id.in_(list(vm_ids)))
        query = sa.select(*_MARK, runs.c.nominal_us).select_from(WITH_RUN).where(mine).order_by(*_MARK_ORDER)
        for row in self._connection.execute(query, execution_options={"yield_per": MARKS_AT_ONCE}):
            yield PointMark(
                id=row.id,
                vm_id=row.vm_id,
                vm_name=row.vm_name,
                repository_id=row.repository_id,
                state=PointState(row.state),
                seq=row.seq,
                instant_us=row.instant_us,
                damaged=row.damaged != "",
                nominal_us=row.nominal_us or 0,
            )

    def nominal_us(self, point_ids: Sequence[str]) -> dict[str, int]:
        found: dict[str, int] = {}
        for ids in in_batches(point_ids):
            due = sa.select(runs.c.id, runs.c.nominal_us).where(runs.c.id.in_(ids), runs.c.nominal_us > 0)
            found |= {row.id: row.nominal_us for row in self._connection.execute(due)}
        return found

    def newest(self, vm_id: str, repository_id: str, tenant: str = "") -> Point | None:
        here = sa.and_(restore_points.c.vm_id == vm_id, restore_points.c.repository_id == repository_id)
        if tenant:
            here = sa.and_(here, restore_points.c.tenant == tenant)
        found = self._all(LISTED.where(here, AVAILABLE).order_by(restore_points.c.seq.desc()).limit(1))
        return found[0] if found else None

    def newest_of_vms(self, vm_ids: Sequence[str]) -> dict[str, Point]:
        found: dict[str, Point] = {}
        for ids in in_batches(vm_ids):
            some = restore_points.c.vm_id.in_(ids)
            newest = sa.select(sa.func.max(restore_points.c.id)).where(AVAILABLE, some).group_by(restore_points.c.vm_id)
            found |= {point.vm_id: point for point in self._all(LISTED.where(restore_points.c.id.in_(newest)))}
        return found

    def newest_since(self, published_us: int) -> dict[str, dict[str, int]]:
        if not published_us:
            return self._newest(AVAILABLE)
        return self._newest_of(restore_points.c.published_us >= published_us, (PointState.AVAILABLE,))

    def given_up_since(self, deleted_us: int) -> dict[str, dict[str, int]]:
        return self._newest_of(restore_points.c.deleted_us >= max(deleted_us, 1), tuple(PointState))

    def newest_of_policy(self, policy_id: str, vm_ids: Sequence[str]) -> dict[str, int]:
        found: dict[str, int] = {}
        for ids in in_batches(vm_ids):
            some = sa.and_(restore_points.c.policy_id == policy_id, restore_points.c.vm_id.in_(ids))
            found |= self._newest(sa.and_(AVAILABLE, some)).get(policy_id, {})
        return found

    def _newest_of(self, few: sa.ColumnElement[bool], states: Sequence[PointState]) -> dict[str, dict[str, int]]:
        """Rows that one index finds. Asked at each look: a state or a grouping in the query would have SQLite read all points by the index
        of that instead (75 ms for 200,000)."""
        columns = (restore_points.c.policy_id, restore_points.c.vm_id, restore_points.c.state, TAKEN_US)
        wanted, found = {state.value for state in states}, dict[str, dict[str, int]]()
        for policy_id, vm_id, state, taken_us in self._connection.execute(sa.select(*columns).where(few)):
            if state in wanted:
                of_policy = found.setdefault(policy_id, {})
                of_policy[vm_id] = max(taken_us, of_policy.get(vm_id, 0))
        return found

    def _newest(self, which: sa.ColumnElement[bool]) -> dict[str, dict[str, int]]:
        query = sa.select(restore_points.c.policy_id, restore_points.c.vm_id, sa.func.max(TAKEN_US)).where(which)
        found: dict[str, dict[str, int]] = {}
        for row in self._connection.execute(query.group_by(restore_points.c.policy_id, restore_points.c.vm_id)):
            found.setdefault(row[0], {})[row[1]] = row[2]
        return found

    def unfinished(self) -> dict[str, str]:
        return self._places(PUBLISHING)

    def add_point(self, point: Point) -> None:
        self._connection.execute(sa.insert(restore_points).values(**_values(point)))

    def make_available(self, point_id: str, published_us: int) -> None:
        self._settle(point_id, PointState.AVAILABLE, published_us)

    def give_up(self, point_id: str) -> None:
        self._settle(point_id, PointState.FAILED, 0)

    def given_up(self, repository_id: str) -> Sequence[Point]:
        failed = restore_points.c.state == PointState.FAILED.value
        mine = BRIEF.where(restore_points.c.repository_id == repository_id, failed)
        return self._all(mine.order_by(restore_points.c.id))

    def take_back(self, point_id: str, published_us: int) -> None:
        self._move(point_id, PointState.FAILED, PointState.AVAILABLE, published_us=published_us)

    def roots(self, repository_id: str, *, after: str = "", limit: int = 1000, since_seq: int = 0) -> Sequence[Point]:
        mine: sa.ColumnElement[bool] = sa.and_(restore_points.c.repository_id == repository_id, ROOT)
        if since_seq:
            late = sa.select(restore_points.c.id).where(mine, restore_points.c.seq > since_seq)
            mine = restore_points.c.id.in_(late)
        query = BRIEF.where(mine, restore_points.c.id > after)
        return self._all(query.order_by(restore_points.c.id).limit(limit))

    def root_ids(self, repository_id: str) -> Collection[str]:
        return self._places(sa.and_(restore_points.c.repository_id == repository_id, ROOT)).keys()

    def unrefuted_ids(self, repository_id: str) -> Collection[str]:
        mine = sa.and_(restore_points.c.repository_id == repository_id, AVAILABLE, restore_points.c.verified_us >= 0)
        return self._places(mine).keys()

    def begin_delete(self, point_id: str, tombstone: bytes, now_us: int) -> None:
        self._move(point_id, PointState.AVAILABLE, PointState.DELETING, tombstone=tombstone, deleted_us=now_us)

    def end_delete(self, point_id: str, now_us: int) -> None:
        self._move(point_id, PointState.DELETING, PointState.DELETED, deleted_us=now_us)

    def deleting(self, repository_id: str = "") -> dict[str, str]:
        mine = restore_points.c.repository_id == repository_id if repository_id else sa.true()
        return self._places(sa.and_(restore_points.c.state == PointState.DELETING.value, mine))

    def mark_damaged(self, point_id: str, damaged: str) -> None:
        self._connection.execute(
            sa.update(restore_points).where(restore_points.c.id == point_id).values(damaged=damaged)
        )

    def unproven(self, repository_id: str, limit: int, *, again: bool = False) -> Sequence[Point]:
        mine = BRIEF.where(restore_points.c.repository_id == repository_id, AVAILABLE, _UNDAMAGED, _NOT_PROVED)
        due = mine if again else mine.where(restore_points.c.verified_us == 0)
        return self._all(due.order_by(restore_points.c.vm_id, restore_points.c.seq).limit(limit))

    def newest_proven(self, repository_id: str, vm_id: str) -> Point | None:
        mine = sa.and_(restore_points.c.repository_id == repository_id, restore_points.c.vm_id == vm_id)
        whole = sa.and_(AVAILABLE, restore_points.c.verified_us > 0, restore_points.c.damaged == "")
        found = self._all(BRIEF.where(mine, whole).order_by(restore_points.c.seq.desc()).limit(1))
        return found[0] if found else None

    def mark_proved(self, point_id: str, verified_us: int) -> None:
        mine = sa.update(restore_points).where(restore_points.c.id == point_id, AVAILABLE)
        self._connection.execute(mine.values(verified_us=verified_us))

    def mark_checked(self, point_id: str, checked_us: int, read_us: int) -> None:
        mine = sa.update(restore_points).where(restore_points.c.id == point_id, AVAILABLE)
        self._connection.execute(mine.values(checked_us=checked_us, read_us=read_us))

    def mark_tried(self, point_ids: Sequence[str], tried_us: int) -> None:
        for ids in in_batches(point_ids):
            mine = sa.update(restore_points).where(restore_points.c.id.in_(ids))
            self._connection.execute(mine.values(tried_us=tried_us))

    def unread(
        self, policy_id: str, repository_id: str, read_before_us: int, tried_before_us: int, limit: int
    ) -> Sequence[Point]:
        mine = sa.and_(_unread(policy_id, read_before_us), restore_points.c.repository_id == repository_id)
        due = BRIEF.where(mine, restore_points.c.verified_us != 0, restore_points.c.tried_us < tried_before_us)
        waiting = (restore_points.c.tried_us, restore_points.c.read_us, restore_points.c.id)
        longest = self._all(due.order_by(*waiting).limit(1))
        if not longest:
            return []
        of_another_vm = sa.case((restore_points.c.vm_id == longest[0].vm_id, 0), else_=1)
        return self._all(due.order_by(of_another_vm, *waiting).limit(limit))

    def count_unread(self, policy_id: str, read_before_us: int) -> int:
        old = restore_points.c.published_us < read_before_us
        query = sa.select(sa.func.count()).where(_unread(policy_id, read_before_us), old)
        return int(self._connection.execute(query).scalar_one())

    def flawed(self, policy_id: str) -> Sequence[Point]:
        mine = BRIEF.where(restore_points.c.policy_id == policy_id, AVAILABLE, _FLAWED)
        return self._all(mine.order_by(restore_points.c.vm_id, restore_points.c.seq))

    def _move(self, point_id: str, before: PointState, after: PointState, **values: Any) -> None:
        mine = sa.update(restore_points).where(restore_points.c.id == point_id, restore_points.c.state == before.value)
        if self._connection.execute(mine.values(state=after.value, **values)).rowcount != 1:
            raise Aborted("CHANGED", f"The point {point_id} is not {before.value} any more.")

    def _settle(self, point_id: str, state: PointState, published_us: int) -> None:
        mine = sa.update(restore_points).where(restore_points.c.id == point_id, PUBLISHING)
        settled = mine.values(state=state.value, published_us=published_us, intent_manifest=None, intent_refmap=None)
        if self._connection.execute(settled).rowcount != 1:
            raise Aborted("CHANGED", f"The point {point_id} is not being published any more.")

    def totals(self) -> PointTotals:
        # By the index of the newest, in its order: 20,000 groups are made without sorting 400,000 points.
        made = sa.select(
            restore_points.c.vm_id,
            sa.func.max(TAKEN_US).label("taken_us"),
            sa.func.count().label("points"),
            sa.func.sum(restore_points.c.virtual_bytes).label("virtual_bytes"),
            sa.func.sum(sa.case((restore_points.c.verified_us > 0, 1), else_=0)).label("proved"),
        )
        each = made.where(AVAILABLE).group_by(restore_points.c.policy_id, restore_points.c.vm_id).subquery()
        sums = [sa.func.sum(each.c[name]).label(name) for name in ("points", "virtual_bytes", "proved")]
        of_vm = sa.select(sa.func.max(each.c.taken_us).label("taken_us"), *sums).group_by(each.c.vm_id).subquery()
        every = [sa.func.coalesce(sa.func.sum(of_vm.c[column.name]), 0).label(column.name) for column in sums]
        oldest_us = sa.func.coalesce(sa.func.min(of_vm.c.taken_us), 0).label("oldest_us")
        query = sa.select(*every, sa.func.count().label("vms"), oldest_us).select_from(of_vm)
        row = self._connection.execute(query).one()
        damaged = sa.select(sa.func.count()).where(AVAILABLE, _FLAWED, restore_points.c.damaged != "")
        lost = self._connection.execute(damaged.where(restore_points.c.verified_us > 0)).scalar_one()
        return PointTotals(int(row.points), int(row.virtual_bytes), row.vms, row.oldest_us, int(row.proved) - lost)

    def _places(self, which: sa.ColumnElement[bool]) -> dict[str, str]:
        places = sa.select(restore_points.c.id, restore_points.c.repository_id)
        query = places.where(which).order_by(restore_points.c.id)
        return pairs(self._connection, query)

    def _all(self, query: sa.Select[Any]) -> list[Point]:
        return [_point(row) for row in self._connection.execute(query)]


def _unread(policy_id: str, read_before_us: int) -> sa.ColumnElement[bool]:
    return sa.and_(restore_points.c.policy_id == policy_id, AVAILABLE, restore_points.c.read_us < read_before_us)


PLAIN = (
    "id",
    "vm_id",
    "vm_name",
    "tenant",
    "repository_id",
    "attempt_id",
    "host_id",
    "parent_point_id",
    "seq",
    "db_epoch",
    "instant_us",
    "manifest_hash",
    "created_us",
    "published_us",
    "deleted_us",
    "damaged",
    "verified_us",
    "read_us",
    "checked_us",
    "tried_us",
    "policy_id",
)


def _values(point: Point) -> dict[str, Any]:
    return {name: getattr(point, name) for name in PLAIN} | {
        "state": point.state.value,
        "guest_frozen": int(point.guest_frozen),
        "disks": dump(point.disks),
        "virtual_bytes": point.virtual_bytes,
        "members": dump(point.members),
        "warnings": dump(point.warnings),
        "intent_manifest": point.intent.manifest if point.intent else None,
        "intent_refmap": point.intent.refmap if point.intent else None,
        "tombstone": point.tombstone or None,
    }


def _point(row: sa.Row[Any]) -> Point:
    columns = row._mapping
    intent = None
    if columns.get("intent_manifest") is not None:
        intent = Intent(columns["intent_manifest"], columns["intent_refmap"])
    return Point(
        **{name: columns[name] for name in PLAIN},
        state=PointState(row.state),
        guest_frozen=bool(row.guest_frozen),
        disks=load_tuple(PointDisk, row.disks),
        members=load_tuple(PointMember, row.members),
        warnings=load_tuple(RunWarning, row.warnings),
        intent=intent,
        tombstone=columns["tombstone"] or b"",
    )
