"""Saving a run or an attempt costs the same however many packs and points there are: SQLite looks for what refers to a key that is set."""

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from seawall.controller.database.runs import RunRows
from seawall.controller.database.sqlite import SqliteDatabase
from seawall.controller.errors import Aborted
from seawall.controller.records.runs import AttemptState, RunState
from support.controller_records import an_execution
from support.sqlite_template import new_sqlite


def test_no_update_sets_a_key(tmp_path: Path) -> None:
    said: list[str] = []
    before = an_execution(AttemptState.PREPARING)

    def closure(connection: sa.Connection) -> None:
        sa.event.listen(connection, "before_cursor_execute", lambda _, __, statement, *___: said.append(statement))
        rows = RunRows(connection)
        with pytest.raises(Aborted):  # there is no such row
            rows.save_attempt(before.attempt, replace(before.attempt, state=AttemptState.LOST))
        with pytest.raises(Aborted):
            rows.save_run(before.run, replace(before.run, state=RunState.FAILED))

    with closing(SqliteDatabase(new_sqlite(tmp_path / "controller.sqlite"))) as database:
        database.write_sql(closure)
    updates = [statement for statement in said if statement.startswith("UPDATE")]
    assert len(updates) == 2
    assert not [statement for statement in updates if "SET id=" in statement or ", id=" in statement.split("WHERE")[0]]
