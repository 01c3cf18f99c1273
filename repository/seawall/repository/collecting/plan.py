"""What is to become of a pack, and of all of them together. Pure: facts and the mark in, decisions out."""

from dataclasses import dataclass, field
from enum import StrEnum
from threading import Lock

from seawall.repository.collecting.port import PackFacts, PackStanding
from seawall.repository.format.slot_set import NO_SLOTS, SlotSet

COMPACT_FROM_PERCENT = 25
"""A pack is compacted when so much of it is dead: reading and writing the rest again is worth it from there."""

ORPHAN_AGE_SECONDS = 24 * 3600.0

LOG_HORIZON_SECONDS = 90 * 24 * 3600.0
"""No request to a store, and no step between an announcement and its DELETE, is under way for so long. A database that is older is
compared with the bucket when its controller starts.
"""


@dataclass(frozen=True, slots=True)
class CollectSettings:
    """`grace_us`: what nobody accounts for is deleted once it is so old. `compact_from_percent`: 1 to 100.

    `horizon_us`: condemn logs and announcements of leaders are kept for so long.
    """

    grace_us: int = int(ORPHAN_AGE_SECONDS * 1_000_000)
    compact_from_percent: int = COMPACT_FROM_PERCENT
    horizon_us: int = int(LOG_HORIZON_SECONDS * 1_000_000)


class Fate(StrEnum):
    """What is done with a pack, and if nothing, why."""

    CONDEMN_ALL = "CONDEMN_ALL"
    """No point needs anything of it: condemned now, deleted after the grace period."""
    CONDEMN_SOME = "CONDEMN_SOME"
    """Enough of it is dead: condemned now, compacted after the grace period."""
    GOES = "GOES"
    """Dead and over the grace period: deleted now."""
    SHRINKS = "SHRINKS"
    """Sparse and over the grace period: compacted now."""
    GIVEN_UP = "GIVEN_UP"
    """Sealed by an attempt that is over and never reported: becomes VOID; an object of that name goes."""
    WAITS = "WAITS"
    """Condemned within the grace period."""
    IN_USE = "IN_USE"
    """Written by an attempt that is not over, or was not within the grace period."""
    TOO_LITTLE = "TOO_LITTLE"
    """Something of it is dead, too little to write the rest again."""
    NEEDED = "NEEDED"


@dataclass(frozen=True, slots=True)
class Decision:
    """`slots`: to condemn now. `dead_bytes`: of the pack's bytes, as far as can be told from its slots."""

    fate: Fate
    slots: SlotSet = NO_SLOTS
    dead_bytes: int = 0


def decide(pack: PackFacts, live: SlotSet, settings: CollectSettings) -> Decision | None:
    """None: nothing to say of it (VOID, DELETED). `live`: the marked slots."""
    if pack.standing is PackStanding.OPEN:
        return Decision(Fate.IN_USE if pack.in_use else Fate.GIVEN_UP, dead_bytes=_bytes(pack, pack.slots))
    if pack.standing is not PackStanding.STORED:
        return None
    dead = every_slot(pack) - live - pack.condemned
    if not dead:
        return _settled(pack)
    if pack.in_use:
        return Decision(Fate.IN_USE, dead_bytes=_bytes(pack, len(dead)))
    if len(dead) == pack.left:
        return Decision(Fate.CONDEMN_ALL, dead, _bytes(pack, pack.left))
    if pack.waiting:
        # More would start its grace period anew, and a pack of which a little dies every day would never be compacted.
        return Decision(Fate.SHRINKS if pack.ripe else Fate.WAITS, dead_bytes=_condemned_bytes(pack))
    if len(dead) * 100 >= pack.left * settings.compact_from_percent:
        return Decision(Fate.CONDEMN_SOME, dead, _bytes(pack, len(dead)))
    return Decision(Fate.TOO_LITTLE, dead_bytes=_bytes(pack, len(dead)))


def every_slot(pack: PackFacts) -> SlotSet:
    return SlotSet.first(pack.slots)


def _settled(pack: PackFacts) -> Decision:
    """Nothing new is dead."""
    if not pack.waiting:
        return Decision(Fate.NEEDED, dead_bytes=0)
    if not pack.ripe:
        return Decision(Fate.WAITS, dead_bytes=_condemned_bytes(pack))
    return Decision(Fate.SHRINKS if pack.left else Fate.GOES, dead_bytes=_condemned_bytes(pack))


