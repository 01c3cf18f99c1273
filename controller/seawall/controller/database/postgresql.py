"""The database on a PostgreSQL server, shared by several controllers.

A write is SERIALIZABLE: what a closure read is still so when it commits, or the closure runs again. Each write leaves a mark with a name of
its own in its transaction. When the connection breaks during the commit, a new connection tries to make the same mark: if that mark is
taken, the write was committed; if not, it never will be, and the closure runs again.
"""

import os
import threading
import uuid
from collections.abc import Callable
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, IntegrityError

from seawall.controller.database.again import Again, Away, Conflict
from seawall.controller.database.database import Database
from seawall.controller.database.postgresql_address import Address
from seawall.controller.database.postgresql_engine import CONNECTIONS, make_engine
from seawall.controller.database.postgresql_faults import UNIQUE, is_disconnect, meaning, sqlstate_of, text_of
from seawall.controller.database.schema import prepare
from seawall.controller.database.tables import write_marks
from seawall.controller.errors import InvalidArgument, Unavailable
from seawall.repository.clock import Clock, SystemClock

T = TypeVar("T")
WRITERS = 1
"""As with SQLite: writes of one controller at the same time would mostly make each other run again. With four, 266 backups of a fleet that
heartbeats lost 1,400 tries to each other, and the scheduler's starts lost for 20 s on end."""
MARKS_LIVE_US = 3600 * 1_000_000
"""A mark is asked for within seconds, by the process that made it."""

SWEEP_EVERY = 1000
"""Writes of this process between two removals of old marks."""

MIGRATION_LOCK = 0x5EA3A11
"""Of `pg_advisory_xact_lock`: an empty database has no row on which two controllers that start at once could meet."""


class PostgresqlDatabase(Database):
    """A `Store`."""

    def __init__(
        self, address: Address, clock: Clock | None = None, locked: int | None = None, holder: str = ""
    ) -> None:
        """Connects and migrates.

        `locked`: the descriptor of the state directory's lock, closed with the rest. `holder`: the name of this controller.
        Raises Unavailable/DATABASE_UNREACHABLE; FailedPrecondition/DATABASE_NO_RIGHTS, DATABASE_FOREIGN, SCHEMA_TOO_NEW;
        ResourceExhausted/DATABASE_FULL.
        """
        engine = PostgresqlEngine(address, clock or SystemClock(), locked, holder)
        super().__init__(engine)
        try:
            engine.prepare()
        except BaseException:
            self.close()
            raise


class PostgresqlEngine:
    """An `Engine`."""

    writers = WRITERS
    readers = CONNECTIONS - WRITERS

    def __init__(self, address: Address, clock: Clock, locked: int | None = None, holder: str = "") -> None:
        """`locked`: the descriptor of the state directory's lock; closed with the rest."""
        self._locked = locked
        self._address = address
        self._clock = clock
        self._again = Again(clock)
        self._engine = make_engine(address, holder)
        self._serializable = self._engine.execution_options(isolation_level="SERIALIZABLE")
        self._snapshot = self._engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        self._plain = self._engine.execution_options(isolation_level="READ COMMITTED")
        self._writes = 0
        self._counting = threading.Lock()

    def prepare(self) -> None:
        """Tables and first rows; one controller at a time."""
        try:
            # Not SERIALIZABLE: what a transaction reads after it waited for the lock must be what the one before committed.
            with self._plain.begin() as connection:
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(MIGRATION_LOCK)))
                # An index of millions of rows takes its time; ended after a minute, each start would begin it anew.
                connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
                prepare(connection)
        except DBAPIError as error:
            self._refuse(error)

    def write(self, closure: Callable[[sa.Connection], T]) -> T:
        doubled: list[IntegrityError] = []

        def once() -> T:
            try:
                return self._write_once(closure)
            except IntegrityError as error:
                # Two that add the same row at once: the second finds it when it looks again, and says what it says then.
                if doubled or sqlstate_of(error) != UNIQUE:
                    raise
                doubled.append(error)
                raise Conflict(text_of(error)) from error

        result = self._again.run(once)
        self._sweep()
        return result

    def read(self, closure: Callable[[sa.Connection], T]) -> T:
        def once() -> T:
            with _meant(), self._snapshot.begin() as connection:
                return closure(connection)

        return self._again.run(once)

    def close(self) -> None:
        self._engine.dispose()
        if self._locked is not None:
            os.close(self._locked)
            self._locked = None

    def _write_once(self, closure: Callable[[sa.Connection], T]) -> T:
        mark = uuid.uuid4().hex
        with _meant(), self._serializable.connect() as connection:
            transaction = connection.begin()
            result = closure(connection)
            connection.execute(sa.insert(write_marks).values(id=mark, written_us=self._clock.now_us()))
            try:
                transaction.commit()
            except DBAPIError as error:
                if not is_disconnect(error):
                    raise
                # The connection is no use any more, whatever the driver thinks of it.
                connection.invalidate()
                if not self._was_committed(mark):
                    raise Away(text_of(error)) from error
        return result

    def _was_committed(self, mark: str) -> bool:
        """Waits for the transaction, if the server still works on it; once this returns False it is never committed.

        Raises Unavailable/DATABASE_UNSURE.
        """

        values = {"id": mark, "written_us": self._clock.now_us(), "void": 1}

        def once() -> bool:
            try:
                with _meant(), self._plain.begin() as connection:
                    connection.execute(sa.insert(write_marks).values(**values))
            except IntegrityError:
                # Its own, or the one that was made here by a try whose answer was lost in its turn.
                with _meant(), self._plain.begin() as connection:
                    void = connection.execute(sa.select(write_marks.c.void).where(write_marks.c.id == mark))
                    return not void.scalar_one()
            return False

        try:
            return self._again.run(once)
        except Unavailable as error:
            message = (
                "The connection to the database broke while something was being committed, and the database cannot be asked what "
                "became of it. Ask again with the same request id."
            )
            raise Unavailable("DATABASE_UNSURE", message) from error

    def _sweep(self) -> None:
        """Old marks go, now and then, in a transaction that conflicts with none. What fails here is done another time."""
        with self._counting:
            self._writes += 1
            if self._writes % SWEEP_EVERY:
                return
        old = write_marks.c.written_us < self._clock.now_us() - MARKS_LIVE_US
        try:
            with self._plain.begin() as connection:
                connection.execute(sa.delete(write_marks).where(old))
        except DBAPIError as error:
            if not isinstance(meaning(error), Conflict | Away):
                raise

    def _refuse(self, error: DBAPIError) -> None:
        """Raises what a start says of a server that cannot be used."""
        told = meaning(error)
        if isinstance(told, Conflict | Away):
            raise Unavailable(
                "DATABASE_UNREACHABLE",
                f"The database {self._address} cannot be used: {text_of(error)}. Is the server there, and may this user use it?",
            ) from error
        raise told from error


class _meant:
    """Errors of the driver leave as what they mean."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OverflowError):
            raise InvalidArgument("BAD_NUMBER", "A number in the request is out of bounds.") from error
        if isinstance(error, sa.exc.TimeoutError):
            raise Away("all its connections are in use") from error
        if not isinstance(error, DBAPIError) or isinstance(error, IntegrityError):
            return
        told = meaning(error)
        if told is not error:
            raise told from error
