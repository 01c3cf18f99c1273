"""One process of the controller, without its ports: the real database, lease, publisher, deletions, collection, over a faulty line."""

import asyncio
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from seawall.controller.config import ControllerConfig, StatePaths
from seawall.controller.database.enrolment import DatabaseEnrolment
from seawall.controller.database.sqlite import SqliteDatabase
from seawall.controller.enrolment.port import AgentRecord, JoinTokenRecord
from seawall.controller.forgetting.deletion import Deletions
from seawall.controller.initialise import load_wrapper_key
from seawall.controller.maintenance.job_ledger import LedgerScope
from seawall.controller.maintenance.ledger import StoreLedger
from seawall.controller.publishing.promotion import Promotion
from seawall.controller.publishing.publisher import Publisher
from seawall.controller.records.catalogue import RepositoryRecord
from seawall.controller.records.fleet import Session
from seawall.controller.repositories.catalogue import Keys, RepositoryCatalogue
from seawall.controller.repositories.opened import OpenedRepository
from seawall.controller.runs.steady import SteadyClock
from seawall.controller.scheduler.leading import LeaderLease
from seawall.controller.secrets import SecretBox
from seawall.controller.services.grants import Grants
from seawall.controller.services.transfers import Transfers
from seawall.controller.timings import Timings
from seawall.repository.collecting.collect import Collection
from seawall.repository.collecting.plan import CollectSettings, Report
from seawall.repository.crypto.keys import RepositorySecrets, new_secret
from seawall.repository.crypto.sealing import public_key_of
from seawall.repository.repository import create_repository
from seawall.repository.store.memory import MemoryStore
from support.controller_application import configured
from support.controller_clock import ManualClock
from support.controller_records import a_repository

from .bucket import Died, Line, SharedBucket

HOST = "alpha"
SESSION = "session"
REPOSITORY = "repository"
TIMINGS = Timings()
LINEAGE = b"lineage-of-tests"


class Controller:
    """Dies with `Died`: then only `close` may be called. `on_step` is called after each durable step."""

    def __init__(self, state: Path, line: Line, clock: ManualClock, on_step: Callable[[str], None]) -> None:
        paths, steady = StatePaths(state), SteadyClock(clock)
        self.line, self.clock = line, clock
        self._on_step = on_step
        self.database = SqliteDatabase(paths.database, paths.lock)
        self.lease = LeaderLease(self.database, steady, TIMINGS)
        asyncio.run(self.lease.acquire())
        box = SecretBox.from_file(paths.kek)
        keys = Keys(load_wrapper_key(paths, box), box)
        self.repositories = RepositoryCatalogue(
            self.database, keys, paths, self.lease, clock, lambda url, credentials, clock: line
        )
        self.promotion = Promotion(self.database, self.repositories, self.lease, steady, TIMINGS, self.step)
        self.publisher = Publisher(self.database, self.repositories, self.lease, steady, self.promotion)
        self.deletions = Deletions(self.database, self.repositories, self.lease, steady, self.step)
        self.transfers = Transfers(self.database, self.repositories, steady, TIMINGS)
        self.grants = Grants(self.database, self.repositories, steady, TIMINGS)

    def step(self, name: str) -> None:
        self._require_alive()
        self._on_step(name)
        self._require_alive()  # what happens there may be its end

    def _require_alive(self) -> None:
        if self.line.dead:
            raise Died

    @property
    def opened(self) -> OpenedRepository:
        return self.repositories.open(REPOSITORY)

    def collect(self, grace_us: int = 0) -> Report:
        """As the maintenance worker does it, without the pipe between."""
        opened = self.opened
        ledger = StoreLedger(
            self.database,
            LedgerScope(REPOSITORY, "", grace_us, opened.mark),
            lambda: self.lease.current,
            self.clock,
            opened,
        )
        settings = CollectSettings(grace_us, compact_from_percent=1)
        return Collection(opened.repository, ledger, self.clock, settings, self.step).execute()

    def close(self) -> None:
        """Writes nothing down that a crash would not leave. What it was in the middle of goes no further."""
        self.line.dead = True
        self.database.close()


def created_place(state: Path, clock: ManualClock) -> tuple[ControllerConfig, MemoryStore]:
    """A controller's state and a bucket with a repository, before anything happened."""
    config = configured(state)
    paths, store = config.paths, MemoryStore(clock=clock)
    box = SecretBox.from_file(paths.kek)
    wrapper = load_wrapper_key(paths, box).reveal()
    # Always the same, so that the same disks are always cut into the same chunks.
    secrets = RepositorySecrets(b"r" * 32, b"s" * 32, b"c" * 32, {("default", 1): b"d" * 32})
    recipients = {"controller": public_key_of(wrapper), "recovery": public_key_of(new_secret())}
    create_repository(store, lineage_id=LINEAGE, chunk_nominal_bytes=8 * 1024, recipients=recipients, secrets=secrets)
    with closing(SqliteDatabase(paths.database, paths.lock)) as database:
        _add_host(database, clock)
        record = _record(store.url, secrets.signing_public_key.hex())
        database.write_now(lambda transaction: transaction.repositories.add_repository(record))
    return config, store


def _record(url: str, signing_key_hex: str) -> RepositoryRecord:
    known = a_repository("main", REPOSITORY)
    return RepositoryRecord(
        known.id, known.name, url, LINEAGE.hex(), signing_key_hex, 8 * 1024, (), known.capabilities, "", 1
    )


def _add_host(database: SqliteDatabase, clock: ManualClock) -> None:
    enrolment = DatabaseEnrolment(database)
    now_us = clock.now_us()
    enrolment.add_join_token(JoinTokenRecord("t", bytes(32), now_us, now_us, 9))
    enrolment.enrol(AgentRecord(HOST, "t", bytes(32), "key", b"pem", now_us, now_us))
    session = Session(HOST, SESSION, "boot", now_us + 10**15, now_us)
    database.write_now(lambda transaction: transaction.fleet.open_session(session))


def copied_state(source: Path, target: Path) -> Path:
    """The state directory as a snapshot of its disk would have it, whoever has it open."""
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("controller.sqlite*", "lock", "index"))
    (target / "index").mkdir(exist_ok=True)
    with (
        closing(sqlite3.connect(source / "controller.sqlite")) as old,
        closing(sqlite3.connect(target / "controller.sqlite")) as new,
    ):
        old.backup(new)
    return target


def bucket_like(store: MemoryStore, clock: ManualClock) -> SharedBucket:
    """One of its own with the same objects."""
    copy = MemoryStore(store.url, clock)
    for info in store.list(""):
        copy.put(info.name, store.get(info.name))
    return SharedBucket(copy)
