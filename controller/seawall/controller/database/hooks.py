"""Calls of hooks, and troubles of VMs."""

import dataclasses
from collections.abc import Collection, Sequence
from typing import Any

import sqlalchemy as sa

from seawall.controller.database.columns import load_or_none, load_tuple
from seawall.controller.database.runs import OPEN, of_policy
from seawall.controller.database.tables import attempts, hook_calls, runs, vm_troubles
from seawall.controller.records.hooks import CallState, EndedRun, Event, HookCall, OnFailure, Stage, Trouble
from seawall.controller.records.runs import WINDOW_ENDED, AttemptState, Failure, RunState, RunWarning
from seawall.controller.store.hooks import DueCall
from seawall.repository.batches import in_batches

WAITING = hook_calls.c.state == CallState.WAITING.value
OVER = tuple(state.value for state in CallState if state is not CallState.WAITING)
LIVE = tuple(state.value for state in AttemptState if state.live)
_IN_TURN = (hook_calls.c.run_id, hook_calls.c.created_us, hook_calls.c.attempt_id, hook_calls.c.position)
_BEFORE = hook_calls.alias("before")
_NEXT = attempts.alias("next")
_ENDED = sa.select(
    runs.c.id, runs.c.policy_id, runs.c.vm_id, runs.c.state, runs.c.ended_us, runs.c.failure, runs.c.warnings
)


def _first(stage: Stage) -> sa.Subquery:
    """Of those of a stage that wait: `turn` 1 is the first of its attempt, or of the notices of its policy by its hook.

    Ranked, not compared: a database that knows little of the table may look at all that wait for each that waits.
    """
    notice = stage is Stage.NOTIFY
    ranked = sa.func.row_number().over(
        partition_by=(hook_calls.c.policy_id, hook_calls.c.hook) if notice else hook_calls.c.attempt_id,
        order_by=hook_calls.c.id if notice else hook_calls.c.position,
    )
    return sa.select(hook_calls, ranked.label("turn")).where(WAITING, hook_calls.c.stage == stage.value).subquery()


def _with_attempts(calls: sa.FromClause) -> sa.Select[Any]:
    begun = sa.and_(_BEFORE.c.stage == Stage.BEFORE.value, _BEFORE.c.begun_us > 0)
    later = sa.and_(_BEFORE.c.run_id == calls.c.run_id, _NEXT.c.id == _BEFORE.c.attempt_id, _NEXT.c.no > attempts.c.no)
    return sa.select(
        calls,
        attempts.c.state.label("attempt_state"),
        attempts.c.session_id,
        sa.exists().where(_BEFORE.c.attempt_id == calls.c.attempt_id, begun).label("begun_before"),
        sa.exists().where(later, begun).label("overtaken"),
    ).select_from(calls.outerjoin(attempts, attempts.c.id == calls.c.attempt_id))


def _lost(since_us: int) -> sa.ColumnElement[bool]:
    return sa.and_(hook_calls.c.state == CallState.FAILED.value, hook_calls.c.ended_us >= since_us)


