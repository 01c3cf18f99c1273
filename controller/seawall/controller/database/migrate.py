"""Brings the schema to this version, or refuses one that a newer Seawall made."""

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.util.exc import CommandError

from seawall.controller.errors import FailedPrecondition

SCRIPTS = Path(__file__).parent / "migrations"


def migrate(connection: sa.Connection) -> None:
    """Run what is missing, in the connection's transaction.

    Raises FailedPrecondition/SCHEMA_TOO_NEW.
    """
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(SCRIPTS))
    config.set_main_option("path_separator", "os")
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise FailedPrecondition(
            "SCHEMA_TOO_NEW", f"The database was made by a newer Seawall; use that one. ({error})"
        ) from error
