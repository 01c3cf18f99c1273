"""The agent's journal: what was begun on this host, written before it is begun, so that a crash leaves nothing unknown.

SQLite in WAL mode with synchronous=FULL. The supervisor and its workers write it; each call is one transaction on a connection of its own
thread's choosing (a lock serialises them), so one Journal may be shared between threads, and processes wait for each other.
"""

import sqlite3
import threading
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from seawall.agent.control.messages import AttemptRef
from seawall.agent.errors import AgentError
from seawall.repository.clock import Clock

FILE_NAME = "journal.sqlite"
_WAIT_SECONDS = 10.0
_KEEP_US = 30 * 24 * 3600 * 1_000_000  # ended attempts are kept this long for people

_SCHEMA = """
CREATE TABLE IF NOT EXISTS attempts (
  attempt_id TEXT PRIMARY KEY, attempt_no INTEGER NOT NULL, db_epoch INTEGER NOT NULL, run_id TEXT NOT NULL, vm_id TEXT NOT NULL,
  kind TEXT NOT NULL, pid INTEGER NOT NULL DEFAULT 0, started_us INTEGER NOT NULL, ended_us INTEGER, outcome TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE TABLE IF NOT EXISTS checkpoints (
  name TEXT PRIMARY KEY, vm_id TEXT NOT NULL, repository_id TEXT NOT NULL, attempt_id TEXT NOT NULL, state TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS restored (
  run_id TEXT PRIMARY KEY, attempt_id TEXT NOT NULL, vm_id TEXT NOT NULL, restored_us INTEGER NOT NULL
) STRICT;
"""


class JournalUnusable(AgentError):
    """What is begun here cannot be written down, so it is not begun."""

    reason = "JOURNAL_UNUSABLE"
    next_step = "See the free space and the health of the file system that holds the agent's state on that host."


@dataclass(frozen=True, slots=True)
class JournalledAttempt:
    """An attempt that was begun and not ended."""

    ref: AttemptRef
    run_id: str
    vm_id: str
    kind: str
    pid: int  # of its worker, 0 before there was one