class HookRows:
    """`Hooks` in one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def add_calls(self, calls: Sequence[HookCall]) -> None:
        if calls:
            self._connection.execute(sa.insert(hook_calls), [dataclasses.asdict(call) for call in calls])

    def call(self, call_id: str) -> HookCall | None:
        row = self._connection.execute(sa.select(hook_calls).where(hook_calls.c.id == call_id)).one_or_none()
        return None if row is None else _call(row)

    def save_call(self, before: HookCall, after: HookCall) -> bool:
        same = sa.and_(
            hook_calls.c.id == before.id, hook_calls.c.state == before.state.value, hook_calls.c.tries == before.tries
        )
        values = dataclasses.asdict(after)
        return self._connection.execute(sa.update(hook_calls).where(same).values(**values)).rowcount == 1

    def calls_of(self, run_ids: Sequence[str]) -> Sequence[HookCall]:
        found: list[HookCall] = []
        for ids in in_batches(run_ids):
            query = sa.select(hook_calls).where(hook_calls.c.run_id.in_(ids))
            found += map(_call, self._connection.execute(query.order_by(*_IN_TURN)))
        return found

    def due(self, stage: Stage, now_us: int, limit: int) -> Sequence[DueCall]:
        calls = _first(stage)
        query = _with_attempts(calls).where(calls.c.turn == 1, calls.c.not_before_us <= now_us)
        if stage is Stage.AFTER:
            query = query.where(sa.or_(attempts.c.state.not_in(LIVE), attempts.c.handed_over == 1))
        ordered = query.order_by(calls.c.created_us, calls.c.id).limit(limit)
        return [_due(row) for row in self._connection.execute(ordered)]

    def due_call(self, call_id: str, now_us: int) -> DueCall | None:
        mine = _with_attempts(hook_calls).where(
            WAITING, hook_calls.c.id == call_id, hook_calls.c.not_before_us <= now_us
        )
        row = self._connection.execute(mine).one_or_none()
        return None if row is None else _due(row)

    def failed(self, since_us: int) -> dict[str, int]:
        said_no = sa.and_(hook_calls.c.stage == Stage.BEFORE.value, hook_calls.c.on_failure == OnFailure.SKIP.value)
        query = sa.select(hook_calls.c.policy_id, sa.func.count()).where(_lost(since_us), sa.not_(said_no))
        return {row[0]: row[1] for row in self._connection.execute(query.group_by(hook_calls.c.policy_id))}

    def last_failed(self, since_us: int) -> dict[str, HookCall]:
        query = sa.select(hook_calls).where(_lost(since_us)).order_by(hook_calls.c.ended_us)
        return {row.hook: _call(row) for row in self._connection.execute(query)}

    def drop_calls(self, ended_before_us: int, limit: int) -> int:
        over = sa.and_(hook_calls.c.state.in_(OVER), hook_calls.c.ended_us < ended_before_us)
        ids = self._connection.execute(sa.select(hook_calls.c.id).where(over).limit(limit)).scalars().all()
        for some in in_batches(ids):
            self._connection.execute(sa.delete(hook_calls).where(hook_calls.c.id.in_(some)))
        return len(ids)

    def ended_runs(self, policy_ids: Collection[str], since_us: int) -> Sequence[EndedRun]:
        found: list[EndedRun] = []
        for ids in in_batches(sorted(policy_ids)):
            over = sa.and_(runs.c.ended_us >= since_us, runs.c.state.not_in(OPEN), runs.c.policy_id.in_(ids))
            found += [_ended_run(row) for row in self._connection.execute(_ENDED.where(over))]
        return sorted(found, key=lambda run: (run.ended_us, run.id))

    def first_due_us(self, policy_id: str, vm_ids: Collection[str]) -> dict[str, int]:
        found: dict[str, int] = {}
        for ids in in_batches(sorted(vm_ids)):
            mine = sa.and_(of_policy(policy_id), runs.c.vm_id.in_(ids))
            query = sa.select(runs.c.vm_id, sa.func.min(runs.c.nominal_us)).where(mine).group_by(runs.c.vm_id)
            found |= {row[0]: row[1] for row in self._connection.execute(query)}
        return found

    def troubles(self, policy_id: str) -> Sequence[Trouble]:
        mine = vm_troubles.c.policy_id == policy_id
        query = sa.select(vm_troubles).where(mine).order_by(vm_troubles.c.vm_id, vm_troubles.c.event)
        rows = self._connection.execute(query)
        return [Trouble(**dict(row._mapping) | {"event": Event(row.event)}) for row in rows]

    def put_troubles(self, troubles: Sequence[Trouble]) -> None:
        self.take_troubles(troubles)
        if troubles:
            self._connection.execute(sa.insert(vm_troubles), [dataclasses.asdict(trouble) for trouble in troubles])

    def take_troubles(self, troubles: Sequence[Trouble]) -> None:
        if not troubles:
            return
        same = sa.and_(
            vm_troubles.c.policy_id == sa.bindparam("of_policy"),
            vm_troubles.c.vm_id == sa.bindparam("of_vm"),
            vm_troubles.c.event == sa.bindparam("of_event"),
        )
        named = [{"of_policy": each.policy_id, "of_vm": each.vm_id, "of_event": each.event.value} for each in troubles]
        self._connection.execute(sa.delete(vm_troubles).where(same), named)

    def drop_troubles(self, policy_id: str) -> None:
        self._connection.execute(sa.delete(vm_troubles).where(vm_troubles.c.policy_id == policy_id))


def _call(row: sa.Row[Any]) -> HookCall:
    fields = {field.name: row._mapping[field.name] for field in dataclasses.fields(HookCall)}
    words = {"stage": Stage(row.stage), "state": CallState(row.state), "on_failure": OnFailure(row.on_failure)}
    return HookCall(**fields | words)


def _due(row: sa.Row[Any]) -> DueCall:
    state = AttemptState(row.attempt_state) if row.attempt_state else None
    return DueCall(_call(row), state, bool(row.overtaken), bool(row.session_id or row.begun_before))


def _ended_run(row: Any) -> EndedRun:
    failure, told = load_or_none(Failure, row.failure), load_tuple(RunWarning, row.warnings)
    cut_off = next((each.message for each in told if each.reason == WINDOW_ENDED), "")
    message = failure.message if failure else cut_off
    return EndedRun(row.id, row.policy_id, row.vm_id, RunState(row.state), row.ended_us, message, bool(cut_off))
