"""The database server of the simulated controllers: the product's SQL on one SQLite file that outlives them and can be rolled back.

Each controller has its connection: closures run whole, at a moment that the simulation chooses, never after their process was killed.
"""

import asyncio
import random
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import sqlalchemy as sa

from seawall.controller.database.database import Database
from seawall.controller.database.sqlite import SqliteEngine, lock
from seawall.controller.database.transaction import RowTransaction
from seawall.controller.errors import Unavailable
from seawall.controller.store.transaction import Transaction

from .fibres import wait_for
from .process import SERVING, Process

T = TypeVar("T")
LATENCY_SECONDS = (0.0005, 0.004)


@dataclass
class Stop:
    """A process stands still for `seconds` in its own work, when it has decided what to write and after `writes` more that pass."""

    writes: int
    seconds: float


class Watcher(Protocol):
    """Sees each transaction that committed."""

    def begin(self) -> None: ...

    def committed(self, process: Process, connection: sa.Connection) -> None:
        """Before the commit, in the transaction."""

    def over(self, *, done: bool) -> None: ...


class DatabaseServer:
    """`file` is there already, with its tables."""

    def __init__(self, file: Path, rng: random.Random, watcher: Watcher) -> None:
        self._file = file
        self.rng = rng
        self.watcher = watcher
        self.away_until = 0.0
        self.stops: dict[Process, Stop] = {}
        self.engine = self._opened()

    def _opened(self) -> SqliteEngine:
        return SqliteEngine(self._file, lock(self._file.with_suffix(".lock")))

    def read(self, closure: Callable[[Transaction], T]) -> T:
        """For the simulation's own eyes."""
        return self.engine.read(lambda connection: closure(RowTransaction(connection)))

    def copy(self, target: Path) -> None:
        """As a nightly copy."""
        with closing(sqlite3.connect(self._file)) as old, closing(sqlite3.connect(target)) as new:
            old.backup(new)

    def roll_back(self, copy: Path) -> None:
        """Nobody may be connected."""
        self.close()
        for suffix in ("", "-wal", "-shm"):
            Path(f"{self._file}{suffix}").unlink(missing_ok=True)
        shutil.copy(copy, self._file)
        self.engine = self._opened()

    def close(self) -> None:
        self.engine.close()


class Connection(Database):
    """A `Store`: one process's way to the server."""

    def __init__(self, server: DatabaseServer, process: Process, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(server.engine)
        self._server = server
        self._process = process
        self._loop = loop

    async def write(self, closure: Callable[[Transaction], T]) -> T:
        await self._arrive(writes=True)
        result = self._write(lambda connection: closure(RowTransaction(connection)))
        await self._process.awake()
        return result

    async def read(self, closure: Callable[[Transaction], T]) -> T:
        await self._arrive()
        result = self._read(lambda connection: closure(RowTransaction(connection)))
        await self._process.awake()
        return result

    def write_sql(self, closure: Callable[[sa.Connection], T]) -> T:
        wait_for(lambda: self._arrive(writes=True))
        return self._write(closure)

    def read_sql(self, closure: Callable[[sa.Connection], T]) -> T:
        wait_for(self._arrive)
        return self._read(closure)

    def close(self) -> None:
        """The server stays."""

    async def _arrive(self, *, writes: bool = False) -> None:
        await self._process.awake()
        await asyncio.sleep(self._server.rng.uniform(*LATENCY_SECONDS))
        if writes and not SERVING.get():
            self._stop()
        await self._process.awake()
        if self._loop.time() < self._server.away_until:
            raise Unavailable("DATABASE", "The database cannot be used now. Nothing is lost; this is tried again.")

    def _stop(self) -> None:
        stop = self._server.stops.get(self._process)
        if stop is None:
            return
        stop.writes -= 1
        if stop.writes < 0:
            del self._server.stops[self._process]
            self._process.stopped_until = self._loop.time() + stop.seconds

    def _write(self, closure: Callable[[sa.Connection], T]) -> T:
        watcher, process = self._server.watcher, self._process

        def watched(connection: sa.Connection) -> T:
            watcher.begin()
            result = closure(connection)
            watcher.committed(process, connection)
            return result

        done = False
        try:
            result = self._server.engine.write(watched)
            done = True
            return result
        finally:
            watcher.over(done=done)

    def _read(self, closure: Callable[[sa.Connection], T]) -> T:
        return self._server.engine.read(closure)
