"""Last night's copy of a SQLite database, taken while a controller uses it and put back while none does."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path


def keep(database: Path, kept: Path) -> None:
    """Whole, whoever writes."""
    with closing(sqlite3.connect(database)) as old, closing(sqlite3.connect(kept)) as new:
        old.backup(new)


def put_back(database: Path, kept: Path) -> None:
    """Nobody may have it open."""
    for name in database.parent.glob(f"{database.name}*"):
        name.unlink()
    shutil.copy(kept, database)
