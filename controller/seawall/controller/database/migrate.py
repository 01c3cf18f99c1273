"""Brings the schema to this version, or refuses one that a newer Seawall made."""

from pathlib import Path

import sqlalchemy as sa

from seawall.controller.errors import FailedPrecondition

SCRIPTS = Path(__file__).parent / "migrations"
NEWEST = "0005"
"""The revision that this version works with: the newest one in `migrations/versions`."""


def is_current(connection: sa.Connection) -> bool:
    """Whether nothing is to be done. False for an empty database."""
    if "alembic_version" not in sa.inspect(connection).get_table_names():
        return False
    return connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalars().all() == [NEWEST]


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
