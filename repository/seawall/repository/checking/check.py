"""One check of a repository, from its request to its result: structure, contents, then what it costs which points.

Called by the maintenance worker. Repeatable: what was recorded stays true, and a check that was cut off is simply begun again.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain

from seawall.repository.checking.affected import mark_points
from seawall.repository.checking.again import check_points, packs_to_read
from seawall.repository.checking.contents import ContentsCheck, Looked
from seawall.repository.checking.finding import Finding, Findings, Reason
from seawall.repository.checking.older import check_older
from seawall.repository.checking.port import Ledger, PackFacts, Progress
from seawall.repository.checking.proving import prove_points
from seawall.repository.checking.sample import rolling_sample, sample, share_of
from seawall.repository.checking.small_objects import check_small_objects
from seawall.repository.checking.structure import StructureCheck
from seawall.repository.clock import Clock
from seawall.repository.errors import StoreRefused
from seawall.repository.forgetting.standing import Standing
from seawall.repository.format.layout import OPENS_PREFIX, PointName, pack_name
from seawall.repository.format.slot_set import NO_SLOTS, SlotSet
from seawall.repository.repository import OpenRepository

EVERYTHING = 100


@dataclass(frozen=True, slots=True)
class CheckRequest:
    """`read_data_percent`: of all bytes, oldest look first. `limit_bytes`: instead of a share. `new_only`: packs never looked at.

    `rolling`: the limit is for packs that were looked at; new ones take turns with them. `points`: the limit is for what they need and
    what was not read since `before_us`; they are looked at whole once nothing of that is left.
    """

    structure: bool = True
    read_data_percent: int = 0
    limit_bytes: int = 0
    new_only: bool = False
    rolling: bool = False
    points: tuple[PointName, ...] = ()
    before_us: int = 0


@dataclass(frozen=True, slots=True)
class CheckResult:
    points: int
    """Whose structure was checked."""
    packs: int
    bytes: int
    """Read whole, all copies."""
    bad_slots: int
    """That were not known before."""
    recovered_packs: int
    damaged_points: int
    """In the repository, as it is now."""
    proven_points: int
    """Found to be whole for the first time: shown as verified from now on."""
    findings_total: int
    findings: tuple[Finding, ...]


@dataclass
class _Counts:
    points: int = 0
    packs: int = 0
    bytes: int = 0
    bad_slots: int = 0
    recovered_packs: int = 0


@dataclass
class _Check:
    repository: OpenRepository
    ledger: Ledger
    request: CheckRequest
    started_us: int
    findings: Findings = field(default_factory=Findings)
    counts: _Counts = field(default_factory=_Counts)
    suspects: dict[bytes, PackFacts] = field(default_factory=dict)
    """Packs whose end could not be read."""
    known_bad: dict[bytes, SlotSet] = field(default_factory=dict)
    read: set[bytes] = field(default_factory=set)
    """Packs that were read whole, of a share: those that the sample remembers too."""

    def structure(self) -> None:
        total = len(self.ledger.points())
        check = StructureCheck(
            self.repository, self.ledger, self.findings, unreadable=self._suspect, bad=self._know_bad
        )
        standing = self._standing()
        for done in check.run(standing):
            self.counts.points = done
            self._tell(Progress("structure", points_done=done, points_total=total))
        check_small_objects(self.repository, self.ledger, self.findings, standing)

    def _standing(self) -> Standing:
        """Where the store does not list its marks, nobody can tell what counts: that is said, and all counts."""
        try:
            return self.repository.standing()
        except StoreRefused as error:
            self.findings.add(Reason.OPEN_MARK_DAMAGED, OPENS_PREFIX, f"the last open mark cannot be read: {error}")
            return Standing()

    def _suspect(self, pack: PackFacts) -> None:
        self.suspects[pack.id] = pack

    def _know_bad(self, pack_id: bytes, slots: SlotSet) -> None:
        self.known_bad[pack_id] = self.known_bad.get(pack_id, NO_SLOTS) | slots

    def contents(self) -> None:
        """Suspects and packs that manifests contradict are read whatever the share."""
        contradicted = self.ledger.packs([one for one in self.known_bad if one not in self.suspects])
        due = [*self.suspects.values(), *contradicted.values()]
        known_bad = {pack.id: _within(self.known_bad[pack.id], pack) for pack in due if pack.id in self.known_bad}
        packs, bytes_total = self.ledger.totals()
        limit = self.request.limit_bytes or share_of(bytes_total, self.request.read_data_percent)
        everything = self.request.read_data_percent == EVERYTHING
        sampled = self._sample(limit, bytes_total, {pack.id for pack in due}) if limit else iter(())
        reading = ContentsCheck(
            self.repository, self.ledger, self.findings, known_bad, structure_checked=self.request.structure
        )
        for looked in reading.run(chain(due, sampled)):
            self._count(looked)
            self._tell(
                Progress(
                    "packs",
                    packs_done=self.counts.packs,
                    packs_total=packs if everything else 0,
                    bytes_done=self.counts.bytes,
                    bytes_total=limit,
                )
            )

    def older(self) -> None:
        """Behind `contents`: of a share, older generations are read of the packs that were read just now. So both rotate together, and ten
        checks of 10 % read all of both.
        """
        check_older(self.repository, self.ledger, self.findings, self._reads_older_of)

    def _reads_older_of(self, pack: PackFacts) -> bool:
        return self.request.read_data_percent == EVERYTHING or pack.id in self.read

    def _sample(self, limit: int, total: int, done: set[bytes]) -> Iterator[PackFacts]:
        oldest, request = self.ledger.oldest, self.request
        if request.points:
            chosen = packs_to_read(self.repository, self.ledger, request.points, request.before_us, limit)
        elif request.rolling:
            chosen = rolling_sample(oldest, limit, self.started_us)
        else:
            # All of it is all of it, also what is stored while we read.
            enough = max(limit, total * 2) if request.read_data_percent == EVERYTHING else limit
            chosen = sample(oldest, enough, self.started_us, new_only=request.new_only)
        return (pack for pack in chosen if pack.id not in done)

    def _count(self, looked: Looked) -> None:
        if looked.verdict is None:
            return
        if self.request.read_data_percent != EVERYTHING:
            self.read.add(looked.pack.id)
        self.counts.packs += 1
        self.counts.bytes += looked.verdict.bytes_read
        self.counts.bad_slots += looked.newly_bad
        self.counts.recovered_packs += looked.recovered

    def points(self) -> int:
        return tell_points(self.repository, self.ledger, self.findings)

    def _tell(self, progress: Progress) -> None:
        self.ledger.may_continue()
        self.ledger.progress(progress)


def check(repository: OpenRepository, ledger: Ledger, request: CheckRequest, clock: Clock) -> CheckResult:
    """Raises StoreUnavailable, BucketMissing (begin again later), and what the ledger raises."""
    work = _Check(repository, ledger, request, clock.now_us())
    if request.structure:
        work.structure()
    work.contents()
    if request.structure:
        work.older()
    damaged = work.points()
    proven = prove_points(repository, ledger, work.findings, again=request.structure)
    work.counts.points += check_points(repository, ledger, work.findings, request.points, request.before_us)
    counts, listed = work.counts, work.findings.listed()
    return CheckResult(
        points=counts.points,
        packs=counts.packs,
        bytes=counts.bytes,
        bad_slots=counts.bad_slots,
        recovered_packs=counts.recovered_packs,
        damaged_points=damaged,
        proven_points=proven,
        findings_total=len(work.findings),
        findings=listed,
    )


def tell_points(repository: OpenRepository, ledger: Ledger, findings: Findings) -> int:
    """Record what is lost of which point, name the points beside what was found; how many are damaged."""
    damaged = 0
    generations = _generations(ledger)
    for point, damage in mark_points(repository, ledger):
        if damage is None:
            continue
        damaged += 1
        for pack_id in damage.packs:
            pack = generations.get(pack_id)
            for generation in pack.generations if pack else ():
                findings.cost(pack_name(point.tenant, pack_id, generation), point.point_id)
    return damaged


def _generations(ledger: Ledger) -> Mapping[bytes, PackFacts]:
    return {pack.id: pack for pack in ledger.damaged_packs()}


def _within(slots: SlotSet, pack: PackFacts) -> SlotSet:
    """A manifest may name slots that the pack never had: they are refused anyway, and nothing keeps a list of them."""
    return slots - (slots - SlotSet.of(range(pack.slots)))
