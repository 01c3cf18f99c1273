"""Runs, attempts and progress."""

import dataclasses
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from seawall.controller.database.columns import dump, dump_or_null, load, load_or_none, load_tuple
from seawall.controller.database.names import named
from seawall.controller.database.plain_rows import pairs
from seawall.controller.database.tables import attempt_progress, attempts, hook_calls, policies, restore_points, runs
from seawall.controller.errors import Aborted
from seawall.controller.records.hooks import CallState
from seawall.controller.records.runs import (
    EVERY_RUN,
    LIVE_ATTEMPT_STATES,
    OPEN_RUN_STATES,
    Attempt,
    AttemptState,
    BackupSpec,
    Failure,
    Progress,
    RestoreSpec,
    Run,
    RunCounts,
    RunFilter,
    RunKind,
    RunState,
    RunWarning,
)
from seawall.controller.records.uuid7 import first_uuid7
from seawall.repository.batches import in_batches

OPEN = tuple(state.value for state in OPEN_RUN_STATES)
OPEN_BACKUP = sa.text("runs.kind = 'BACKUP' AND runs.state IN ('READY', 'ACTIVE')")
"""As `uq_runs_open_backup_of` says it: SQLite does not see that a list of parameters says the same, and would not take that index."""
READY = sa.text("runs.state = 'READY'")
"""As `ix_runs_ready` says it. With a parameter in it PostgreSQL's statistics choose, which know only what was READY when they were made."""
EVERY_STATE = tuple(state.value for state in RunState)
LIVE = tuple(state.value for state in LIVE_ATTEMPT_STATES)

SAVE_PROGRESS = sa.update(attempt_progress).where(attempt_progress.c.attempt_id == sa.bindparam("attempt"))


