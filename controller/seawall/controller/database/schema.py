"""Makes a database ours: its tables, its first rows; or refuses what is not ours."""

import sqlalchemy as sa

from seawall.controller.database.leadership import META, NAME
from seawall.controller.database.migrate import is_current, migrate, note_works_since
from seawall.controller.database.tables import leader, meta
from seawall.controller.errors import FailedPrecondition


def prepare(connection: sa.Connection) -> None:
    """In the connection's transaction.

    Raises FailedPrecondition/DATABASE_FOREIGN (another application's tables are not to be mixed with ours), SCHEMA_TOO_NEW.
    """
    tables = sa.inspect(connection).get_table_names()
    if tables and "alembic_version" not in tables:
        raise FailedPrecondition(
            "DATABASE_FOREIGN", f"The database is not a controller's: it has a table {tables[0]!r}. Move it away."
        )
    migrated = not is_current(connection)
    if migrated:
        migrate(connection)
    if connection.execute(sa.select(meta.c.id)).first() is None:
        connection.execute(sa.insert(meta).values(id=META, db_epoch=1))
        connection.execute(sa.insert(leader).values(name=NAME))
    if migrated:
        note_works_since(connection)
