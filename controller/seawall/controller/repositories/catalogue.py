"""Opens repositories when they are first needed and keeps them. The controller starts although a bucket cannot be reached."""

import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

import structlog

from seawall.controller.config import StatePaths
from seawall.controller.errors import NotFound, Unavailable
from seawall.controller.forgetting.replay import replay_tombstones
from seawall.controller.index.chunks import ChunkIndex
from seawall.controller.records.catalogue import RepositoryRecord
from seawall.controller.recovering.decisions import Decisions
from seawall.controller.repositories.credentials import open_credentials
from seawall.controller.repositories.given_up import GivenUp
from seawall.controller.repositories.missing_manifests import miss_manifests
from seawall.controller.repositories.opened import OpenedRepository
from seawall.controller.repositories.opening_mark import look_before, put_open_mark
from seawall.controller.repositories.openings import INDEX, Awaits, Openings
from seawall.controller.repositories.outside import told
from seawall.controller.repositories.reindexing import reindex
from seawall.controller.repositories.replay import catch_up
from seawall.controller.repositories.stored_packs import stored_packs
from seawall.controller.scheduler.leading import LeaderLease
from seawall.controller.secrets import Secret, SecretBox
from seawall.controller.store.transaction import Store as Database
from seawall.repository.clock import Clock
from seawall.repository.crypto.sealing import public_key_of
from seawall.repository.errors import IntegrityError, ObjectExists
from seawall.repository.forgetting.leaders import NOBODY, LeaderMark, leader_mark, leads
from seawall.repository.forgetting.standing import open_numbers
from seawall.repository.format.keyfile import CONTROLLER_WRAPPER
from seawall.repository.format.layout import (
    CONDEMNED_PREFIX,
    EPOCHS_PREFIX,
    EXPORTS_PREFIX,
    MANIFESTS_PREFIX,
    OPENS_PREFIX,
    TOMBSTONES_PREFIX,
    open_name,
)
from seawall.repository.repository import OpenRepository, open_repository
from seawall.repository.store.location import S3Credentials
from seawall.repository.store.port import Store
from seawall.repository.store.retry import RetryingStore, RetryPolicy

# Calls wait for the store no longer than their callers wait for them; background work comes again by itself.
RETRIES = RetryPolicy(deadline_seconds=8.0, last_bound_seconds=2.0)
OPENING_WAIT_SECONDS = 2.0

_FARTHEST_RISE = 1_000_000_000
"""A mark so far ahead of the database is no controller's. The epoch is that of all repositories: one bucket could use up all numbers."""
_MOST_RISES = 5
"""Others that announce themselves at the same moment."""

OpenStore = Callable[[str, S3Credentials | None, Clock | None], Store]

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Keys:
    """What the controller opens its repositories with."""

    wrapper_secret: Secret
    box: SecretBox


