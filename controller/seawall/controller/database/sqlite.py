"""The database in one SQLite file: one writer thread, a few reader threads, one process.

Also the only place that knows when a closure runs there: the transaction begins IMMEDIATE, so nothing that it read can change before it
commits.
"""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

from seawall.controller.database.database import Database
from seawall.controller.database.schema import prepare
from seawall.controller.database.sqlite_engines import reader_engine, writer_engine
from seawall.controller.database.sqlite_statistics import give_statistics
from seawall.controller.errors import DataLoss, FailedPrecondition, InvalidArgument, ResourceExhausted, Unavailable

T = TypeVar("T")
READERS = 4
FULL = (
    "The file system of the controller's database is full: nothing can be written down. "
    "Free space on the controller's machine (its state directory); what waits goes on by itself."
)
UNUSABLE = ("attempt to write a readonly database", "disk I/O error")
UNWRITABLE = (
    "The controller's database cannot be written ({}): its file system became read-only, as after an error of its disk, or the disk "
    "fails. See the kernel's log of the controller's machine; what waits goes on by itself once it can be written."
)
SMALLEST_ROOM_BYTES = 64 * 1024
"""For the index of the write-ahead log. Without it SQLite speaks of an input or output error."""


class SqliteDatabase(Database):
    """A `Store`; `close` lets the next process in."""

    def __init__(self, file: Path, lock_file: Path | None = None) -> None:
        """Locks, opens, migrates.

        Raises FailedPrecondition/DATABASE_IN_USE, SCHEMA_TOO_NEW, DATABASE_FOREIGN, DATABASE_UNUSABLE; ResourceExhausted/DATABASE_FULL;
        DataLoss/DATABASE_DAMAGED.
        """
        super().__init__(SqliteEngine(file, lock(lock_file or file.with_suffix(".lock"))))
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


class SqliteEngine:
    """An `Engine`."""

    writers = 1
    readers = READERS

    def __init__(self, file: Path, locked: int) -> None:
        """`locked`: the descriptor of the lock; closed with the rest."""
        self._locked = locked
        self._writer = writer_engine(file)
        self._reader = reader_engine(file, READERS)

    def write(self, closure: Callable[[sa.Connection], T]) -> T:
        return _run(self._writer, closure)

    def read(self, closure: Callable[[sa.Connection], T]) -> T:
        return _run(self._reader, closure)

    def close(self) -> None:
        self._writer.dispose()
        self._reader.dispose()
        os.close(self._locked)


def lock(file: Path) -> int:
    """One process per state directory: SQLite lets two in, and so does the index. The lock goes with the process, whatever ends it.

    Raises FailedPrecondition/DATABASE_IN_USE.
    """
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise FailedPrecondition("DATABASE_IN_USE", f"Another controller runs with {file}; stop it first.") from error
    return descriptor


def _prepare(connection: sa.Connection) -> None:
    prepare(connection)
    give_statistics(connection)


def _has_no_room(folder: Path) -> bool:
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize < SMALLEST_ROOM_BYTES


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
            raise ResourceExhausted("DATABASE_FULL", FULL) from error
        if str(error.orig) in UNUSABLE:
            raise Unavailable("DATABASE_UNWRITABLE", UNWRITABLE.format(error.orig)) from error
        raise Unavailable("DATABASE", f"The database did not do it: {error.orig}. Try again.") from error
    except DBAPIError as error:
        raise DataLoss(
            "DATABASE_DAMAGED", f"The database cannot be read: {error.orig}. Restore it from your newest backup of it."
        ) from error
