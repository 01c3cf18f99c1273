"""How SQLite looks for what the controller asks of a few VMs or of a moment: never through all points, runs or attempts there are."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from seawall.controller.database.sqlite import SqliteDatabase
from seawall.controller.database.sqlite_statistics import STATISTICS
from seawall.controller.database.tables import metadata
from seawall.controller.records.runs import OPEN_RUN_STATES, RunFilter, RunState
from seawall.controller.store.transaction import Transaction
from support.asked_queries import asked_queries

FAILED = (RunState.FAILED,)
NOW = 1_790_000_000_000_000
VM_IDS = [f"vm-{number}" for number in range(200)]
POINTS, RUNS = "restore_points", "runs"


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqliteDatabase]:
    made = SqliteDatabase(tmp_path_factory.mktemp("plans") / "controller.sqlite")
    yield made
    made.close()


@pytest.mark.parametrize(
    ("ask", "table", "index"),
    [
        (lambda t: t.points.newest("vm-1", "main"), POINTS, "ix_restore_points_vm_id"),
        (lambda t: t.points.newest("vm-1", "main", "default"), POINTS, "ix_restore_points_vm_id"),
        (lambda t: t.points.newest_of_vms(VM_IDS), POINTS, "ix_restore_points_vm_id"),
        (lambda t: t.points.newest_of_policy("policy", VM_IDS), POINTS, "ix_restore_points_newest"),
        (lambda t: list(t.points.marks("policy", VM_IDS)), POINTS, "ix_restore_points_vm_id"),
        (lambda t: list(t.points.marks("policy")), POINTS, "ix_restore_points_read"),
        (lambda t: t.points.points(vm_id="vm-1", policy_id="policy"), POINTS, "ix_restore_points_vm_id"),
        (lambda t: t.points.points(vm_id="vm-1", repository_id="main"), POINTS, "ix_restore_points_vm_id"),
        (lambda t: t.points.newest_since(NOW), POINTS, "ix_restore_points_published_us"),
        (lambda t: t.points.given_up_since(NOW), POINTS, "ix_restore_points_deleted"),
        (lambda t: t.points.unfinished(), POINTS, "ix_restore_points_state"),
        (lambda t: t.policies.point_ids("policy", "vm-1"), POINTS, "ix_restore_points_vm_id"),
        (lambda t: t.policies.backed_up("policy", NOW), POINTS, "ix_restore_points_policy"),
        (lambda t: t.points.unread("policy", "main", NOW, NOW, 1), POINTS, "ix_restore_points_read"),
        (lambda t: t.points.count_unread("policy", NOW), POINTS, "ix_restore_points_read"),
        (lambda t: t.policies.fired("policy", VM_IDS, NOW), RUNS, "uq_runs_firing"),
        (lambda t: t.policies.in_the_way("policy", VM_IDS, "main"), RUNS, "uq_runs_open_backup_of"),
        (lambda t: t.runs.open_backup("vm-1", "main"), RUNS, "uq_runs_open_backup_of"),
        (lambda t: t.runs.open_backups(VM_IDS, "main"), RUNS, "uq_runs_open_backup_of"),
        (lambda t: t.runs.under_way(VM_IDS), RUNS, "ix_runs_active_backup"),
        (lambda t: t.runs.live_attempts(), "attempts", "ix_attempts_state"),
        (lambda t: t.policies.crowded("policy"), POINTS, "ix_restore_points_newest"),
        (lambda t: t.policies.newest_us("policy"), POINTS, "ix_restore_points_newest"),
        (lambda t: t.policies.count_points("policy"), POINTS, "ix_restore_points_read"),
        (lambda t: t.points.newest_since(0), POINTS, "ix_restore_points_newest"),
        (lambda t: t.points.flawed("policy"), POINTS, "ix_restore_points_flawed"),
        (lambda t: t.points.unproven("main", 1), POINTS, "ix_restore_points_unproven"),
        (lambda t: t.points.unproven("main", 1, again=True), POINTS, "ix_restore_points_unproven"),
        (lambda t: t.points.roots("main", since_seq=7), POINTS, "ix_restore_points_root_seq"),
        (lambda t: t.points.roots("main"), POINTS, "ix_restore_points_root"),
        (lambda t: t.points.root_ids("main"), POINTS, "ix_restore_points_root"),
        (lambda t: t.points.points(repository_id="main"), POINTS, "ix_restore_points_root"),
        (lambda t: t.packs.unseen("main", 1), "packs", "ix_packs_looked"),
        (lambda t: t.packs.seen("main", 1), "packs", "ix_packs_looked"),
        (lambda t: t.packs.flawed("main"), "packs", "ix_packs_looked"),
        (
            lambda t: t.policies.open_runs("policy", begin_us=NOW, nominal_us=NOW, active=True),
            RUNS,
            "ix_runs_of_policy",
        ),
        (lambda t: t.policies.cut_off("policy", NOW), RUNS, "ix_runs_of_policy"),
        (lambda t: t.policies.durations_us(VM_IDS, NOW), RUNS, "ix_runs_vm_id"),
        (lambda t: t.hooks.first_due_us("policy", VM_IDS), RUNS, "uq_runs_firing"),
        (lambda t: t.hooks.ended_runs(["policy"], NOW), RUNS, "ix_runs_ended_us"),
        (lambda t: t.runs.ready_mark(NOW), RUNS, "ix_runs_ready"),
        (lambda t: t.runs.ready_versions(NOW), RUNS, "ix_runs_ready"),
        (lambda t: t.runs.next_due_us(NOW), RUNS, "ix_runs_ready"),
        (lambda t: t.runs.counts(NOW), RUNS, "ix_runs_of_state"),
        (lambda t: t.runs.runs(RunFilter(states=OPEN_RUN_STATES)), RUNS, "ix_runs_of_state"),
        (lambda t: t.runs.runs(RunFilter(states=FAILED, since_us=NOW)), RUNS, "ix_runs_of_state"),
        (lambda t: t.runs.runs(RunFilter(since_us=NOW)), RUNS, "ix_runs_of_state"),
        (lambda t: t.runs.runs(RunFilter(policy_id="policy")), RUNS, "ix_runs_of_policy"),
        (lambda t: t.runs.runs(RunFilter(policy_id="policy", states=FAILED)), RUNS, "ix_runs_of_policy"),
        (lambda t: t.runs.runs(RunFilter(vm_id="vm-1", policy_id="policy", states=FAILED)), RUNS, "uq_runs_firing"),
    ],
)
def test_few_rows_are_found_by_what_is_rare_about_them(
    database: SqliteDatabase, ask: Callable[[Transaction], object], table: str, index: str
) -> None:
    steps = [step for step in _plans(database, ask) if step.split()[1] == table]
    assert steps
    assert {_index(step) for step in steps if "autoindex" not in step} == {index}, steps


def test_what_changes_under_way_is_found_without_the_runs_that_are_over(database: SqliteDatabase) -> None:
    steps = [step for step in _plans(database, lambda t: t.runs.marks(NOW)) if step.split()[1] == RUNS]
    assert {_index(step) for step in steps if "autoindex" not in step} == {"ix_runs_of_state", "ix_runs_ended_us"}, (
        steps
    )
    assert all(step.startswith("SEARCH") for step in steps), steps


@pytest.mark.parametrize("ask", [lambda t: t.points.totals(), lambda t: t.repositories.totals("main")])
def test_totals_of_points_are_counted_by_indexes_alone(
    database: SqliteDatabase, ask: Callable[[Transaction], object]
) -> None:
    steps = [step for step in _plans(database, ask) if step.split()[1] == POINTS]
    assert steps
    assert all("COVERING" in step or _index(step) == "ix_restore_points_flawed" for step in steps), steps


def test_attempt_that_goes_is_not_looked_for_among_all_points_and_packs(database: SqliteDatabase) -> None:
    """By the rule that what points and packs name must be there: the database looks for it by itself."""
    going = "EXPLAIN QUERY PLAN DELETE FROM attempts WHERE id = 'attempt'"
    steps = [str(row[3]) for row in database.read_sql(lambda connection: connection.exec_driver_sql(going).all())]
    assert not [step for step in steps if step.startswith("SCAN")], steps


def test_statistics_name_only_indexes_that_there_are() -> None:
    there = {table.name: {index.name for index in table.indexes} for table in metadata.sorted_tables}
    assert all(set(indexes) <= there[table] for table, indexes in STATISTICS.items())
    assert all(
        len(stat.split()) == 1 + len(index.columns)
        for table in metadata.sorted_tables
        for index in table.indexes
        if (stat := STATISTICS.get(table.name, {}).get(str(index.name)))
    ), "one number for the rows, one for each column"


@pytest.mark.parametrize("table", STATISTICS)
def test_statistics_name_every_index_of_their_tables(table: str) -> None:
    assert {index.name for index in metadata.tables[table].indexes} == STATISTICS[table].keys()


def test_statistics_are_given_to_a_database_that_had_others_or_none(tmp_path: Path) -> None:
    file = tmp_path / "controller.sqlite"
    SqliteDatabase(file).close()
    for spoil in ("DROP TABLE sqlite_stat1", "UPDATE sqlite_stat1 SET stat = '9 9'", "DELETE FROM sqlite_stat1"):
        with left_alone(file) as left:
            left.execute(sa.text(spoil))
        SqliteDatabase(file).close()
        with left_alone(file) as left:
            found = left.execute(sa.text("SELECT tbl, idx, stat FROM sqlite_stat1")).all()
        expected = {(table, index, stat) for table, some in STATISTICS.items() for index, stat in some.items()}
        assert {tuple(row) for row in found} == expected


@contextmanager
def left_alone(file: Path) -> Iterator[sa.Connection]:
    """The file while no controller runs."""
    engine = sa.create_engine(f"sqlite:///{file}")
    try:
        with engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()


def _plans(database: SqliteDatabase, ask: Callable[[Transaction], object]) -> list[str]:
    """A line for each table that one of its queries looks into."""
    queries = asked_queries(database, ask)

    def explained(connection: sa.Connection) -> list[str]:
        return [
            str(row[3])
            for statement, parameters in queries
            for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        ]

    return [step for step in database.read_sql(explained) if step.startswith(("SEARCH", "SCAN"))]


def _index(step: str) -> str:
    """Of "SEARCH table USING [COVERING] INDEX name (column=?)"; "" where it reads the table."""
    return step.partition(" INDEX ")[2].partition(" ")[0]