def _bytes(pack: PackFacts, slots: int) -> int:
    """As if every slot that is left were equally large. A meta pack is stored twice."""
    return pack.size_bytes * len(pack.generations) * slots // pack.left if pack.left else 0


def _condemned_bytes(pack: PackFacts) -> int:
    size = pack.size_bytes * len(pack.generations)
    return size * len(pack.condemned) // pack.slots if pack.left else size


@dataclass(slots=True)
class Tally:
    """Packs and bytes of one kind."""

    packs: int = 0
    bytes: int = 0

    def add(self, size_bytes: int, packs: int = 1) -> None:
        self.packs += packs
        self.bytes += size_bytes


STAYS_BECAUSE = {
    Fate.IN_USE: "written by a backup that is not over, or was not until recently",
    Fate.TOO_LITTLE: "dead, but in packs of which too much is needed to write the rest again",
}
LATER_BECAUSE = {
    Fate.CONDEMN_ALL: "packs that no point needs: condemned now, gone with a collection after the grace period",
    Fate.CONDEMN_SOME: "the dead part of sparse packs: condemned now, gone with a collection after the grace period",
    Fate.WAITS: "condemned before, within the grace period: whoever reads without a pin may still want it",
}
GOES_BECAUSE = {
    Fate.GOES: "packs that no point needs",
    Fate.SHRINKS: "the dead part of sparse packs",
    Fate.GIVEN_UP: "packs that attempts sealed and never reported",
}


@dataclass(slots=True)
class Report:
    """A collection as people see it: what it would do, and what it did. Bytes of planned things are estimates by slots."""

    plan_only: bool
    points: int = 0
    planned: dict[Fate, Tally] = field(default_factory=dict)
    condemned_slots: int = 0
    deleted: Tally = field(default_factory=Tally)
    compacted: Tally = field(default_factory=Tally)
    """Packs, and the bytes that came back."""
    swept: Tally = field(default_factory=Tally)
    """Objects that belong to nothing: late PUTs, hand-ins, refmaps without a point, older generations."""
    locked: Tally = field(default_factory=Tally)
    """Objects that points need whose Object Lock was extended."""
    trimmed: Tally = field(default_factory=Tally)
    """Condemn logs and announcements of leaders that nobody needs any more."""
    kept_back: list[str] = field(default_factory=list)
    """Objects that the store would not delete, or that could not be read: tried again by the next collection. The first few, by name."""
    kept_back_count: int = 0
    _lock: Lock = field(default_factory=Lock, repr=False, compare=False)

    def count(self, decision: Decision) -> None:
        self.planned.setdefault(decision.fate, Tally()).add(decision.dead_bytes)

    def keep_back(self, name: str, why: str) -> None:
        """Thread-safe."""
        with self._lock:
            self.kept_back_count += 1
            if len(self.kept_back) < MOST_NAMED:
                self.kept_back.append(f"{name}: {why}")

    def as_json(self) -> dict[str, object]:
        """What the job's result holds and the command line prints."""
        return {
            "plan_only": self.plan_only,
            "points": self.points,
            "goes": self._lines(GOES_BECAUSE),
            "goes_later": self._lines(LATER_BECAUSE),
            "stays": self._lines(STAYS_BECAUSE),
            "needed": _tally(self.planned.get(Fate.NEEDED, Tally())),
            "condemned_slots": self.condemned_slots,
            "deleted": _tally(self.deleted),
            "compacted": _tally(self.compacted),
            "swept": {"objects": self.swept.packs, "bytes": self.swept.bytes},
            "trimmed": {"objects": self.trimmed.packs},
            "locked": {"objects": self.locked.packs},
            "bytes_back": self.deleted.bytes + self.compacted.bytes + self.swept.bytes,
            "kept_back": {"objects": self.kept_back_count, "first": list(self.kept_back)},
        }

    def _lines(self, sentences: dict[Fate, str]) -> list[dict[str, object]]:
        return [
            {"reason": fate.value, "sentence": sentence, **_tally(self.planned[fate])}
            for fate, sentence in sentences.items()
            if fate in self.planned
        ]


MOST_NAMED = 20


def _tally(tally: Tally) -> dict[str, object]:
    return {"packs": tally.packs, "bytes": tally.bytes}
