"""Whose a shared database is: controllers of two clusters, with two certificate authorities, must not meet on one."""

import sqlalchemy as sa

from seawall.controller.database.leadership import META
from seawall.controller.database.tables import meta
from seawall.controller.errors import FailedPrecondition

ANOTHER = (
    "The database belongs to another controller. For one more controller of that cluster copy its state directory (without `index` and "
    "`lock`) to the new machine, instead of making a new one; for a new cluster make a new database."
)


def claim(connection: sa.Connection, cluster_id: str) -> None:
    """Ours from now on. Raises FailedPrecondition/DATABASE_OF_ANOTHER."""
    owner = _owner(connection)
    if not owner:
        connection.execute(sa.update(meta).where(meta.c.id == META).values(cluster_id=cluster_id))
    elif owner != cluster_id:
        raise FailedPrecondition("DATABASE_OF_ANOTHER", ANOTHER)


def require_unclaimed(connection: sa.Connection) -> None:
    """Raises FailedPrecondition/DATABASE_OF_ANOTHER."""
    if _owner(connection):
        raise FailedPrecondition("DATABASE_OF_ANOTHER", ANOTHER)


def _owner(connection: sa.Connection) -> str:
    return str(connection.execute(sa.select(meta.c.cluster_id).where(meta.c.id == META)).scalar_one())
