"""Whether a bucket's newest export is newer than this database, asked at each opening; if so, what it knows is brought back.

A database that was put back from a copy, or a standby that leads without the last transactions, has lost what operators decided since. The
database knows the place of each export before it is written, so whatever is greater in the bucket comes from a time that it lost. Called
by the catalogue around the adoption of points, and by the exporter for what could not be read; retention asks `unsettled`.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

import structlog
from blake3 import blake3

from seawall.controller.config import StatePaths
from seawall.controller.errors import ControllerError
from seawall.controller.records.catalogue import RepositoryRecord
from seawall.controller.records.known import Export, Exported, KnownPoint
from seawall.controller.records.policies import Hold
from seawall.controller.recovering.exporting import export_of, settled
from seawall.controller.recovering.newer import (
    Returned,
    Subject,
    bring_back_decisions,
    bring_back_holds,
    bring_back_hosts,
    decisions_of,
    differing,
)
from seawall.controller.recovering.packing import unpack_points
from seawall.controller.scheduler.leading import LeaderLease
from seawall.controller.store.transaction import Store, Transaction
from seawall.controller.text import sentence
from seawall.repository.batches import in_batches
from seawall.repository.clock import Clock, datetime_of
from seawall.repository.errors import IntegrityError, RepositoryError, TemporaryError
from seawall.repository.exports import FoundExport, later_exports
from seawall.repository.format.layout import parse_export_name
from seawall.repository.repository import OpenRepository

T = TypeVar("T")

LAST_NUMBER = 10**12 - 1
"""The greatest that a name has room for."""
WEEK_US = 7 * 86_400 * 1_000_000
AWAY_US = WEEK_US
"""A bucket that is away is waited for so long, as with a point that it lacks. One with an export that does not open: until it is gone."""
SHOWN_US = WEEK_US
NOT_YET = ("NOT_LEADER", "REPOSITORY_OPENING", "DRAINING")
"""Nothing is known of the bucket: the next look will."""
_AWAY = "The bucket of repository {} cannot be looked at ({}), and may know of decisions that this database lost; it is waited for a week."
_UNREAD = (
    "Repository {} has an export that is newer than this database and cannot be read ({}). Put the object back as it was, or, where "
    "nothing in it matters, remove it."
)

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Found:
    """What one look at a bucket showed. `export`: the newest that opens, where it is newer than the database; `place`: what the database
    knows once it is brought back, `facts` its points. `unread`: why newer ones cannot be believed. `there`: hash of the newest document.
    """

    record: RepositoryRecord
    known: Exported
    place: Exported
    export: Export | None = None
    facts: Mapping[str, KnownPoint] = field(default_factory=dict)
    unread: tuple[str, ...] = ()
    there: bytes = b""
    returned: Returned = field(default_factory=Returned)


class Decisions:
    """Of one leading process. Thread-safe; blocks on store and database."""

    def __init__(self, database: Store, lease: LeaderLease, clock: Clock, paths: StatePaths) -> None:
        self._database = database
        self._lease = lease
        self._clock = clock
        self._paths = paths
        self._turn = threading.Lock()
        """One at a time brings something back; nobody else waits for it."""
        self._lock = threading.Lock()
        """Of what comes next, for moments."""
        self._settled: set[str] = set()
        self._unread: set[str] = set()
        self._missed: set[str] = set()
        """Whose bucket this process failed to look at: for those alone the week counts, as the row may be older than the database was."""
        self._later: dict[str, Exported] = {}
        """Rows whose place is written only once no hold waits for its point any more: until then the next start brings it back again."""
        self._there: dict[str, bytes] = {}
        self._here: Mapping[Subject, object] | None = None
        """As it was when this controller began to lead, and with what it brought back since."""
        self._spoken: set[Subject] = set()
        self._age = (0, 0)
        self._holds: Sequence[Hold] = ()
        """Of points that are not here yet: they may lie in a repository that is opened later."""

    def is_settled(self, repository_id: str) -> bool:
        """Whether all that its bucket knows is in the database."""
        with self._lock:
            return repository_id in self._settled

    def may_be_written(self, repository_id: str) -> bool:
        """Whether a new export may hide what lies in its bucket: nothing in there is waited for any more. Raises Unavailable/NOT_LEADER."""
        self._note_places()
        with self._lock:
            return repository_id in self._settled and repository_id not in self._later

    def lies_there(self, repository_id: str) -> bytes:
        """Hash of the newest document in the bucket, as the last look found it; b"" where none is there, or it does not open."""
        with self._lock:
            return self._there.get(repository_id, b"")

    def unsettled(self, transaction: Transaction) -> list[str]:
        """Why nothing is deleted by itself now: sentences, none if nothing speaks against it."""
        with self._lock:  # before the rows: whatever is in here was written down first
            settled_ids, missed = set(self._settled), self._missed - self._unread
        known, now_us = {each.repository_id: each for each in transaction.known.exported()}, self._clock.now_us()
        waiting = []
        for record in transaction.repositories.repositories():
            row = known.get(record.id, Exported(record.id))
            away = record.id in missed and _is_of(row.waits, _AWAY)
            away_for_long = away and now_us - row.waits_since_us >= AWAY_US
            if record.id not in settled_ids and not away_for_long:
                waiting.append(row.waits or f"Repository {record.name} was not looked at yet.")
        return waiting

    def before_points(self, repository: OpenRepository, record: RepositoryRecord) -> Found:
        """Once the bucket knows who leads: hosts and revocations come back. Raises Unavailable/NOT_LEADER, StoreUnavailable."""
        with self._turn:
            if self._here is None:
                self._here = self._database.read_now(_decided_here)
        found = _looked(repository, record, self._known(record))
        if found.export is not None:
            self._bring_back_hosts(found, found.export)
        return found

    def after_points(self, found: Found, point_ids: Sequence[str] = ()) -> None:
        """The rest, and the word that the database knows it now. `point_ids`: of points that came back meanwhile.

        Raises Unavailable/NOT_LEADER.
        """
        found.returned.points.extend(point_ids)
        if found.export is not None:
            self._decide(found, found.export)
            self._give_policies(found)
        self._hold_late_ones()
        self._conclude(found)

    def look_again(self, repository: OpenRepository, record: RepositoryRecord) -> None:
        """What could not be read may be gone, or whole again. Raises as the two do."""
        self.after_points(self.before_points(repository, record))

    def missed(self, repository_id: str, error: ControllerError) -> None:
        """Its bucket could not be looked at. Raises Unavailable/NOT_LEADER."""
        with self._lock:
            known_better = repository_id in self._settled or repository_id in self._unread
        if error.reason in NOT_YET or known_better:
            return

        def closure(transaction: Transaction) -> None:
            record = transaction.repositories.repository(repository_id)
            if record is not None:
                known = _row(transaction, record.id)
                waiting = _waiting(known, _AWAY, (record.name, str(error).rstrip(".")), self._clock.now_us())
                transaction.known.note_exported(waiting)

        self._write(closure)
        with self._lock:
            self._missed.add(repository_id)

    def begin_export(self, record: RepositoryRecord, place: tuple[int, int], document_hash: bytes, now_us: int) -> None:
        """Before it is written: a greater place in the bucket than the database knows is not of this database's time."""

        def closure(transaction: Transaction) -> None:
            written = replace(_row(transaction, record.id), epoch=place[0], number=place[1], exported_us=now_us)
            transaction.known.note_exported(replace(written, document_hash=document_hash))

        self._write(closure)

    def _known(self, record: RepositoryRecord) -> Exported:
        """A database of before there were such rows knows all exports of the terms in which it opened the repository."""
        with self._lock:
            if record.id in self._later:
                return self._later[record.id]
        known = self._database.read_now(lambda transaction: _row(transaction, record.id))
        if any(known.place):
            return known

        def closure(transaction: Transaction) -> Exported:
            epoch = transaction.leadership.opened_epoch(record.id)
            first = replace(_row(transaction, record.id), epoch=epoch, number=LAST_NUMBER)
            transaction.known.note_exported(first)
            return first

        return self._write(closure)

    def _bring_back_hosts(self, found: Found, export: Export) -> None:
        """What it changes is no operator's word: else the export's own would not count for hosts that it adds."""
        cluster_id = self._paths.known_cluster_id()

        def closure(transaction: Transaction) -> tuple[Returned, Mapping[Subject, object], set[Subject]]:
            spoken = self._spoken | differing(self._here or {}, _decided_here(transaction))
            returned = bring_back_hosts(transaction, export, cluster_id)
            return returned, _decided_here(transaction), spoken

        with self._turn:
            returned, self._here, self._spoken = self._write(closure)
        found.returned.add(returned)

    def _decide(self, found: Found, export: Export) -> None:
        """One repository at a time: which of two exports is the newer one is told by what came back before."""
        age, now_us = found.place.age, self._clock.now_us()

        def closure(transaction: Transaction) -> tuple[Returned, list[Hold], Mapping[Subject, object], set[Subject]]:
            newest = age >= max((self._age, *(each.age for each in transaction.known.exported())))
            spoken = self._spoken | differing(self._here or {}, _decided_here(transaction))
            returned, late = bring_back_decisions(transaction, export, now_us, spoken if newest else None)
            return returned, late, _decided_here(transaction), spoken

        with self._turn:
            returned, late, self._here, self._spoken = self._write(closure)
            found.returned.add(returned)
            self._age, self._holds = max(self._age, age), (*self._holds, *late)

    def _hold_late_ones(self) -> None:
        with self._turn:
            if self._holds:
                self._holds = self._write(lambda transaction: bring_back_holds(transaction, self._holds, Returned()))

    def _give_policies(self, found: Found) -> None:
        """To points that came from the bucket, without. After the holds: no retention judges them before."""

        def lacking(transaction: Transaction) -> list[KnownPoint]:
            without = {each.id for each in transaction.known.points(found.record.id) if not each.policy_id}
            policies = {each.id for each in transaction.policies.policies(deleted=True)}
            return [each for each in found.facts.values() if each.id in without and each.policy_id in policies]

        for batch in in_batches(self._database.read_now(lacking)):
            self._write(partial(_give, batch))

    def _conclude(self, found: Found) -> None:
        record, now_us = found.record, self._clock.now_us()
        words = (record.name, "; ".join(found.unread)) if found.unread else ()
        after = _waiting(found.place, _UNREAD, words, now_us)
        if found.export is not None or found.returned.points:
            after = replace(after, put_back=_brought_back(found), put_back_us=now_us)
            _log.warning(
                "database.older_than_export" if found.export else "database.older_than_points",
                repository=record.name,
                what=after.put_back,
            )
        written = self._but_for_holds(after)
        if written != self._database.read_now(lambda transaction: _row(transaction, record.id)):
            self._write(lambda transaction: transaction.known.note_exported(written))
        if found.unread:
            _log.error("export.newer_and_unread", repository=record.name, why="; ".join(found.unread))
        with self._lock:
            self._there[record.id] = found.there
            (self._unread if found.unread else self._settled).add(record.id)
            (self._settled if found.unread else self._unread).discard(record.id)
            self._missed.discard(record.id)
        self._note_places()

    def _but_for_holds(self, after: Exported) -> Exported:
        """The row to write. While holds wait for points: the place just before, with a later time, so that the next start brings the holds
        back once more, and leaves what operators said since.
        """
        here = self._database.read_now(lambda transaction: _row(transaction, after.repository_id))
        if not self._holds or (here.place, here.document_hash) == (after.place, after.document_hash):
            return after
        with self._lock:
            self._later[after.repository_id] = after
        return replace(after, number=after.number - 1, exported_us=after.exported_us + 1, document_hash=b"")

    def _note_places(self) -> None:
        """Once no point may still come that a hold waits for."""
        with self._lock:
            later = dict(self._later)
        if not later or (self._holds and self._database.read_now(self.unsettled)):
            return

        def closure(transaction: Transaction) -> None:
            for each in later.values():
                row = _row(transaction, each.repository_id)
                row = replace(row, epoch=each.epoch, number=each.number, exported_us=each.exported_us)
                transaction.known.note_exported(replace(row, document_hash=each.document_hash))

        with self._turn:
            self._write(closure)
            with self._lock:
                self._later = {key: each for key, each in self._later.items() if later.get(key) != each}

    def _write(self, closure: Callable[[Transaction], T]) -> T:
        leader = self._lease.current

        def guarded(transaction: Transaction) -> T:
            transaction.leadership.check(leader)
            return closure(transaction)

        return self._database.write_now(guarded)


