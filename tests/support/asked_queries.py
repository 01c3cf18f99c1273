"""What a question to the store asks the database, word for word."""

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from seawall.controller.database.database import Database
from seawall.controller.store.transaction import Transaction


def asked_queries(database: Database, ask: Callable[[Transaction], object]) -> list[tuple[str, Any]]:
    """The SELECTs, with their parameters."""
    asked: list[tuple[str, Any]] = []

    def note(_connection: object, _cursor: object, statement: str, parameters: Any, *_rest: object) -> None:
        asked.append((statement, parameters))

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        database.read_now(ask)
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", note)
    return [(statement, parameters) for statement, parameters in asked if statement.startswith("SELECT")]
