"""A whole collection, planned or done. Called by the maintenance worker; the ledger is behind its pipe.

Order: precheck; then range by range of packs: mark, condemn in slices; then what is ripe: announce, delete, compact; then the sweep; then
the logs that nobody needs any more. Every step may be repeated: who begins anew after a crash does what is left.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

from seawall.repository.batches import in_batches
from seawall.repository.clock import Clock
from seawall.repository.collecting.announce import announce
from seawall.repository.collecting.compact import compacted_bytes
from seawall.repository.collecting.condemning import Condemning
from seawall.repository.collecting.errors import CollectionStopped
from seawall.repository.collecting.hands import ONE_HAND, Hands, each
from seawall.repository.collecting.live import RANGE_SLOTS, LiveSlots, ranges
from seawall.repository.collecting.locking import LockKeeper, Locks
from seawall.repository.collecting.mark import Marker
from seawall.repository.collecting.plan import CollectSettings, Decision, Fate, Leaving, Report, decide
from seawall.repository.collecting.port import SLICE_PACKS, Condemned, Ledger, Mark, PackFacts, PackStanding, Slice
from seawall.repository.collecting.precheck import Unknown, check_manifests, remove_manifests
from seawall.repository.collecting.removing import remove_generations
from seawall.repository.collecting.shrinking import Shrinker
from seawall.repository.collecting.sweep import Sweeper
from seawall.repository.collecting.trimming import Trimmer
from seawall.repository.errors import FormatUnsupported, IntegrityError, ObjectMissing, StoreRefused
from seawall.repository.forgetting.leaders import LeaderMark
from seawall.repository.format.layout import manifest_name, pack_name
from seawall.repository.format.slot_set import SlotSet
from seawall.repository.repository import OpenRepository
from seawall.repository.steps import OnStep, no_step

_MOST_ROUNDS = 100
"""Slices are asked for again when points arrive meanwhile; so often in a row they do not."""


@dataclass(frozen=True, slots=True)
class Collection:
    """Made for one run. Raises CollectionStopped, LedgerRefused (cancelled, or another leads), StoreUnavailable and the like."""

    repository: OpenRepository
    ledger: Ledger
    clock: Clock
    settings: CollectSettings
    on_step: OnStep = no_step
    range_slots: int = RANGE_SLOTS
    hands: Hands = ONE_HAND
    locks: Locks | None = None
    """Of a store that may have Object Lock."""

    def plan(self) -> Report:
        """What `execute` would do now, object by object. Changes nothing."""
        report = Report(plan_only=True)
        mark = self.ledger.begin()
        unknown = self._prechecked()
        unknown.tell(report)
        for name, size_bytes in self._sizes(unknown).items():
            report.leaves(Leaving.MANIFEST, name, size_bytes)
        condemning = self._mark(report, act=False)
        self._sweeper(report, mark, condemning).plan()
        self._keep_locks(report, condemning)
        self._trimmer(report, mark, condemning).plan()
        return report

    def execute(self) -> Report:
        """Condemn, delete, compact, sweep, trim."""
        self.repository.require_writable()
        report = Report(plan_only=False)
        mark = self.ledger.begin()
        unknown = self._prechecked()
        unknown.tell(report)
        forgotten = self._sizes(unknown)
        remove_manifests(self.repository, unknown.forgotten, mark.leader, report)
        for name in forgotten.keys() - self._sizes(unknown).keys():
            report.leaves(Leaving.MANIFEST, name, forgotten[name])
        condemning = self._mark(report, act=True)
        self._carry_out(report, mark.leader)
        self._give_up_unreported()
        self._sweeper(report, mark, condemning).sweep()
        self._keep_locks(report, condemning)
        self._trimmer(report, mark, condemning).trim()
        return report

    def _sizes(self, unknown: Unknown) -> dict[str, int]:
        """Of the manifests of forgotten points that lie there, by name."""
        sizes: dict[str, int] = {}
        for point in unknown.forgotten:
            name = manifest_name(point.tenant, point.vm_id, point.point_id)
            with suppress(ObjectMissing, StoreRefused):
                sizes[name] = self.repository.store.head(name).size_bytes
        return sizes

    def _sweeper(self, report: Report, mark: Mark, condemning: Condemning) -> Sweeper:
        older_than_us = self.clock.now_us() - self.settings.grace_us
        return Sweeper(self.repository, self.ledger, report, mark.leader, older_than_us, self.on_step, condemning.whole)

    def _keep_locks(self, report: Report, condemning: Condemning) -> None:
        if self.locks is not None:
            store = self.repository.store
            LockKeeper(store, self.locks, self.ledger, self.clock, report, condemning.whole).keep()

    def _trimmer(self, report: Report, mark: Mark, condemning: Condemning) -> Trimmer:
        spent_us = self.clock.now_us() - self.settings.horizon_us
        return Trimmer(self.repository, self.ledger, report, mark.leader, mark.seq, spent_us, self.on_step, condemning)

    def _prechecked(self) -> Unknown:
        self.ledger.report(step="looking for points that nobody knows")
        return check_manifests(self.repository, self.ledger)

    def _mark(self, report: Report, act: bool) -> Condemning:
        """What a plan would condemn; of a collection the ledger knows it."""
        condemning = Condemning()
        for after, live in ranges(self.ledger.packs, self.range_slots):
            mark = self.ledger.begin()
            marker = Marker(self.repository, self.ledger, live, after, mark.seq, self.hands.reading)
            self.ledger.report(step="marking what points need", packs=live.packs)
            marker.mark(self.ledger.roots())
            report.points = marker.points
            self.on_step("marked")
            decided = self._decided(live, after, report)
            for slice_ in in_batches(decided, SLICE_PACKS) if act else ():
                self._condemn(slice_, live, marker, report)
            if not act:
                for pack in decided:
                    self.ledger.may_continue()
                    condemning.add(pack, self._again(pack, live))
        return condemning

    def _decided(self, live: LiveSlots, after: bytes, report: Report) -> Iterator[PackFacts]:
        """Packs of the range with something to condemn; all are counted."""
        for pack in self.ledger.packs(after):
            if pack.pack_id > live.last:
                return
            if pack.standing is PackStanding.STORED and not live.knows(pack.pack_id):
                continue  # reported since the range was read: the mark says nothing of it
            decision = decide(pack, live.of(pack.pack_id), self.settings)
            if decision is not None:
                report.count(self._foreseen(pack, decision, report) if report.plan_only else decision)
                if decision.slots:
                    yield pack

    def _foreseen(self, pack: PackFacts, decision: Decision, report: Report) -> Decision:
        """What goes now by name, and what is compacted to the byte: the ends of those packs say it."""
        names = [pack_name(pack.tenant, pack.pack_id, generation) for generation in pack.generations]
        if decision.fate is Fate.SHRINKS:
            decision = replace(decision, dead_bytes=self._comes_back(pack, names[0], report) * len(names))
        if decision.fate in (Fate.GOES, Fate.SHRINKS):
            for name in names:
                report.name(name, decision.dead_bytes // len(names))
        return decision

    def _comes_back(self, pack: PackFacts, name: str, report: Report) -> int:
        """Bytes of one copy; 0 where it cannot be compacted, as far as its end tells."""
        try:
            tail = self.repository.read_tail(pack.tenant, pack.pack_id, pack.generation)
        except (ObjectMissing, StoreRefused, IntegrityError, FormatUnsupported) as error:
            report.keep_back(name, str(error))
            return 0
        return tail.footer.pack_bytes - compacted_bytes(tail, pack.condemned)

    def _condemn(self, packs: list[PackFacts], live: LiveSlots, marker: Marker, report: Report) -> None:
        """One slice, decided anew after each arrival (rule 1). Raises CollectionStopped/TOO_BUSY."""
        for _ in range(_MOST_ROUNDS):
            self.ledger.may_continue()
            slots = {pack.pack_id: decision.slots for pack in packs if (decision := self._again(pack, live)).slots}
            if not slots:
                return
            answer = self.ledger.condemn(Slice(slots), marker.seen)
            if isinstance(answer, Condemned):
                report.condemned_slots += sum(len(accepted) for accepted in answer.accepted.values())
                self.ledger.report(step="condemning", condemned_slots=report.condemned_slots)
                self.on_step("condemned")
                return
            marker.mark(answer.points)
            marker.seen = answer.seq
        raise CollectionStopped(
            "TOO_BUSY", "Restore points arrive faster than they can be marked. Collect again later."
        )

    def _again(self, pack: PackFacts, live: LiveSlots) -> Decision:
        return decide(pack, live.of(pack.pack_id), self.settings) or Decision(Fate.NEEDED, SlotSet())

    def _carry_out(self, report: Report, leader: LeaderMark) -> None:
        """What is ripe, whoever condemned it: a condemned slot never comes back, so no mark is needed."""
        ripe = (pack.pack_id for pack in self.ledger.packs() if pack.standing is PackStanding.STORED and pack.ripe)
        for pack_ids in in_batches(ripe, SLICE_PACKS):
            self.ledger.may_continue()
            doomed = self.ledger.doom(pack_ids)
            if not doomed.packs:
                continue
            announce(self.repository, doomed.seq, {pack.pack_id: pack.condemned for pack in doomed.packs}, leader)
            self.on_step("announced")
            self._delete([pack for pack in doomed.packs if not pack.left], report)
            shrinker = Shrinker(self.repository, self.ledger, report, self.on_step)
            sparse = [pack for pack in doomed.packs if pack.left]
            for bytes_back in each(self.hands.shrinking, shrinker.shrink, sparse):
                if bytes_back is not None:
                    report.compacted.add(bytes_back)
            self.ledger.report(step="compacting", compacted_packs=report.compacted.packs)

    def _delete(self, packs: list[PackFacts], report: Report) -> None:

        def remove(pack: PackFacts) -> bool:
            store, names = self.repository.store, (pack.tenant, pack.pack_id, pack.generations)
            done = remove_generations(store, *names, report)
            self.on_step("pack removed")
            return done

        gone = []
        for pack, done in zip(packs, each(self.hands.removing, remove, packs), strict=True):
            if done:
                gone.append(pack.pack_id)
                report.deleted.add(pack.size_bytes * len(pack.generations))
        if gone:
            self.ledger.deleted(gone)
            self.on_step("removal told")
        self.ledger.report(step="deleting", deleted_packs=report.deleted.packs)

    def _give_up_unreported(self) -> None:
        """Sealed by an attempt that is over, and never reported: VOID, whether or not an object was written."""
        unreported = (
            pack.pack_id for pack in self.ledger.packs() if pack.standing is PackStanding.OPEN and not pack.in_use
        )
        for pack_ids in in_batches(unreported, SLICE_PACKS):
            self.ledger.may_continue()
            self.ledger.void(pack_ids)
            self.on_step("given up")
