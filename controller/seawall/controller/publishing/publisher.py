"""Answers CompleteAttempt of a backup: validates what was handed in and writes the intent; the promotion does the rest.

Blocking: called from worker threads. One transaction, begun with the gc row: slots checked, run compared and swapped to PUBLISHING, the
point inserted with its exact bytes. From there on this process or the next finishes it (DESIGN.md, "Publication").
"""

from dataclasses import dataclass, replace

import structlog
from blake3 import blake3

from seawall.controller.admission.breakers import note_handed_over
from seawall.controller.errors import Aborted, ControllerError, FailedPrecondition
from seawall.controller.publishing.handin import HandedIn, HandIn, members_of, read_hand_in
from seawall.controller.publishing.promotion import Promotion
from seawall.controller.publishing.slots import PackFacts, SlotRef, Slots, check_size, missing_slots
from seawall.controller.records.catalogue import Intent, PackState, Point, PointState
from seawall.controller.records.runs import Run
from seawall.controller.repositories.catalogue import RepositoryCatalogue
from seawall.controller.repositories.opened import OpenedRepository
from seawall.controller.repositories.opening_mark import require_opened_as
from seawall.controller.repositories.outside import STORE_TROUBLES
from seawall.controller.runs.events import HandedOver, Validated
from seawall.controller.runs.machine import Execution, handing_in
from seawall.controller.scheduler.executions import Change, load_owned
from seawall.controller.scheduler.leading import LeaderLease
from seawall.controller.store.transaction import Store, Transaction
from seawall.controller.text import printable
from seawall.repository.clock import Clock
from seawall.repository.forgetting.leaders import LeaderMark
from seawall.repository.format.root_object import LEADERS_FROM, Statement

MOST_WAITING = 200
"""Points of one repository that wait for its store while their hosts do something else. Each waits for a week at most (`waiting`)."""

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class AttemptKey:
    """An attempt as its host names it."""

    host_id: str
    attempt_id: str
    attempt_no: int
    db_epoch: int


@dataclass(frozen=True, slots=True)
class Completion:
    """Committed (a point), or slots to store anew first (then nothing was changed).

    `publishing`: validated, and committed once its store answers; nobody need wait for that.
    """

    point_id: str
    missing: tuple[SlotRef, ...] = ()
    publishing: bool = False