def troubles(transaction: Transaction, now_us: int) -> list[str]:
    """For `status`, of whichever controller: what keeps retention waiting, and what came back in the last week."""
    said = []
    for each in transaction.known.exported():
        if each.waits:
            said.append((each.waits_since_us, f"Retention deletes nothing for now. {each.waits}"))
        if each.put_back and now_us - each.put_back_us < SHOWN_US:
            said.append((each.put_back_us, each.put_back))
    return [f"since {datetime_of(since):%Y-%m-%d %H:%M:%S} UTC: {sentence}" for since, sentence in sorted(said)]


def _looked(repository: OpenRepository, record: RepositoryRecord, known: Exported) -> Found:
    """Raises StoreUnavailable. Whatever else a store says no with is no reason to open nothing: backups go on, retention waits."""
    try:
        newest, unread = later_exports(repository, known.place)
    except TemporaryError:
        raise
    except RepositoryError as error:
        return Found(record, known, known, unread=(str(error),))
    if newest is None:
        return Found(record, known, known, unread=unread)
    place = _place(known, newest)
    if (place.place, place.document_hash) == (known.place, known.document_hash):
        return Found(record, known, known, unread=unread, there=place.document_hash)
    try:
        export = export_of(newest.document)
        return Found(record, known, place, export, unpack_points(export.points), unread, place.document_hash)
    except (IntegrityError, ValueError) as error:
        return Found(record, known, known, unread=(*unread, f"{newest.name}: {error}"))


