"""What collection asks of whoever knows the truth: the controller's database, behind the worker's pipe; tests keep it in memory.

Contract, checked by tests/contract/test_collection_ledger.py:
- `condemn`, `doom`, `number` and `void` are one serialised transaction each, ordered against the validation of hand-ins by one row, under
  the leader's guard: who lost the lead gets LedgerRefused, and nothing changed.
- What was condemned stays so for ever; a repeated call with the same slots changes nothing.
- Every call may be repeated after a lost answer.
- Errors: LedgerRefused (stop; a later collection begins anew), LedgerBusy (the same, soon).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from seawall.repository.errors import RepositoryError, TemporaryError
from seawall.repository.forgetting.leaders import LeaderMark
from seawall.repository.format.pack import pack_id_of
from seawall.repository.format.slot_set import NO_SLOTS, SlotSet


class LedgerRefused(RepositoryError):
    """The ledger said no for good: cancelled, or another leader. `reason` is a stable word."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class LedgerBusy(TemporaryError):
    """Not now."""


class RootState(StrEnum):
    PUBLISHING = "PUBLISHING"
    AVAILABLE = "AVAILABLE"
    DELETING = "DELETING"


@dataclass(frozen=True, slots=True)
class PointRoot:
    """A point that keeps slots alive. `seq` numbers its publication. While PUBLISHING its refmap lies where its attempt put it."""

    tenant: str
    vm_id: str
    point_id: str
    state: RootState
    seq: int
    attempt_id: str
    refmap_hash: bytes


class PackStanding(StrEnum):
    OPEN = "OPEN"
    STORED = "STORED"
    VOID = "VOID"
    DELETED = "DELETED"


@dataclass(frozen=True, slots=True)
class PackFacts:
    """One pack as the ledger knows it.

    `slots`: of generation 0. `in_use`: an attempt that is not over, or ended within the grace period, wrote it: nothing of it may be
    condemned. `waiting`: something condemned was not dropped yet; `ripe`: for longer than the grace period, so it may be.
    `generation_hash`: of the bytes of a later generation; `b""`: nobody knows.
    """

    pack_id: bytes
    tenant: str
    standing: PackStanding
    meta: bool
    size_bytes: int
    slots: int
    generation: int
    condemned: SlotSet = NO_SLOTS
    in_use: bool = False
    waiting: bool = False
    ripe: bool = False
    generation_hash: bytes = b""

    def is_written(self, body: bytes) -> bool:
        """Whether these are known to be the bytes of the generation that counts."""
        return pack_id_of(body) == (self.generation_hash if self.generation else self.pack_id)

    @property
    def generations(self) -> tuple[int, ...]:
        return (self.generation, self.generation + 1) if self.meta else (self.generation,)

    @property
    def left(self) -> int:
        """Slots that were not condemned."""
        return self.slots - len(self.condemned)


@dataclass(frozen=True, slots=True)
class Mark:
    """Where a mark began: `seq` numbers publications; later ones are arrivals. `leader`: as it announced itself in this bucket."""

    seq: int
    leader: LeaderMark


@dataclass(frozen=True, slots=True)
class Slice:
    """Slots to condemn, by pack. At most SLICE_PACKS packs."""

    slots: dict[bytes, SlotSet] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Condemned:
    """`accepted`: what is condemned now, by pack; packs that came into use meanwhile are left out. `seq`: of this very step."""

    seq: int
    accepted: dict[bytes, SlotSet]


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Nothing was condemned: these points were validated since `seen`. Mark them, then ask again with their number."""

    seq: int
    points: tuple[PointRoot, ...]


@dataclass(frozen=True, slots=True)
class Doomed:
    """What may go once its announcement, numbered `seq`, stands in the bucket: packs as the ledger knows them at that moment."""

    seq: int
    packs: tuple[PackFacts, ...]


SLICE_PACKS = 256
"""Most packs of one slice: it holds up publications for as long as its transaction takes."""


class Ledger(Protocol):
    """The fenced truth."""

    def begin(self) -> Mark:
        """The mark begins: every point validated later has a greater `seq`."""

    def roots(self) -> Iterator[PointRoot]:
        """PUBLISHING, AVAILABLE and DELETING points, and whatever is pinned."""

    def roots_named(self, point_ids: Sequence[str]) -> dict[str, PointRoot]:
        """As they are now; those missing are no roots (any more)."""

    def packs(self, after: bytes = b"") -> Iterator[PackFacts]:
        """Packs of every standing with greater ids, by id."""

    def facts(self, pack_ids: Sequence[bytes]) -> dict[bytes, PackFacts]:
        """Of those that are known."""

    def spent_attempts(self, attempt_ids: Sequence[str]) -> frozenset[str]:
        """Those that are over, or that nobody knows: nobody wants their hand-ins any more."""

    def condemn(self, slice_: Slice, seen: int) -> Condemned | Arrivals:
        """Add to the condemned, unless a point was validated after `seen` (rules 1 and 2)."""

    def void(self, pack_ids: Sequence[bytes]) -> frozenset[bytes]:
        """OPEN packs that are not in use, and ids that nobody knows, become VOID for ever; those that are VOID now (rule 6)."""

    def number(self) -> int:
        """A fresh one for an announcement, ordered as `doom`'s is."""

    def doom(self, pack_ids: Sequence[bytes]) -> Doomed:
        """Of these STORED packs the ones with something condemned and ripe, for the announcement (rule 5)."""

    def reserve_generation(self, pack_id: bytes, above: int) -> int:
        """A generation number greater than `above` and all that were ever given out; of a meta pack the first, even, of two."""

    def compacted(self, pack_id: bytes, generation: int, size_bytes: int, generation_hash: bytes) -> None:
        """The new generation was read back: from now on it counts. The hash proves it as the id proves the first: it is given only where
        the bytes were made from bytes that were known themselves, else `b""`.
        """

    def deleted(self, pack_ids: Sequence[bytes]) -> None:
        """Every generation of these is gone from the bucket."""

    def may_continue(self) -> None:
        """Raises LedgerRefused when the work was cancelled or the lead lost."""

    def report(self, **counts: int | str) -> None:
        """Progress, for people."""
