"""A controller's database in a SQLite file as `controller init` leaves it: migrated once per process, then copied.

That an empty file is migrated is proven where migrations are (test_controller_schema, test_controller_schema_expand) and wherever a test
runs the real command.
"""

import tempfile
from functools import cache
from pathlib import Path

from seawall.controller.database.sqlite import SqliteDatabase


def new_sqlite(file: Path) -> Path:
    """The schema and nothing in it, in a file that is not there yet. Returns it."""
    with file.open("xb") as made:
        made.write(_template())
    return file


@cache
def _template() -> bytes:
    with tempfile.TemporaryDirectory(prefix="seawall-template-") as directory:
        file = Path(directory) / "controller.sqlite"
        SqliteDatabase(file).close()
        return file.read_bytes()
