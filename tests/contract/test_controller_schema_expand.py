"""Upgrading controllers one after another: the schema of today takes all that the oldest code writes which `WORKS_SINCE` promises to serve.

Both engines, with the real migrations: a database is made at that revision, filled as its code would, brought to the newest one, and then
written to as the old code goes on doing.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from seawall.controller.database.migrate import NEWEST, SCRIPTS, WORKS_SINCE
from seawall.controller.database.sqlite_engines import writer_engine
from support.controller_databases import ENGINES
from support.postgresql import PostgresServer

OWN = ("alembic_version",)


@contextmanager
def engine_of(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[sa.Engine]:
    """An empty database."""
    if kind == "sqlite":
        tmp_path.mkdir(exist_ok=True)
        engine = writer_engine(tmp_path / "controller.sqlite")
    else:
        server: PostgresServer = request.getfixturevalue("postgres_server")
        engine = sa.create_engine(server.new_database().url.replace("postgresql://", "postgresql+psycopg://"))
    try:
        yield engine
    finally:
        engine.dispose()


def upgrade(engine: sa.Engine, revision: str) -> None:
    with engine.begin() as connection:
        config = Config(attributes={"connection": connection})
        config.set_main_option("script_location", str(SCRIPTS))
        config.set_main_option("path_separator", "os")
        command.upgrade(config, revision)


def reflected(engine: sa.Engine | sa.Connection) -> sa.MetaData:
    metadata = sa.MetaData()
    metadata.reflect(engine)
    return metadata


def filled(tables: sa.MetaData, number: int) -> Callable[[sa.Connection], None]:
    """One row in each table, all of its columns given, as code does that knows these columns and no others."""

    def value(column: sa.Column[Any]) -> Any:
        if column.foreign_keys:
            (key,) = column.foreign_keys
            return value(key.column)
        kind = column.type.python_type
        return {str: f"{column.table.name}-{number}", bytes: f"{column.name}-{number}".encode(), int: number}[kind]

    def write(connection: sa.Connection) -> None:
        for table in tables.sorted_tables:
            if table.name not in OWN:
                row = {column.name: value(column) for column in table.columns}
                connection.execute(sa.insert(table).values(**row))

    return write


@dataclass(frozen=True)
class Rule:
    """What must be unique: these columns, among the rows of the table for which `where` holds; "": among all."""

    table: str
    columns: frozenset[str]
    where: str = ""

    def follows(self, other: "Rule") -> bool:
        """Whatever keeps to the other keeps to this: what differs in some columns differs in more of them, also among fewer rows."""
        same_rows = other.where in ("", self.where)
        return self.table == other.table and other.columns <= self.columns and same_rows


def unique(tables: sa.MetaData) -> set[Rule]:
    """All that must be unique."""
    found = set()
    for table in tables.tables.values():
        for index in table.indexes:
            if index.unique:
                found.add(Rule(table.name, frozenset(each.name for each in index.columns), predicate(index)))
        for constraint in table.constraints:
            if isinstance(constraint, sa.UniqueConstraint | sa.PrimaryKeyConstraint) and constraint.columns:
                # A table without a key has an empty one.
                found.add(Rule(table.name, frozenset(each.name for each in constraint.columns)))
    return found


def predicate(index: sa.Index) -> str:
    """For which rows the index is, in the engine's own words; "": for all."""
    words = [options["where"] for options in index.dialect_options.values() if options.get("where") is not None]
    return " ".join(str(*words).split())


def stricter(new: sa.MetaData, old: sa.MetaData) -> set[Rule]:
    """What old tables must keep to in the new schema, and needed not in the old one."""
    known = unique(old)
    return {rule for rule in unique(new) if rule.table in old.tables and not any(rule.follows(each) for each in known)}


@pytest.mark.parametrize("kind", ENGINES)
def test_old_code_goes_on_writing_into_the_new_schema(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    with engine_of(kind, request, tmp_path) as engine:
        upgrade(engine, WORKS_SINCE)
        old = reflected(engine)
        with engine.begin() as connection:
            filled(old, 1)(connection)
        upgrade(engine, NEWEST)
        new = reflected(engine)
        with engine.begin() as connection:
            filled(old, 2)(connection)
            for table in old.sorted_tables:
                if table.name not in OWN:
                    rows = connection.execute(sa.select(*table.columns)).all()
                    assert len(rows) == 2, f"{table.name}: rows of before were lost"
        for name, table in old.tables.items():
            for column in table.columns:
                now = new.tables[name].columns[column.name]
                assert now.type.python_type is column.type.python_type, f"{name}.{column.name} became another type"
        assert not stricter(new, old), "a new rule on an old table refuses what old code writes"


@pytest.mark.parametrize("kind", ENGINES)
@pytest.mark.parametrize(
    ("before", "after", "refuses"),
    [
        ("state = 'OPEN'", "state = 'OPEN'", False),
        ("state = 'OPEN'", "state = 'OVER'", True),
        ("state = 'OPEN'", "state IN ('OPEN', 'OVER')", True),
        ("state = 'OPEN'", "", True),
        ("", "state = 'OPEN'", False),
    ],
)
def test_a_rule_among_other_rows_is_another_rule(
    kind: str, before: str, after: str, refuses: bool, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """On the same columns."""
    found: list[sa.MetaData] = []
    for where in (before, after):
        with engine_of(kind, request, tmp_path / str(len(found))) as engine, engine.begin() as connection:
            connection.execute(sa.text("CREATE TABLE runs (vm text, state text)"))
            narrowed = f" WHERE {where}" if where else ""
            connection.execute(sa.text(f"CREATE UNIQUE INDEX uq_runs ON runs (vm){narrowed}"))
            found.append(reflected(connection))
    assert bool(stricter(found[1], found[0])) is refuses


def test_works_since_is_a_revision_that_is_there() -> None:
    names = {path.name[1:5] for path in (SCRIPTS / "versions").glob("m*.py")}
    assert {WORKS_SINCE, NEWEST} <= names
    assert max(names) == NEWEST
    assert WORKS_SINCE <= NEWEST
