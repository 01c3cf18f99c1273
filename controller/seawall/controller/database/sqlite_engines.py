"""Engines over one SQLite file: a writer that begins IMMEDIATE, readers that do not lock."""

import sqlite3
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.pool import QueuePool, StaticPool

PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=5000")


def writer_engine(file: Path) -> sa.Engine:
    """One connection. Every transaction begins IMMEDIATE: an upgrade from read to write fails at once and ignores busy_timeout."""
    engine = _engine(file, poolclass=StaticPool)
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    return engine


def reader_engine(file: Path, connections: int) -> sa.Engine:
    """Several connections that see the last commit and never block the writer."""
    engine = _engine(file, poolclass=QueuePool, pool_size=connections, max_overflow=0)
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
    return engine


def _engine(file: Path, **pool: Any) -> sa.Engine:
    # An error that is logged names no parameters: there are hashes and sealed keys among them.
    connecting = {"check_same_thread": False}
    engine = sa.create_engine(f"sqlite:///{file}", connect_args=connecting, hide_parameters=True, **pool)
    event.listen(engine, "connect", _prepare)
    return engine


def _prepare(connection: sqlite3.Connection, _record: object) -> None:
    # The driver must not begin transactions by itself: it would begin DEFERRED.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in PRAGMAS:
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
