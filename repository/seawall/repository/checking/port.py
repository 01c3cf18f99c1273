"""What checking and healing ask of whoever knows the catalogue: the controller through the worker's pipe; tests keep it in memory.

Contract, checked by tests/contract/test_checking_ledger.py: every change compares the pack's generation with the one that was looked at,
and answers False where the pack is not stored any more or is another generation by now: then what was seen says nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from seawall.repository.forgetting.leaders import LeaderMark
from seawall.repository.format.layout import PointName
from seawall.repository.format.slot_set import NO_SLOTS, SlotSet


@dataclass(frozen=True, slots=True)
class PackFacts:
    """A STORED pack as the catalogue has it. `looked_us`: when it was last read whole, 0: never; `whole`: what that found.

    `slots`: of its first generation, 0 to `slots` - 1, whatever left since. `generation_hash`: of a later generation's bytes; `b""`:
    nobody knows it.
    """

    id: bytes
    tenant: str
    meta: bool
    generation: int
    size_bytes: int
    slots: int
    looked_us: int = 0
    whole: bool = False
    condemned: SlotSet = NO_SLOTS
    bad: SlotSet = NO_SLOTS
    generation_hash: bytes = b""

    @property
    def bytes_hash(self) -> bytes | None:
        """BLAKE3-16 of each copy's bytes; None: unknown, and only its place says which pack an object is."""
        return self.id if self.generation == 0 else self.generation_hash or None

    @property
    def expected(self) -> SlotSet:
        """The slots that the object must hold."""
        return SlotSet.of(range(self.slots)) - self.condemned

    @property
    def stored_bytes(self) -> int:
        """Of all copies."""
        return self.size_bytes * len(self.generations)

    @property
    def generations(self) -> tuple[int, ...]:
        """Those that lie in the store: a meta pack has its second copy in the next."""
        return (self.generation, self.generation + 1) if self.meta else (self.generation,)


@dataclass(frozen=True, slots=True)
class CommittedPoint:
    """An AVAILABLE point. `damaged`: the catalogue shows damage at the moment."""

    name: PointName
    damaged: bool


@dataclass(frozen=True, slots=True)
class Progress:
    phase: str
    points_done: int = 0
    points_total: int = 0
    packs_done: int = 0
    packs_total: int = 0
    bytes_done: int = 0
    bytes_total: int = 0
    findings: int = 0


@dataclass(frozen=True, slots=True)
class PointDamage:
    """What of a point cannot be read. `disks`: target -> ranges (offset, length) in bytes, shortened; `bytes`: of all ranges."""

    chunks: int
    packs: tuple[bytes, ...]
    packs_total: int
    bytes: int
    disks: Mapping[str, tuple[tuple[int, int], ...]]


@dataclass(frozen=True, slots=True)
class Unproven:
    """`sibling`: the newest point of its VM that is proven, and not damaged: most of its pages are the same."""

    name: PointName
    sibling: PointName | None


class Ledger(Protocol):
    """Thread-safe. Every method may raise the job's own end (cancelled, no leader any more); the checker lets it through."""

    def points(self) -> Sequence[CommittedPoint]:
        """AVAILABLE points of the repository."""

    def is_available(self, point: PointName) -> bool:
        """Still: a point that was deleted meanwhile may have lost its objects rightly."""

    def is_known(self, point: PointName) -> bool:
        """Whether there is a point of this name in any state but DELETED or FAILED."""

    def packs(self, pack_ids: Sequence[bytes]) -> Mapping[bytes, PackFacts]:
        """Those that are STORED."""

    def totals(self) -> tuple[int, int]:
        """(packs, bytes) that are STORED."""

    def oldest(self, limit: int, *, seen_only: bool = False) -> Sequence[PackFacts]:
        """The STORED packs that were looked at longest ago, by (looked_us, id): never looked at first, or, `seen_only`, not at all."""

    def damaged_packs(self) -> Sequence[PackFacts]:
        """STORED packs with bad slots, or that were not whole when they were last looked at. By id."""

    def proven(self, pack: PackFacts) -> bool:
        """All that the pack must hold was read and proven: other hosts may name it from now on, its bad marks are gone."""

    def flawed(self, pack: PackFacts, bad: SlotSet) -> bool:
        """It was read and is not whole; exactly these slots are bad from now on. Durable, and out of the index, on return."""

    def reserve(self, pack: PackFacts, above: int) -> int | None:
        """A generation number that was never given out, above this one; of a meta pack the first of two. None: not what it was."""

    def healed(self, pack: PackFacts, generation: int, size_bytes: int, generation_hash: bytes) -> bool:
        """The pack's current generation is this one now, read back and proven. As `proven`. The hash is given only where its bytes are
        known to be this pack's, else `b""`.
        """

    def leader(self) -> LeaderMark:
        """As it announced itself in this bucket: nothing is deleted once the bucket knows a later one."""

    def unproven(self, limit: int, *, again: bool = False) -> Sequence[Unproven]:
        """AVAILABLE, undamaged points that nobody looked at as `proved` means it; by VM, in the order of publication. `again`: also those
        that were looked at and not proven.
        """

    def proved(self, point: PointName, proved: bool, read_us: int = 0) -> None:
        """All that the point names was read and proven, and its refmap names all that it needs (rule 12); or that is not so.

        `read_us`: when that was read of it which was read longest ago; 0: nobody can say, and this moment counts.
        """

    def damage(self, point: PointName, damage: PointDamage | None) -> None:
        """What the catalogue shows of the point; None: it is whole."""

    def progress(self, progress: Progress) -> None:
        """For whoever watches the job. Any number of times."""

    def may_continue(self) -> None:
        """Raises when the job shall end."""
