"""The controller's database on each engine that it runs on, for suites that all of them must pass."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from seawall.controller.database.database import Database
from seawall.controller.database.migrate import NEWEST
from seawall.controller.database.postgresql import PostgresqlDatabase
from seawall.controller.database.postgresql_address import Address
from seawall.controller.database.sqlite import SqliteDatabase
from seawall.controller.database.tables import metadata
from support.postgresql import TEMPLATE, PostgresServer
from support.sqlite_template import new_sqlite

ENGINES = ("sqlite", "postgresql")
SCHEMAS = (*ENGINES, pytest.param("expanded", marks=pytest.mark.slow))
"""The last: PostgreSQL after a newer Seawall has expanded the schema, while this version goes on working on it."""


@contextmanager
def open_engine(engine: str, request: pytest.FixtureRequest, directory: Path) -> Iterator[Database]:
    """A new database with the schema and nothing in it."""
    with closing(_open(engine, request, directory)) as database:
        yield database


def _open(engine: str, request: pytest.FixtureRequest, directory: Path) -> Database:
    if engine == "sqlite":
        return SqliteDatabase(new_sqlite(directory / "controller.sqlite"))
    if engine == "expanded":
        return PostgresqlDatabase(request.getfixturevalue("expanded_address"))
    return PostgresqlDatabase(request.getfixturevalue("postgres_address"))


@pytest.fixture(scope="session")
def expanded_template(postgres_server: PostgresServer) -> str:
    """What a release's first half may do: a column in every table, a table, an index; and the word that older versions go on."""
    name = "seawall_expanded"
    postgres_server.sql(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
    columns = [f"ALTER TABLE {table} ADD COLUMN of_tomorrow TEXT NOT NULL DEFAULT 'x'" for table in metadata.tables]
    more = [
        "CREATE TABLE of_tomorrow (id TEXT PRIMARY KEY, run_id TEXT REFERENCES runs (id))",
        "CREATE INDEX ix_of_tomorrow ON runs (of_tomorrow)",
        "UPDATE alembic_version SET version_num = '0999'",
        f"UPDATE meta SET works_since = '0999 {NEWEST}'",
    ]
    postgres_server.sql("; ".join([*columns, *more]), name)
    return name


@pytest.fixture
def expanded_address(postgres_server: PostgresServer, expanded_template: str) -> Iterator[Address]:
    """Such a database, of this test's own."""
    with postgres_server.database(expanded_template) as address:
        yield address
