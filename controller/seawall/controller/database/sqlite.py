"""The controller's `Store` on SQLite: one writer thread, a few reader threads, one process.

Also the only place that knows when a closure runs: the transaction begins IMMEDIATE, so nothing that it read can change before it commits.
"""

import asyncio
import fcntl
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

from seawall.controller.database.answers import AnswerRows
from seawall.controller.database.engine import reader_engine, writer_engine
from seawall.controller.database.fleet import FleetRows
from seawall.controller.database.jobs import JobRows
from seawall.controller.database.leadership import META, NAME, LeadershipRows
from seawall.controller.database.migrate import is_current, migrate
from seawall.controller.database.packs import PackRows
from seawall.controller.database.pins import PinRows
from seawall.controller.database.points import PointRows
from seawall.controller.database.repositories import RepositoryRows
from seawall.controller.database.runs import RunRows
from seawall.controller.database.tables import leader, meta
from seawall.controller.errors import DataLoss, FailedPrecondition, InvalidArgument, ResourceExhausted, Unavailable
from seawall.controller.store import Transaction

T = TypeVar("T")
READERS = 4


class RowTransaction:
    """A `Transaction` over one connection; roles are made when first used."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    @cached_property
    def leadership(self) -> LeadershipRows:
        return LeadershipRows(self._connection)

    @cached_property
    def fleet(self) -> FleetRows:
        return FleetRows(self._connection)

    @cached_property
    def runs(self) -> RunRows:
        return RunRows(self._connection)

    @cached_property
    def points(self) -> PointRows:
        return PointRows(self._connection)

    @cached_property
    def packs(self) -> PackRows:
        return PackRows(self._connection)

    @cached_property
    def pins(self) -> PinRows:
        return PinRows(self._connection)

    @cached_property
    def jobs(self) -> JobRows:
        return JobRows(self._connection)

    @cached_property
    def repositories(self) -> RepositoryRows:
        return RepositoryRows(self._connection)

    @cached_property
    def answers(self) -> AnswerRows:
        return AnswerRows(self._connection)


class SqliteDatabase:
    """A `Store`. Open it once per process; `close` ends its threads and lets the next process in."""

    def __init__(self, file: Path, lock_file: Path | None = None) -> None:
        """Locks, opens, migrates.

        Raises FailedPrecondition/DATABASE_IN_USE, SCHEMA_TOO_NEW, DATABASE_FOREIGN, DATABASE_UNUSABLE; ResourceExhausted/DATABASE_FULL;
        DataLoss/DATABASE_DAMAGED.
        """
        self._lock = _lock(lock_file or file.with_suffix(".lock"))
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="database-writer")
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="database-reader")
        self._write_engine = writer_engine(file)
        self._read_engine = reader_engine(file, READERS)
        try:
            self.write_sql(_prepare)
        except (Unavailable, ResourceExhausted) as error:
            self.close()
            why = getattr(error.__cause__, "orig", error)
            if isinstance(error, ResourceExhausted) or _has_no_room(file.parent):
                message = (
                    f"{file} cannot be written ({why}): its file system is full. Make room there, and start it again."
                )
                raise ResourceExhausted("DATABASE_FULL", message) from error
            message = f"{file} cannot be used: {why}. It must be a file, or not there yet, that this user can write."
            raise FailedPrecondition("DATABASE_UNUSABLE", message) from error
        except BaseException:
            self.close()
            raise

    async def write(self, closure: Callable[[Transaction], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._writer, self._write, _with_roles(closure))

    async def read(self, closure: Callable[[Transaction], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, _with_roles(closure))

    def write_now(self, closure: Callable[[Transaction], T]) -> T:
        return self.write_sql(_with_roles(closure))

    def read_now(self, closure: Callable[[Transaction], T]) -> T:
        return self.read_sql(_with_roles(closure))

    def write_sql(self, closure: Callable[[sa.Connection], T]) -> T:
        """For `database/` alone."""
        return self._writer.submit(self._write, closure).result()

    def read_sql(self, closure: Callable[[sa.Connection], T]) -> T:
        """For `database/` alone."""
        return self._readers.submit(self._read, closure).result()

    def close(self) -> None:
        self._writer.shutdown()
        self._readers.shutdown()
        self._write_engine.dispose()
        self._read_engine.dispose()
        os.close(self._lock)

    def _write(self, closure: Callable[[sa.Connection], T]) -> T:
        return _run(self._write_engine, closure)

    def _read(self, closure: Callable[[sa.Connection], T]) -> T:
        return _run(self._read_engine, closure)


def _with_roles(closure: Callable[[Transaction], T]) -> Callable[[sa.Connection], T]:
    return lambda connection: closure(RowTransaction(connection))


_FULL = (
    "The file system of the controller's database is full: nothing can be written down. "
    "Free space on the controller's machine (its state directory); what waits goes on by itself."
)


_SMALLEST_ROOM_BYTES = 64 * 1024
"""For the index of the write-ahead log. Without it SQLite speaks of an input or output error."""


def _has_no_room(folder: Path) -> bool:
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize < _SMALLEST_ROOM_BYTES


def _run(engine: sa.Engine, closure: Callable[[sa.Connection], T]) -> T:
    try:
        with engine.begin() as connection:
            return closure(connection)
    except IntegrityError:
        raise
    except OverflowError as error:
        raise InvalidArgument("BAD_NUMBER", "A number in the request is out of bounds.") from error
    except OperationalError as error:
        if "is full" in str(error.orig):
            raise ResourceExhausted("DATABASE_FULL", _FULL) from error
        raise Unavailable("DATABASE", f"The database did not do it: {error.orig}. Try again.") from error
    except DBAPIError as error:
        raise DataLoss(
            "DATABASE_DAMAGED", f"The database cannot be read: {error.orig}. Restore it from your newest backup of it."
        ) from error


def _prepare(connection: sa.Connection) -> None:
    """Raises FailedPrecondition/DATABASE_FOREIGN: another application's tables are not to be mixed with ours."""
    tables = sa.inspect(connection).get_table_names()
    if tables and "alembic_version" not in tables:
        raise FailedPrecondition(
            "DATABASE_FOREIGN", f"The database is not a controller's: it has a table {tables[0]!r}. Move it away."
        )
    if not is_current(connection):
        migrate(connection)
    if connection.execute(sa.select(meta.c.id)).first() is None:
        connection.execute(sa.insert(meta).values(id=META, db_epoch=1))
        connection.execute(sa.insert(leader).values(name=NAME))


def _lock(file: Path) -> int:
    """SQLite lets two processes in; the controller does not. The lock goes with the process, whatever ends it."""
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise FailedPrecondition("DATABASE_IN_USE", f"Another controller runs with {file}; stop it first.") from error
    return descriptor
