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
    """Packs, or objects, and bytes of one kind."""

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


class Leaving(StrEnum):
    """Why an object goes now, beside packs that are deleted or compacted."""

    MANIFEST = "MANIFEST"
    UNACCOUNTED = "UNACCOUNTED"
    OLDER = "OLDER"
    HAND_IN = "HAND_IN"
    REFMAP = "REFMAP"
    LOG = "LOG"


LEAVES_BECAUSE = {
    Leaving.MANIFEST: "manifests of forgotten points that arrived late",
    Leaving.UNACCOUNTED: "objects of packs that were never reported, or left before",
    Leaving.OLDER: "generations that a later one replaced",
    Leaving.HAND_IN: "hand-ins of attempts that are over",
    Leaving.REFMAP: "refmaps without a point",
    Leaving.LOG: "condemn logs and announcements of leaders that nobody needs any more",
}

SWEPT = (Leaving.UNACCOUNTED, Leaving.OLDER, Leaving.HAND_IN, Leaving.REFMAP)

YOUNG = "belong to nothing, within the grace period: whoever wrote them may still tell of them"


@dataclass(slots=True)
class Report:
    """A collection as people see it: what it would do, and what it did. What is condemned now and goes later is an estimate by slots; what
    goes now is counted object by object, planned as done.
    """

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
    leaving: dict[Leaving, Tally] = field(default_factory=dict)
    """Objects that go, or went."""
    young: Tally = field(default_factory=Tally)
    """Planned: objects that belong to nothing and stay for now."""
    named: list[str] = field(default_factory=list)
    """Planned: the first objects that would go, with their bytes."""
    _lock: Lock = field(default_factory=Lock, repr=False, compare=False)

    def leaves(self, why: Leaving, name: str, size_bytes: int) -> None:
        """The object goes, or went."""
        self.leaving.setdefault(why, Tally()).add(size_bytes)
        if why in SWEPT:
            self.swept.add(size_bytes)
        elif why is Leaving.LOG:
            self.trimmed.add(size_bytes)
        self.name(name, size_bytes)

    def name(self, name: str, size_bytes: int) -> None:
        """Of what would go, for people to look at before it does."""
        if self.plan_only and len(self.named) < MOST_NAMED:
            self.named.append(f"would go: {name}, {size_bytes} bytes")

    @property
    def bytes_back(self) -> int:
        packs = [self.planned.get(fate, Tally()) for fate in (Fate.GOES, Fate.SHRINKS)] if self.plan_only else []
        return sum(one.bytes for one in (*packs, *self.leaving.values())) + self.deleted.bytes + self.compacted.bytes

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
            "goes": self._lines(GOES_BECAUSE) + self._objects(),
            "goes_later": self._lines(LATER_BECAUSE),
            "stays": self._lines(STAYS_BECAUSE) + _young(self.young),
            "needed": _tally(self.planned.get(Fate.NEEDED, Tally())),
            "condemned_slots": self.condemned_slots,
            "deleted": _tally(self.deleted),
            "compacted": _tally(self.compacted),
            "swept": {"objects": self.swept.packs, "bytes": self.swept.bytes},
            "trimmed": {"objects": self.trimmed.packs, "bytes": self.trimmed.bytes},
            "locked": {"objects": self.locked.packs},
            "bytes_back": self.bytes_back,
            "kept_back": {"objects": self.kept_back_count, "first": list(self.kept_back)},
            "notes": list(self.named),
        }

    def _objects(self) -> list[dict[str, object]]:
        return [
            {"reason": why.value, "sentence": sentence, **_objects_of(self.leaving[why])}
            for why, sentence in LEAVES_BECAUSE.items()
            if why in self.leaving
        ]

    def _lines(self, sentences: dict[Fate, str]) -> list[dict[str, object]]:
        return [
            {"reason": fate.value, "sentence": sentence, **_tally(self.planned[fate])}
            for fate, sentence in sentences.items()
            if fate in self.planned
        ]


MOST_NAMED = 20


def _tally(tally: Tally) -> dict[str, object]:
    return {"packs": tally.packs, "bytes": tally.bytes}


def _objects_of(tally: Tally) -> dict[str, object]:
    return {"objects": tally.packs, "bytes": tally.bytes}


def _young(tally: Tally) -> list[dict[str, object]]:
    return [{"reason": "YOUNG", "sentence": YOUNG, **_objects_of(tally)}] if tally.packs else []
