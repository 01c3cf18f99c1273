"""The rules of the collection, each a switch: a scope drops one and the search must then find a history that loses something.

The numbers are those of repository/DESIGN.md, "Rules without which collection loses data"; the last four are no rules but mistakes that
somebody could make.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from model.state import State


class Rule(StrEnum):
    SLICE_ADDS_ARRIVALS = "1: a condemn slice adds what arrived since the mark"
    ONE_ROW_ORDERS = "2: validation and condemn slices are ordered by one row"
    DURABLE_INTENT = "3: a validated point is an intent, and live"
    START_REPLAYS_LOGS = "4: a leader's start replays condemn logs"
    START_ADOPTS_POINTS = "4: a leader's start adopts the bucket's points"
    OPEN_NAMES_INTENTS = "4: c/open names the points whose intent is written"
    OPEN_NAMES_DELETIONS = "4: c/open names the points whose deletion was decided"
    LATE_IS_VOID = "5: what a replaced leader leaves later, and c/open does not name, is void"
    CHECK_BEFORE_DELETE = "5: no DELETE before its log, and no higher epoch after it"
    CHECK_BEFORE_ACK = "5: no ack before m/, and no higher epoch after it"
    VOID_BEFORE_SWEEP = "6: an unreported object goes only after its id is VOID"
    NUMBERS_ONCE = "6: generation numbers are never reused"
    BAD_FAILS_VALIDATION = "7: bad slots fail validation"
    FILTERED_REBUILD = "8: a rebuilt index is filtered by the condemned set"
    DROP_CONDEMNED_ONLY = "9: compaction drops exactly the condemned slots"
    PROVE_COPIES = "9: compaction checks what it copies"
    READ_BACK = "9: the old generation goes after the new one was read back"
    PINS = "10: a restore takes a pin"
    TOMBSTONE_FIRST = "11: t/, epoch check, then m/"
    OWN_TENANT = "12: a refmap names packs of its tenant alone"
    RECOMPUTE_REFMAP = "12: protected only when the refmap was recomputed"
    REVIVE_ANEW = "13: a condemned slot comes back only in a new generation"
    TRIM_WHAT_IS_DONE = "4: a log is trimmed when all of it has left and nothing of it is under way"
    STOCK_BELOW_TRIMMED = "4: a database older than trimmed logs is compared with the packs in the bucket"
    COMMIT_CHECK = "mistake: the commit check is skipped"
    SPARE_OPEN_ATTEMPTS = "mistake: an open attempt is swept"
    CONDEMN_FIRST = "mistake: deleted before condemned"
    IDS_ONCE = "mistake: an id is used again"


@dataclass(frozen=True)
class Scope:
    """A small world to search whole: where it starts, what may go wrong in it, which rules hold.

    `wants`: what the disks of each point contain. `lookups`: whether agents ask at all. `resumes`: a later attempt may take over an open
    pack. `foreign`: packs of another tenant, that of the point of the same number. `hostile`: agents name what they like and leave out what
    they like. `replicas`: points that arrive with their slots given. `late`: the kinds of calls that may arrive late; the others arrive at
    once, which makes a scope much smaller. `trims`: logs that are done go.
    """

    name: str
    start: State
    wants: tuple[frozenset[str], ...]
    packs: int
    leaders: int = 1
    lookups: bool = True
    compacts: bool = False
    resumes: bool = False
    foreign: frozenset[int] = frozenset()
    hostile: bool = False
    replicas: frozenset[int] = frozenset()
    late: frozenset[str] = frozenset({"PutPack", "DeletePack", "Manifest"})
    trims: bool = False
    dropped: frozenset[Rule] = frozenset()

    def holds(self, rule: Rule) -> bool:
        return rule not in self.dropped

    def without(self, *rules: Rule) -> "Scope":
        return replace(self, dropped=frozenset(rules))