class RunRows:
    """`Runs` in one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def run(self, run_id: str) -> Run | None:
        return next(self._runs(sa.select(runs).where(runs.c.id == run_id)), None)

    def runs_named(self, text: str) -> Sequence[Run]:
        return list(self._runs(named(sa.select(runs), text, runs.c.id)))

    def runs(self, wanted: RunFilter = EVERY_RUN, *, before: str = "", limit: int = 1000) -> Sequence[Run]:
        query = sa.select(runs.c.id).order_by(runs.c.id.desc()).limit(limit)
        if before:
            query = query.where(runs.c.id < before)
        if wanted.vm_id:
            query = query.where(runs.c.vm_id == wanted.vm_id)
        if wanted.policy_id:
            query = query.where(of_policy(wanted.policy_id))
        of_states = [query]
        if wanted.states or wanted.policy_id or wanted.since_us:
            # Each in its own order by its own index: together they would be sorted, all runs that there are, to show a page of them.
            states = tuple(dict.fromkeys(state.value for state in wanted.states)) or EVERY_STATE
            of_states = [query.where(runs.c.state == state, _since(state, wanted.since_us)) for state in states]
        ids = [run_id for each in of_states for run_id in self._connection.execute(each).scalars()]
        page = sorted(ids, reverse=True)[:limit]
        return sorted(self.runs_of(page), key=lambda run: run.id, reverse=True)

    def ready(self, now_us: int) -> Sequence[Run]:
        return list(self._runs(sa.select(runs).where(*_ready(now_us)).order_by(runs.c.id)))

    def ready_versions(self, now_us: int) -> dict[str, int]:
        return pairs(self._connection, sa.select(runs.c.id, runs.c.version).where(*_ready(now_us)))

    def ready_mark(self, now_us: int) -> Hashable:
        # Of the same runs the sum grows whenever one of them changed: versions never fall.
        marks = (sa.func.aggregate_strings(runs.c.id, ","), sa.func.sum(runs.c.version))
        return tuple(self._connection.execute(sa.select(*marks).where(*_ready(now_us))).one())

    def next_due_us(self, now_us: int) -> int:
        query = sa.select(sa.func.coalesce(sa.func.min(runs.c.not_before_us), 0))
        query = query.where(READY, runs.c.not_before_us > now_us)
        return int(self._connection.execute(query).scalar_one())

    def late(self, now_us: int) -> frozenset[str]:
        active = sa.and_(runs.c.state == RunState.ACTIVE.value, runs.c.deadline_us <= now_us)
        return frozenset(self._connection.execute(sa.select(runs.c.id).where(active)).scalars())

    def runs_of(self, run_ids: Sequence[str]) -> Sequence[Run]:
        found: list[Run] = []
        for ids in in_batches(run_ids):
            found += self._runs(sa.select(runs).where(runs.c.id.in_(ids)))
        return found

    def marks(self, ended_since_us: int) -> dict[str, int]:
        # Either by its own index: for both at once SQLite would read all runs that there are.
        opened = sa.select(runs.c.id).where(runs.c.state.in_(OPEN))
        shown = runs.c.id.in_(opened.union(sa.select(runs.c.id).where(runs.c.ended_us >= ended_since_us)))
        of_attempts = sa.func.coalesce(sa.func.sum(attempts.c.version + sa.func.coalesce(attempt_progress.c.seq, 0)), 0)
        joined = runs.outerjoin(attempts, attempts.c.run_id == runs.c.id)
        joined = joined.outerjoin(attempt_progress, attempt_progress.c.attempt_id == attempts.c.id)
        # A call that is over never waits again, and tries never fall.
        over = sa.case((hook_calls.c.state == CallState.WAITING.value, 0), else_=1)
        mine = sa.select(sa.func.coalesce(sa.func.sum(hook_calls.c.tries + over), 0)).where(
            hook_calls.c.run_id == runs.c.id
        )
        marks = runs.c.version + of_attempts + mine.scalar_subquery()
        query = sa.select(runs.c.id, marks).select_from(joined).where(shown)
        rows = self._connection.execute(query.group_by(runs.c.id, runs.c.version).order_by(runs.c.id))
        return {row[0]: int(row[1]) for row in rows}

    def counts(self, failed_since_us: int) -> RunCounts:
        failed = sa.and_(runs.c.state == RunState.FAILED.value, runs.c.ended_us >= failed_since_us)
        counted = sa.select(runs.c.state, sa.func.count()).group_by(runs.c.state)
        counts = pairs(self._connection, counted.where(runs.c.state.in_(OPEN)))
        counts |= pairs(self._connection, counted.where(failed))
        return RunCounts(*(counts.get(state, 0) for state in (RunState.ACTIVE, RunState.READY, RunState.FAILED)))

    def open_backup(self, vm_id: str, repository_id: str) -> Run | None:
        return self.open_backups([vm_id], repository_id).get(vm_id)

    def open_backups(self, vm_ids: Sequence[str], repository_id: str) -> dict[str, Run]:
        found: dict[str, Run] = {}
        for ids in in_batches(vm_ids):
            some = sa.and_(runs.c.vm_id.in_(ids), runs.c.repository_id == repository_id)
            query = sa.select(runs).where(some, OPEN_BACKUP)
            waits = sa.case((runs.c.state == RunState.ACTIVE.value, 0), else_=1)
            for run in self._runs(query.order_by(waits, runs.c.not_before_us, runs.c.id)):
                found.setdefault(run.vm_id, run)
        return found

    def under_way(self, vm_ids: Sequence[str]) -> frozenset[tuple[str, str]]:
        found: set[tuple[str, str]] = set()
        backup = sa.and_(runs.c.kind == RunKind.BACKUP.value, runs.c.state == RunState.ACTIVE.value)
        for ids in in_batches(vm_ids):
            query = sa.select(runs.c.vm_id, runs.c.repository_id).where(backup, runs.c.vm_id.in_(ids))
            found |= {(row[0], row[1]) for row in self._connection.execute(query)}
        return frozenset(found)

    def add_run(self, run: Run) -> None:
        self.add_runs([run])

    def add_runs(self, added: Iterable[Run]) -> None:
        rows = [_run_values(run) for run in added]
        if rows:
            self._connection.execute(sa.insert(runs), rows)

    def save_run(self, before: Run, after: Run) -> Run:
        if after == before:
            return before
        after = dataclasses.replace(after, version=before.version + 1)
        same = sa.and_(runs.c.id == before.id, runs.c.version == before.version)
        self._swapped(sa.update(runs).where(same).values(**_but_id(_run_values(after))), f"run {before.id}")
        return after

    def old_runs(self, before_us: int, *, after: str = "", limit: int = 1000) -> Sequence[str]:
        over = sa.and_(runs.c.state.not_in(OPEN), runs.c.ended_us > 0, runs.c.ended_us < before_us)
        # Nothing was stored by them: points and packs name the attempts of backups, and are looked for by them for as long as they are.
        bare = sa.or_(runs.c.kind == RunKind.RESTORE.value, runs.c.attempt_count == 0)
        latest = sa.exists().where(policies.c.id == runs.c.policy_id, policies.c.fired_us <= runs.c.nominal_us)
        pointed = sa.exists().where(restore_points.c.id == runs.c.id)
        made = sa.and_(runs.c.id > after, runs.c.id < first_uuid7(before_us))
        query = sa.select(runs.c.id).where(made, over, bare, sa.not_(latest), sa.not_(pointed))
        return self._connection.execute(query.order_by(runs.c.id).limit(limit)).scalars().all()

    def drop_runs(self, run_ids: Sequence[str]) -> None:
        for ids in in_batches(run_ids):
            mine = sa.select(attempts.c.id).where(attempts.c.run_id.in_(ids))
            self._connection.execute(sa.delete(attempt_progress).where(attempt_progress.c.attempt_id.in_(mine)))
            self._connection.execute(sa.delete(attempts).where(attempts.c.run_id.in_(ids)))
            self._connection.execute(sa.delete(runs).where(runs.c.id.in_(ids)))

    def drop_progress(self, before_us: int, *, limit: int) -> int:
        old = sa.and_(attempt_progress.c.attempt_id < first_uuid7(before_us), attempt_progress.c.updated_us < before_us)
        query = sa.select(attempt_progress.c.attempt_id).where(old).order_by(attempt_progress.c.attempt_id)
        ids = self._connection.execute(query.limit(limit)).scalars().all()
        for some in in_batches(ids):
            self._connection.execute(sa.delete(attempt_progress).where(attempt_progress.c.attempt_id.in_(some)))
        return len(ids)

    def attempt(self, attempt_id: str) -> Attempt | None:
        return next(self._attempts(sa.select(attempts).where(attempts.c.id == attempt_id)), None)

    def attempts_of(self, run_ids: Sequence[str]) -> Sequence[Attempt]:
        found: list[Attempt] = []
        for ids in in_batches(run_ids):
            some = attempts.c.run_id.in_(ids)
            found += self._attempts(sa.select(attempts).where(some).order_by(attempts.c.run_id, attempts.c.no))
        return found

    def attempts_by_id(self, attempt_ids: Sequence[str]) -> Sequence[Attempt]:
        found: list[Attempt] = []
        for ids in in_batches(attempt_ids):
            found += self._attempts(sa.select(attempts).where(attempts.c.id.in_(ids)))
        return found

    def live_of_hosts(self, host_ids: Sequence[str]) -> Sequence[Attempt]:
        found: list[Attempt] = []
        for ids in in_batches(host_ids):
            here = sa.and_(attempts.c.state.in_(LIVE), attempts.c.host_id.in_(ids))
            found += self._attempts(sa.select(attempts).where(here).order_by(attempts.c.id))
        return found

    def live_versions(self) -> dict[str, int]:
        live = sa.select(attempts.c.id, attempts.c.version).where(attempts.c.state.in_(LIVE))
        return pairs(self._connection, live.order_by(attempts.c.id))

    def live_attempts(self, host_id: str = "") -> Sequence[Attempt]:
        query = sa.select(attempts).where(attempts.c.state.in_(LIVE)).order_by(attempts.c.id)
        return list(self._attempts(query.where(attempts.c.host_id == host_id) if host_id else query))

    def pulse(self) -> dict[str, int]:
        counted = sa.select(attempts.c.state, sa.func.count()).where(attempts.c.state.in_(LIVE))
        return pairs(self._connection, counted.group_by(attempts.c.state))

    def add_attempt(self, attempt: Attempt) -> None:
        self._connection.execute(sa.insert(attempts).values(**_attempt_values(attempt)))

    def save_attempt(self, before: Attempt, after: Attempt) -> Attempt:
        if after == before:
            return before
        after = dataclasses.replace(after, version=before.version + 1)
        same = sa.and_(attempts.c.id == before.id, attempts.c.version == before.version)
        self._swapped(sa.update(attempts).where(same).values(**_but_id(_attempt_values(after))), f"attempt {before.id}")
        return after

    def progress_of(self, attempt_ids: Sequence[str]) -> dict[str, Progress]:
        found: dict[str, Progress] = {}
        for ids in in_batches(attempt_ids):
            some = attempt_progress.c.attempt_id.in_(ids)
            for row in self._connection.execute(sa.select(attempt_progress).where(some)):
                found[row.attempt_id] = load(Progress, row.body)
        return found

    def save_progress(self, attempt_id: str, progress: Progress, now_us: int) -> None:
        self.save_progress_of({attempt_id: progress}, now_us)

    def save_progress_of(self, reports: Mapping[str, Progress], now_us: int) -> None:
        stored: dict[str, int] = {}
        for ids in in_batches(reports):
            known = sa.select(attempt_progress.c.attempt_id, attempt_progress.c.seq)
            stored |= pairs(self._connection, known.where(attempt_progress.c.attempt_id.in_(ids)))
        new, more = [], []
        for attempt_id, progress in reports.items():
            values = {"seq": progress.seq, "body": dump(progress), "updated_us": now_us}
            if attempt_id not in stored:
                new.append(values | {"attempt_id": attempt_id})
            elif progress.seq > stored[attempt_id]:
                more.append(values | {"attempt": attempt_id})
        if new:
            self._connection.execute(sa.insert(attempt_progress), new)
        if more:
            self._connection.execute(SAVE_PROGRESS, more)

    def _runs(self, query: sa.Select[Any]) -> Iterator[Run]:
        return (_run(row) for row in self._connection.execute(query))

    def _attempts(self, query: sa.Select[Any]) -> Iterator[Attempt]:
        return (_attempt(row) for row in self._connection.execute(query))

    def _swapped(self, update: sa.Update, what: str) -> None:
        if self._connection.execute(update).rowcount != 1:
            raise Aborted("CHANGED", f"The {what} changed meanwhile; read it again.")


def of_policy(policy_id: str) -> sa.ColumnElement[bool]:
    """In the words of `uq_runs_firing` and `ix_runs_of_policy`: else SQLite would read all runs that there are."""
    return sa.and_(runs.c.policy_id == policy_id, sa.text("runs.policy_id <> ''"))


def _since(state: str, since_us: int) -> sa.ColumnElement[bool]:
    """Open, or ended since."""
    return sa.true() if state in OPEN or not since_us else runs.c.ended_us >= since_us


def _ready(now_us: int) -> tuple[sa.ColumnElement[bool] | sa.TextClause, ...]:
    """READY and due, or past their deadline."""
    return READY, sa.or_(runs.c.not_before_us <= now_us, runs.c.deadline_us <= now_us)


def _but_id(values: dict[str, Any]) -> dict[str, Any]:
    """For an update: SQLite looks for all rows that refer to a key that is set, even to what it was (all packs and points)."""
    return {name: value for name, value in values.items() if name != "id"}


def _run_values(run: Run) -> dict[str, Any]:
    values = {field.name: getattr(run, field.name) for field in dataclasses.fields(run)}
    return values | {
        "backup": dump_or_null(run.backup),
        "restore": dump_or_null(run.restore),
        "failure": dump_or_null(run.failure),
        "warnings": dump(run.warnings),
    }


def _run(row: sa.Row[Any]) -> Run:
    values = dict(row._mapping) | {
        "kind": RunKind(row.kind),
        "state": RunState(row.state),
        "backup": load_or_none(BackupSpec, row.backup),
        "restore": load_or_none(RestoreSpec, row.restore),
        "failure": load_or_none(Failure, row.failure),
        "warnings": load_tuple(RunWarning, row.warnings),
    }
    return Run(**values)


def _attempt_values(attempt: Attempt) -> dict[str, Any]:
    values = {field.name: getattr(attempt, field.name) for field in dataclasses.fields(attempt)}
    return values | {"failure": dump_or_null(attempt.failure), "handed_over": int(attempt.handed_over)}


def _attempt(row: sa.Row[Any]) -> Attempt:
    values = dict(row._mapping) | {
        "state": AttemptState(row.state),
        "lost_from": AttemptState(row.lost_from) if row.lost_from else None,
        "handed_over": bool(row.handed_over),
        "failure": load_or_none(Failure, row.failure),
    }
    return Attempt(**values)