class Journal:
    """Open it once per process. `close()` when done. Every method may raise JournalUnusable, and may wait for the disk and for others."""

    def __init__(self, state_dir: Path, clock: Clock) -> None:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._clock = clock
        self._lock = threading.Lock()
        with _mapped():
            self._db = sqlite3.connect(
                state_dir / FILE_NAME, timeout=_WAIT_SECONDS, isolation_level=None, check_same_thread=False
            )
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.executescript(_SCHEMA)

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def begin_attempt(self, ref: AttemptRef, run_id: str, vm_id: str, kind: str) -> None:
        """Before its worker is started. Repeatable."""
        self._write(
            "INSERT INTO attempts (attempt_id, attempt_no, db_epoch, run_id, vm_id, kind, started_us) VALUES (?,?,?,?,?,?,?)"
            " ON CONFLICT (attempt_id) DO UPDATE SET ended_us = NULL, outcome = '', pid = 0",
            (ref.attempt_id, ref.attempt_no, ref.db_epoch, run_id, vm_id, kind, self._clock.now_us()),
        )

    def set_worker(self, attempt_id: str, pid: int) -> None:
        self._write("UPDATE attempts SET pid = ? WHERE attempt_id = ?", (pid, attempt_id))

    def end_attempt(self, attempt_id: str, outcome: str) -> None:
        """After its leftovers are gone. Old ended attempts are forgotten on the way."""
        now_us = self._clock.now_us()
        self._write(
            "UPDATE attempts SET ended_us = ?, outcome = ?, pid = 0 WHERE attempt_id = ? AND ended_us IS NULL",
            (now_us, outcome, attempt_id),
        )
        self._write("DELETE FROM attempts WHERE ended_us < ?", (now_us - _KEEP_US,))
        self._write("DELETE FROM restored WHERE restored_us < ?", (now_us - _KEEP_US,))

    def open_attempts(self) -> list[JournalledAttempt]:
        """Oldest first."""
        rows = self._read(
            "SELECT attempt_id, attempt_no, db_epoch, run_id, vm_id, kind, pid FROM attempts"
            " WHERE ended_us IS NULL ORDER BY started_us, attempt_id"
        )
        return [JournalledAttempt(AttemptRef(*row[:3]), *row[3:]) for row in rows]

    def note_checkpoint(self, name: str, vm_id: str, repository_id: str, attempt_id: str) -> None:
        """Before libvirt is asked to make it: until `keep_checkpoint`, a sweep deletes it."""
        self._write(
            "INSERT INTO checkpoints (name, vm_id, repository_id, attempt_id, state) VALUES (?,?,?,?,'begun')"
            " ON CONFLICT (name) DO NOTHING",
            (name, vm_id, repository_id, attempt_id),
        )

    def adopt_checkpoint(self, name: str, vm_id: str, repository_id: str, attempt_id: str) -> None:
        """An attempt goes on with a snapshot that another one, now dead, had begun: the checkpoint is its own now."""
        self._write(
            "INSERT INTO checkpoints (name, vm_id, repository_id, attempt_id, state) VALUES (?,?,?,?,'begun')"
            " ON CONFLICT (name) DO UPDATE SET attempt_id = excluded.attempt_id",
            (name, vm_id, repository_id, attempt_id),
        )

    def keep_checkpoint(self, name: str, *, committed: bool) -> None:
        """Its point is committed, or nobody knows: a sweep leaves it alone."""
        self._write("UPDATE checkpoints SET state = ? WHERE name = ?", ("committed" if committed else "unknown", name))

    def doubt_checkpoint(self, name: str) -> None:
        """The controller refused: the point is not committed, so a sweep may delete the checkpoint again."""
        self._write("UPDATE checkpoints SET state = 'begun' WHERE name = ?", (name,))

    def forget_checkpoint(self, name: str) -> None:
        self._write("DELETE FROM checkpoints WHERE name = ?", (name,))

    def forget_superseded(self, name: str, keep: str) -> None:
        """After a commit: drop the older rows of the same VM and repository but the new one and its base."""
        self._write(
            "DELETE FROM checkpoints WHERE name NOT IN (?, ?) AND (vm_id, repository_id) IN"
            " (SELECT vm_id, repository_id FROM checkpoints WHERE name = ?)",
            (name, keep, name),
        )

    def protected_checkpoints(self, live: Collection[str]) -> set[str]:
        """Those that a sweep must leave alone: kept ones, and whatever a live attempt has begun."""
        rows = self._read("SELECT name, attempt_id, state FROM checkpoints")
        return {str(name) for name, attempt_id, state in rows if state != "begun" or attempt_id in live}

    def forget_unborn(self, live: Collection[str]) -> None:
        """After a sweep: what dead attempts had begun is gone."""
        for name, attempt_id, state in self._read("SELECT name, attempt_id, state FROM checkpoints"):
            if state == "begun" and attempt_id not in live:
                self.forget_checkpoint(name)

    def checkpoints(self) -> dict[str, str]:
        """Name -> "begun", "committed" or "unknown"."""
        return dict(self._read("SELECT name, state FROM checkpoints"))

    def note_restored(self, attempt_id: str, vm_id: str) -> None:
        """The attempt's restore is complete on this host, whether or not the controller hears of it. `vm_id` "": files. Repeatable."""
        self._write(
            "INSERT INTO restored (run_id, attempt_id, vm_id, restored_us)"
            " SELECT run_id, attempt_id, ?, ? FROM attempts WHERE attempt_id = ? ON CONFLICT (run_id) DO NOTHING",
            (vm_id, self._clock.now_us(), attempt_id),
        )

    def restored(self, run_id: str) -> str | None:
        """The VM that an attempt of this run restored here to the end, "" for files; None: there was none."""
        rows = self._read("SELECT vm_id FROM restored WHERE run_id = ?", (run_id,))
        return str(rows[0][0]) if rows else None

    def _write(self, sql: str, values: tuple[object, ...]) -> None:
        with self._lock, _mapped(), closing(self._db.execute(sql, values)):
            pass

    def _read(self, sql: str, values: tuple[object, ...] = ()) -> list[tuple]:  # type: ignore[type-arg]  # as wide as the query
        with self._lock, _mapped(), closing(self._db.execute(sql, values)) as cursor:
            return cursor.fetchall()


@contextmanager
def _mapped() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise JournalUnusable(f"the agent's journal cannot be used: {error}") from error
