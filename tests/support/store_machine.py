"""Random steps against the Store on one engine: each example gets a database of its own, a copy of one that has the schema."""

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from seawall.controller.database.database import Database
from seawall.controller.database.postgresql import PostgresqlDatabase
from seawall.controller.database.sqlite import SqliteDatabase
from support.postgresql import TEMPLATE, PostgresServer
from support.sqlite_template import new_sqlite


class DatabaseMachine(RuleBasedStateMachine):
    """Closes and opens its database between other steps. `reopen` is set by `run_machine`."""

    reopen: Callable[[], Database]

    def __init__(self) -> None:
        super().__init__()
        self.store = self.reopen()

    def teardown(self) -> None:
        self.store.close()

    @rule()
    def close_and_open(self) -> None:
        self.store.close()
        self.store = type(self).reopen()


def run_machine(
    machine: type[DatabaseMachine], engine: str, size: tuple[int, int], request: pytest.FixtureRequest, folder: Path
) -> None:
    """`size`: how many examples, of how many steps."""
    made = itertools.count()
    if engine != "sqlite":
        server: PostgresServer = request.getfixturevalue("postgres_server")

    def opener() -> Callable[[], Database]:
        if engine == "sqlite":
            file = new_sqlite(folder / f"{next(made)}.sqlite")
            return lambda: SqliteDatabase(file)
        address = server.new_database(TEMPLATE)  # gone with the server
        return lambda: PostgresqlDatabase(address)

    class Fresh(machine):  # type: ignore[misc, valid-type]
        def __init__(self) -> None:
            type(self).reopen = staticmethod(opener())
            super().__init__()

    run_state_machine_as_test(
        Fresh,
        settings=settings(
            max_examples=size[0],
            stateful_step_count=size[1],
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
