"""Connections to PostgreSQL: how they are made, how long anything on them may take."""

import psycopg
import sqlalchemy as sa
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from sqlalchemy.pool import QueuePool

from seawall.controller.database import collation as collation
from seawall.controller.database.leadership import connection_name
from seawall.controller.database.postgresql_address import Address

CONNECTIONS = 10
WAIT_SECONDS = 10
"""For a free connection."""

LIFE_SECONDS = 1800
"""Of a connection: after a failover they spread over again."""

OPTIONS = {
    "connect_timeout": "5",
    # A server that is gone without a word is noticed by the kernel, not after hours.
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "10000",
    # Of several servers only the one that takes writes.
    "target_session_attrs": "read-write",
    "client_encoding": "UTF8",
}

SETTINGS = (
    "SET timezone = 'UTC'",
    "SET statement_timeout = '60s'",
    "SET lock_timeout = '10s'",
    # A controller that stands still in the middle of a transaction must not hold up the others.
    "SET idle_in_transaction_session_timeout = '5s'",
    # What is acknowledged is on disk, whatever the server's default is. One that waits for standbys stays.
    "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') IN ('off', 'local')",
)


def make_engine(address: Address, holder: str) -> sa.Engine:
    """A pool. `holder`: the name of this controller, "" where it has none.

    Nothing is prepared on the server: poolers that share connections between transactions would lose it.
    """

    named = {"application_name": connection_name(holder)}

    def connect() -> psycopg.Connection:
        given = {key: str(value) for key, value in conninfo_to_dict(address.conninfo()).items()}
        connection = psycopg.connect(
            make_conninfo(**(OPTIONS | given | named)), prepare_threshold=None, autocommit=True
        )
        try:
            for setting in SETTINGS:
                connection.execute(setting)
            connection.autocommit = False
        except BaseException:
            connection.close()
            raise
        return connection

    return sa.create_engine(
        "postgresql+psycopg://",
        creator=connect,
        poolclass=QueuePool,
        hide_parameters=True,  # of an error that is logged: there are hashes and sealed keys among them
        pool_size=CONNECTIONS,
        max_overflow=0,
        pool_timeout=WAIT_SECONDS,
        pool_recycle=LIFE_SECONDS,
    )
