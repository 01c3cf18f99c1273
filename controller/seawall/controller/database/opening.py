"""Opens the database that a controller works on: SQLite in its state directory, or the server that `controller init` was told."""

from pathlib import Path

from seawall.controller.config import ControllerConfig
from seawall.controller.database.database import Database
from seawall.controller.database.record import recorded
from seawall.controller.database.sqlite import SqliteDatabase, lock
from seawall.controller.errors import FailedPrecondition


def open_database(config: ControllerConfig, holder: str = "") -> Database:
    """One process per state directory, whatever the engine. The database belongs to this cluster alone from now on.

    `holder`: the name of this controller among those of the database.
    Raises what SqliteDatabase and PostgresqlDatabase raise; FailedPrecondition/DATABASE_IN_USE, DATABASE_DIFFERS, DATABASE_OF_ANOTHER;
    DataLoss/STATE_FILE_DAMAGED.
    """
    paths = config.paths
    url, password_file = recorded(paths)
    if config.database and config.database != url:
        before = url or f"SQLite in {paths.database}"
        raise FailedPrecondition(
            "DATABASE_DIFFERS",
            f"This controller was made with {before}, and is told to use {config.database}. If the database was moved, write its new "
            f"address into {paths.database_record}.",
        )
    if not url:
        return SqliteDatabase(paths.database, paths.lock)
    return _open_shared(config, url, config.database_password_file or password_file, holder)


def check_new(config: ControllerConfig) -> None:
    """Before `controller init` makes anything: whether a server can be used that nobody uses yet. Makes its tables.

    Raises as `open_database` does.
    """
    # Here and not above: a controller on SQLite serves without the driver's memory.
    from seawall.controller.database.claim import require_unclaimed
    from seawall.controller.database.postgresql import PostgresqlDatabase
    from seawall.controller.database.postgresql_address import parse_address

    database = PostgresqlDatabase(parse_address(config.database, config.database_password_file))
    try:
        database.read_sql(require_unclaimed)
    finally:
        database.close()


def _open_shared(config: ControllerConfig, url: str, password_file: Path | None, holder: str) -> Database:
    from seawall.controller.database.claim import claim
    from seawall.controller.database.postgresql import PostgresqlDatabase
    from seawall.controller.database.postgresql_address import parse_address

    paths = config.paths
    address = parse_address(url, password_file)
    database = PostgresqlDatabase(address, locked=lock(paths.lock), holder=holder)
    try:
        cluster_id = paths.known_cluster_id()
        database.write_sql(lambda connection: claim(connection, cluster_id))
    except BaseException:
        database.close()
        raise
    return database
