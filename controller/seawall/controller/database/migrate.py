"""Brings the schema to this version, or refuses one that a newer Seawall made."""

from pathlib import Path

import sqlalchemy as sa

from seawall.controller.database.tables import meta
from seawall.controller.errors import FailedPrecondition

SCRIPTS = Path(__file__).parent / "migrations"
NEWEST = "0021"
"""The revision that this version works with: the newest one in `migrations/versions`."""


WORKS_SINCE = "0006"
"""The oldest revision whose code works on NEWEST. A migration that only adds (tables, indexes, columns with a default: "expand") leaves it;
one that takes away what older code uses ("contract") sets it to the revision that used it last, plus one, and comes a release later. So the
controllers of one database are upgraded one after another: the new one expands, the old ones go on."""


def is_current(connection: sa.Connection) -> bool:
    """Whether nothing is to be done: the schema is this version's, or a newer one that says that this version works on it.

    False for an empty database. Raises FailedPrecondition/SCHEMA_TOO_NEW.
    """
    if "alembic_version" not in sa.inspect(connection).get_table_names():
        return False
    found = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalars().all()
    if len(found) == 1 and found[0] > NEWEST:
        if _works_since(connection, found[0]) <= NEWEST:
            return True
        raise FailedPrecondition("SCHEMA_TOO_NEW", "The database was made by a newer Seawall; use that one.")
    return list(found) == [NEWEST]


def note_works_since(connection: sa.Connection) -> None:
    """After a migration."""
    connection.execute(sa.update(meta).values(works_since=f"{NEWEST} {WORKS_SINCE}"))


def _works_since(connection: sa.Connection, revision: str) -> str:
    """What the migration to that revision noted; where it noted nothing, the revision itself."""
    if "works_since" not in {column["name"] for column in sa.inspect(connection).get_columns(meta.name)}:
        return revision
    noted = connection.execute(sa.select(meta.c.works_since)).scalar_one_or_none() or ""
    of, _, since = noted.partition(" ")
    return since if of == revision and since else revision


def migrate(connection: sa.Connection) -> None:
    """Run what is missing, in the connection's transaction.

    Raises FailedPrecondition/SCHEMA_TOO_NEW.
    """
    # Here and not above: a controller whose schema is current serves without these 10 MB.
    from alembic import command
    from alembic.config import Config
    from alembic.util.exc import CommandError

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(SCRIPTS))
    config.set_main_option("path_separator", "os")
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise FailedPrecondition(
            "SCHEMA_TOO_NEW", f"The database was made by a newer Seawall; use that one. ({error})"
        ) from error
