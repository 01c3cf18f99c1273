"""The controller's `Store`: threads for writers and readers around an engine, which knows how one closure becomes one transaction."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

import sqlalchemy as sa

from seawall.controller.database.transaction import RowTransaction
from seawall.controller.errors import ControllerError
from seawall.controller.store.transaction import Transaction

T = TypeVar("T")

UNWRITTEN = ("DATABASE", "DATABASE_FULL", "DATABASE_UNWRITABLE", "DATABASE_DAMAGED", "DATABASE_NO_RIGHTS")
"""Reasons with which a database does not take a write, whatever is written."""


class Engine(Protocol):
    """One database. Thread-safe. Errors leave it as ControllerError, but for sqlalchemy's IntegrityError."""

    @property
    def writers(self) -> int:
        """Threads that may write at once."""

    @property
    def readers(self) -> int: ...

    def write(self, closure: Callable[[sa.Connection], T]) -> T:
        """The closure in one serialised transaction, durable on return. It may run again after a conflict."""

    def read(self, closure: Callable[[sa.Connection], T]) -> T:
        """The closure in a snapshot of the last commit."""

    def close(self) -> None: ...


class Database:
    """A `Store`. Open it once per process; `close` ends its threads."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._writer = ThreadPoolExecutor(engine.writers, thread_name_prefix="database-writer")
        self._readers = ThreadPoolExecutor(engine.readers, thread_name_prefix="database-reader")
        self.on_failed_write: Callable[[ControllerError], None] = lambda error: None
        """Called from writer threads when the database did not take a write (a reason of UNWRITTEN)."""

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
        self._engine.close()

    def _write(self, closure: Callable[[sa.Connection], T]) -> T:
        try:
            return self._engine.write(closure)
        except ControllerError as error:
            if error.reason in UNWRITTEN:
                self.on_failed_write(error)
            raise

    def _read(self, closure: Callable[[sa.Connection], T]) -> T:
        return self._engine.read(closure)


def _with_roles(closure: Callable[[Transaction], T]) -> Callable[[sa.Connection], T]:
    return lambda connection: closure(RowTransaction(connection))