class RepositoryCatalogue:
    """Thread-safe. `open` blocks on the store the first time."""

    def __init__(
        self, database: Database, keys: Keys, paths: StatePaths, lease: LeaderLease, clock: Clock, open_store: OpenStore
    ) -> None:
        self._database = database
        self.keys = keys
        self.given_up = GivenUp(database, lease, clock)
        self.decisions = Decisions(database, lease, clock, paths)
        self._paths = paths
        self._lease = lease
        self._clock = clock
        self._open_store = open_store
        self._opened: dict[str, OpenedRepository] = {}
        self._lock = threading.Lock()
        self._opening: dict[str, threading.Lock] = {}
        self.openings = Openings(clock)
        self._closing = threading.Event()
        self._name = str(uuid.uuid4())

    def open(self, repository_id: str) -> OpenedRepository:
        """Raises NotFound/REPOSITORY_UNKNOWN; Unavailable/REPOSITORY_OPENING, STORE_UNAVAILABLE; FailedPrecondition/FOREIGN_REPOSITORY."""
        with self._lock:
            if repository_id in self._opened:
                return self._opened[repository_id]
            opening = self._opening.setdefault(repository_id, threading.Lock())
        # One opens; the others do not hold their threads for as long as a rebuild of the index may take.
        if not opening.acquire(timeout=OPENING_WAIT_SECONDS):
            raise Unavailable("REPOSITORY_OPENING", "The repository is being opened; try again shortly.")
        try:
            with told():
                return self._opened_once(repository_id)
        finally:
            opening.release()

    def is_open(self, repository_id: str) -> bool:
        """Whether it was opened already: what its bucket knows and this database did not is known then."""
        with self._lock:
            return repository_id in self._opened

    def _opened_once(self, repository_id: str) -> OpenedRepository:
        """Under the repository's own lock."""
        with self._lock:
            if repository_id in self._opened:
                return self._opened[repository_id]
        record = self._record(repository_id)
        with self.openings.of(record) as awaits:
            opened = self._open(record, awaits)
        with self._lock:
            self._opened[repository_id] = opened
        return opened

    def store_of(self, url: str, credentials: S3Credentials | None) -> Store:
        """The store with retries."""
        return RetryingStore(self._open_store(url, credentials, self._clock), self._clock, RETRIES)

    def bare_store_of(self, url: str, credentials: S3Credentials | None) -> Store:
        """The store alone: for the probe."""
        return self._open_store(url, credentials, self._clock)

    def bare_store_of_repository(self, record: RepositoryRecord) -> Store:
        """The same of one that was added. Raises DataLoss/WRONG_KEK, SECRET_DAMAGED."""
        return self.bare_store_of(record.url, self._credentials(record))

    def learnt(self, record: RepositoryRecord) -> None:
        """Its store was probed anew: what is asked of the opened one from now on counts from this."""
        with self._lock:
            opened = self._opened.get(record.id)
            if opened is not None:
                opened.record = record

    def begin_close(self) -> None:
        """Long work stops at its next step."""
        self._closing.set()

    def close(self) -> None:
        """Writes the indexes down."""
        with self._lock:
            for opened in self._opened.values():
                opened.index.close()
            self._opened.clear()

    def _record(self, repository_id: str) -> RepositoryRecord:
        record = self._database.read_now(lambda transaction: transaction.repositories.repository(repository_id))
        if record is None:
            raise NotFound("REPOSITORY_UNKNOWN", f"There is no repository {repository_id}.")
        return record

    def reader_of(self, record: RepositoryRecord) -> OpenRepository:
        """Its store and keys, and nothing announced: for who reads alone. Raises what opening raises."""
        store = self.store_of(record.url, self._credentials(record))
        pinned = bytes.fromhex(record.signing_public_key_hex)
        secret = self.keys.wrapper_secret.reveal()
        return open_repository(store, self._wrapper_of(record), secret, pinned_signing_key=pinned)

    def _open(self, record: RepositoryRecord, awaits: Awaits) -> OpenedRepository:
        repository = self.reader_of(record)
        awaits(f"the list of leaders ({EPOCHS_PREFIX})")
        mark = self.announce(repository)
        awaits(f"the lists of restore points and condemn logs ({MANIFESTS_PREFIX}, {CONDEMNED_PREFIX})")
        before = look_before(repository)
        awaits(f"the newest export ({EXPORTS_PREFIX})")
        found = self.decisions.before_points(repository, record)
        given = self._database, self._lease, self._clock, repository, record.id, mark
        awaits("restore points and condemn logs that this database does not know")
        adopted = catch_up(*given, before)
        awaits(f"the tombstones ({TOMBSTONES_PREFIX})")
        replay_tombstones(*given, before.standing, before.manifests)
        miss_manifests(self._database, self._lease, self._clock, record.id, before.manifests)
        awaits("restore points that were given up")
        self.given_up.take_back(repository, record.id, before.manifests)
        self.decisions.after_points(found, adopted)
        awaits(f"its open mark ({OPENS_PREFIX})")
        put_open_mark(self._database, self._lease, repository, record.id, mark, before)
        awaits(INDEX)
        opened = OpenedRepository(record, repository, ChunkIndex.open(self._paths.index_of(record.id)), mark)
        try:
            self._rebuild(opened)
        except BaseException:
            opened.index.close()  # keeps what was rebuilt so far
            raise
        _log.info("repository.opened", repository=record.name, url=record.url)
        return opened

    def keys_for_worker(self, record: RepositoryRecord) -> dict[str, object]:
        """What a maintenance worker needs to open the repository by itself. Secrets: for its pipe and nothing else."""
        credentials = self._credentials(record)
        keys = {"access_key": credentials.access_key, "secret_key": credentials.secret_key} if credentials else None
        return {
            "url": record.url,
            "credentials": keys,
            "wrapper": self._wrapper_of(record),
            "wrapper_secret": self.keys.wrapper_secret.reveal().hex(),
            "signing_public_key": record.signing_public_key_hex,
        }

    def keys_of_copy(self, record: RepositoryRecord, url: str, secret_id: str) -> dict[str, str] | None:
        """Of a copy of this repository: those sealed for it, else the repository's own. None where it needs none."""
        if url.startswith("file:"):
            return None
        if secret_id:
            sealed = self._database.read_now(lambda transaction: transaction.repositories.secret(secret_id))
            found = None if sealed is None else open_credentials(self.keys.box, secret_id, sealed)
        else:
            found = self._credentials(record)
        return None if found is None else {"access_key": found.access_key, "secret_key": found.secret_key}

    def _wrapper_of(self, record: RepositoryRecord) -> str:
        """The name under which this controller's key opens it: of a recovered one another than its first controller's."""
        ours = public_key_of(self.keys.wrapper_secret.reveal()).hex()
        return next((each.name for each in record.wrappers if each.public_key_hex == ours), CONTROLLER_WRAPPER)

    def _credentials(self, record: RepositoryRecord) -> S3Credentials | None:
        if not record.secret_id:
            return None
        sealed = self._database.read_now(lambda transaction: transaction.repositories.secret(record.secret_id))
        return None if sealed is None else open_credentials(self.keys.box, record.id, sealed)

    def announce(self, repository: OpenRepository) -> LeaderMark:
        """Tell the bucket who leads. A number there as high as ours: the database is older than the bucket, or another has a copy of it.

        A copy that its own leader outlived, put back before anybody else led, shows no such number: nothing may count on being noticed.

        Open marks count as well: names of leaders are empty objects, which some tools do not copy, and what a leader of a lower number
        than the last open mark's writes would be void.

        Looked at once more afterwards, as two may announce one number at one moment: both rise. The greater too, as a log says no more
        of its writer than that number: one that the lesser still writes, and never carries out, would be taken for ours (`later_logs`).
        Raises Unavailable/NOT_LEADER; IntegrityError naming a mark that no controller made.
        """
        for _ in range(_MOST_RISES):
            highest = max(self._others(repository), default=NOBODY)
            opened = next(iter(open_numbers(repository.store)), (0, 0))
            farthest = self._lease.current.epoch + _FARTHEST_RISE
            if max(highest.epoch, opened[0]) > farthest:
                name = highest.name if highest.epoch > farthest else open_name(*opened)
                raise IntegrityError(f"{name}: no controller led so often; remove it")
            if highest.epoch >= self._lease.current.epoch or opened[0] > self._lease.current.epoch:
                self._lease.rise_above(max(highest.epoch, opened[0]))
            mine = LeaderMark(self._lease.current.epoch, self._name)
            # Announced before by this very process: an opening that broke off later is tried again.
            with suppress(ObjectExists):
                repository.store.put(mine.name, b"")
            if leads(mine, list(_marks(repository))):
                return mine
        raise Unavailable(
            "NOT_LEADER", f"Other controllers begin to use {repository.store.url} all the time: only one may."
        )

    def _others(self, repository: OpenRepository) -> Iterator[LeaderMark]:
        return (mark for mark in _marks(repository) if mark.holder != self._name)

    def _rebuild(self, opened: OpenedRepository) -> None:
        """The index is a cache: the database says what is right."""

        def go_on() -> None:
            if self._closing.is_set():
                raise Unavailable("DRAINING", "This controller is stopping; try again shortly.")

        lost = reindex(opened, lambda: stored_packs(self._database, opened.record.id), go_on)
        if lost:
            _log.info("index.rebuilt", repository=opened.record.name, packs=lost)


def _marks(repository: OpenRepository) -> Iterator[LeaderMark]:
    """Of all who announced themselves in this bucket."""
    marks = (leader_mark(info.name) for info in repository.store.list(EPOCHS_PREFIX))
    return (mark for mark in marks if mark is not None)