def _place(known: Exported, newest: FoundExport) -> Exported:
    epoch, number = parse_export_name(newest.name) or known.place
    digest = blake3(newest.document).digest()
    return replace(known, epoch=epoch, number=number, exported_us=newest.exported_us, document_hash=digest)


def _row(transaction: Transaction, repository_id: str) -> Exported:
    found = (each for each in transaction.known.exported() if each.repository_id == repository_id)
    return next(found, Exported(repository_id))


def _waiting(known: Exported, why: str, words: tuple[str, ...], now_us: int) -> Exported:
    """`words` (): no more. One that waits for another kind of thing than before begins to wait anew."""
    if not words:
        return replace(known, waits="", waits_since_us=0)
    since_us = known.waits_since_us if _is_of(known.waits, why) else now_us
    return replace(known, waits=sentence(why.format(*words)), waits_since_us=since_us)


def _is_of(waits: str, why: str) -> bool:
    """By how the sentence begins, the one thing that is written down of it. One of another version begins anew, which only waits longer."""
    return waits.startswith(why.partition("{")[0])


def _decided_here(transaction: Transaction) -> Mapping[Subject, object]:
    return decisions_of(settled(transaction, ""))


def _give(facts: Sequence[KnownPoint], transaction: Transaction) -> None:
    for each in facts:
        transaction.known.give_policy(each.id, each.policy_id, each.nominal_us)


def _brought_back(found: Found) -> str:
    if found.export is None:
        return _points_brought_back(found)
    what = "; ".join(found.returned.phrases()) or "nothing that was not here"
    left_out = f" Not brought back: {'; '.join(found.returned.left_out)}." if found.returned.left_out else ""
    return sentence(
        f"The database was older than the newest export in repository {found.record.name}, as after a copy of it was put back. "
        f"Brought back from there: {what}.{left_out} What was decided after that export is lost: look through policies, limits and holds."
    )


def _points_brought_back(found: Found) -> str:
    """No decision was lost: the bucket's newest export is not newer."""
    return sentence(
        f"The database did not know all of repository {found.record.name}, as after a copy of it was put back. "
        f"Brought back from there: {'; '.join(found.returned.phrases())}."
    )