class Publisher:
    """Thread-safe: two hand-ins of the same attempt end in the same point."""

    def __init__(
        self,
        store: Store,
        repositories: RepositoryCatalogue,
        lease: LeaderLease,
        clock: Clock,
        promotion: Promotion,
    ) -> None:
        self._store = store
        self._repositories = repositories
        self._lease = lease
        self._clock = clock
        self._promotion = promotion

    def complete(self, key: AttemptKey, hand_in: HandIn) -> Completion:
        """The answer to CompleteAttempt of a backup.

        Raises FailedPrecondition/FENCED, CANCELED; InvalidArgument/BAD_ROOT, BAD_REFMAP; DataLoss/HANDED_IN_OBJECT_DIFFERS; Unavailable.
        """
        execution = self._store.read_now(lambda transaction: _owned(transaction, key))
        validated_by = None
        if not _repeated(execution, hand_in):
            handing_in(execution)
            validated_by = self._lease.current  # epochs only grow: if it is the same afterwards, it validated
            missing = self._validate(key, execution, hand_in)
            if missing:
                return Completion("", missing)
        try:
            self._promotion.finish(execution.run.id, validated_by)
        except ControllerError as error:
            if self._committed(execution.run.id):  # by whoever finishes points, while this one tried in vain
                return Completion(execution.run.id)
            if not hand_in.may_leave or error.reason not in STORE_TROUBLES or not self._handed_over(key, error):
                raise
            return Completion(execution.run.id, publishing=True)
        return Completion(execution.run.id)

    def _committed(self, point_id: str) -> bool:
        point = self._store.read_now(lambda transaction: transaction.points.point(point_id))
        return point is not None and point.state is PointState.AVAILABLE

    def _handed_over(self, key: AttemptKey, error: ControllerError) -> bool:
        """Whether the point goes on waiting for its store: all that it needs is in the database. False: it was settled meanwhile, or as
        many as may wait for this store already: then the attempt keeps its place.
        """
        leader, moment = self._lease.current, self._promotion.moment()

        def closure(transaction: Transaction) -> bool:
            transaction.leadership.check(leader)
            before = _owned(transaction, key)
            if before.attempt.handed_over:
                return before.current
            repository_id = before.run.repository_id
            if _waiting(transaction, repository_id) > MOST_WAITING:
                return False
            after = Change(transaction).take(before, HandedOver(), moment).after
            if not (after.attempt.handed_over and after.current):
                return False
            note_handed_over(transaction, repository_id, error, moment.now_us)
            return True

        return self._store.write_now(closure)

    def _validate(self, key: AttemptKey, execution: Execution, hand_in: HandIn) -> tuple[SlotRef, ...]:
        run, attempt = execution.run, execution.attempt
        repository = self._repositories.open(run.repository_id)
        handed_in = read_hand_in(repository, run, attempt, hand_in)
        facts = self._facts(repository, execution, handed_in.slots)
        missing = missing_slots(handed_in.slots, facts)
        if missing:
            return missing
        check_size(handed_in.slots, facts, sum(disk.size_bytes for disk in hand_in.disks))
        previous = self._store.read_now(lambda transaction: transaction.points.newest(run.vm_id, run.repository_id))
        point = self._intended(repository, execution, hand_in, handed_in, previous)

        def closure(transaction: Transaction) -> tuple[SlotRef, ...]:
            _check_previous(transaction, run, previous)
            return self._commit_intent(transaction, key, hand_in, point, handed_in.slots, facts, repository.mark)

        missing = self._store.write_now(closure)
        if not missing:
            self._promotion.on_step("intent")
        return missing

    def _facts(self, repository: OpenedRepository, execution: Execution, slots: Slots) -> PackFacts:
        ids = list(slots)
        packs = self._store.read_now(lambda transaction: transaction.packs.packs(repository.record.id, ids))
        lengths = {}
        for pack in packs.values():
            if pack.state is PackState.STORED:
                lengths[pack.id] = repository.raw_lengths(pack)
        return PackFacts(execution.run.tenant, execution.attempt.host_id, packs, lengths)

    def _intended(
        self,
        repository: OpenedRepository,
        execution: Execution,
        hand_in: HandIn,
        handed_in: HandedIn,
        previous: Point | None,
    ) -> Point:
        """The point with the exact bytes that will be its objects."""
        run, attempt, root = execution.run, execution.attempt, handed_in.root
        statement = Statement(
            lineage_id=repository.lineage_id,
            tenant=run.tenant,
            vm_id=run.vm_id,
            point_id=run.id,
            key_epoch=root.key_epoch,
            db_epoch=LEADERS_FROM + repository.mark.epoch,
            published_us=self._clock.now_us(),
            root_hash=hand_in.root_hash,
            refmap_hash=hand_in.refmap_hash,
            previous_hash=previous.manifest_hash if previous else b"",
        )
        manifest = repository.sign_manifest(statement, handed_in.root_object)
        return Point(
            id=run.id,
            vm_id=run.vm_id,
            vm_name=printable(root.vm_name),
            tenant=run.tenant,
            repository_id=run.repository_id,
            attempt_id=attempt.id,
            host_id=attempt.host_id,
            parent_point_id=root.parent_point_id,
            state=PointState.PUBLISHING,
            db_epoch=attempt.db_epoch,
            instant_us=root.instant_us,
            guest_frozen=root.guest_frozen,
            disks=hand_in.disks,
            members=members_of(root),
            warnings=hand_in.warnings,
            manifest_hash=blake3(manifest).digest(),
            created_us=statement.published_us,
            intent=Intent(manifest, handed_in.refmap_object),
            policy_id=run.policy_id,
        )

    def _commit_intent(
        self,
        transaction: Transaction,
        key: AttemptKey,
        hand_in: HandIn,
        point: Point,
        slots: Slots,
        facts: PackFacts,
        mark: LeaderMark,
    ) -> tuple[SlotRef, ...]:
        """Step 1. The gc row orders it against collection, so what it reads of packs stays true until the intent is visible."""
        seq = transaction.leadership.order_publication(self._lease.current, point.repository_id)
        require_opened_as(transaction, point.repository_id, mark.epoch)
        before = _owned(transaction, key)
        if _repeated(before, hand_in):  # the same hand-in, validated at the same time
            return ()
        handing_in(before)
        packs = transaction.packs.packs(point.repository_id, list(slots))
        missing = missing_slots(slots, replace(facts, packs=packs))
        if missing:
            return missing
        Change(transaction).take(before, Validated(hand_in.root_hash, hand_in.refmap_hash), self._promotion.moment())
        transaction.points.add_point(replace(point, seq=seq))
        return ()


def _waiting(transaction: Transaction, repository_id: str) -> int:
    """Points of the repository that are being published, this one too."""
    return sum(each == repository_id for each in transaction.points.unfinished().values())


def _owned(transaction: Transaction, key: AttemptKey) -> Execution:
    return load_owned(transaction, key.host_id, key.attempt_id, key.attempt_no, key.db_epoch)


def _check_previous(transaction: Transaction, run: Run, previous: Point | None) -> None:
    """The chain of a VM's manifests has no fork, although one open backup a VM and repository makes one all but impossible."""
    newest = transaction.points.newest(run.vm_id, run.repository_id)
    if newest is not None and newest.id != run.id and newest != previous:
        raise Aborted("CHANGED", f"Another point of VM {run.vm_name} was published meanwhile; hand in again.")


def _repeated(execution: Execution, hand_in: HandIn) -> bool:
    """The same hand-in was validated before, whatever became of its publication. Raises FENCED when another one was."""
    attempt = execution.attempt
    if not attempt.root_hash:
        return False
    if (attempt.root_hash, attempt.refmap_hash) != (hand_in.root_hash, hand_in.refmap_hash):
        raise FailedPrecondition("FENCED", f"Attempt {attempt.id} handed in another root before; that one counts.")
    return True
