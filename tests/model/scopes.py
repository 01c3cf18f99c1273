"""The small worlds that are searched whole. Each is no larger than what its rules need to go wrong in."""

from dataclasses import replace

from model.leading import fresh_agents
from model.rules import Rule, Scope
from model.state import (
    Agent,
    Bucket,
    Budget,
    Database,
    Leader,
    Manifest,
    Open,
    PackRow,
    PointRow,
    PutPack,
    State,
    send,
)

X = frozenset("x")
XY = frozenset("xy")


def world(
    points: int, packs: int, *, held: frozenset[str] = X, budget: Budget, old: bool = False, point: bool = True
) -> State:
    """Leader 1 serves. Unless `point` is off, point 0 stands, in pack 0 with `held`. `old`: a roll-back brings back an empty database."""
    nothing = Database(1, (PointRow(),) * points, (PackRow(),) * packs)
    bucket = Bucket(frozenset(), epochs=frozenset({1}), opens=frozenset({Open(1)}))
    leaders = (Leader(0, 1, "serving"),)
    if not point:
        return State((nothing,), nothing, leaders, fresh_agents(points), bucket, frozenset(), (), frozenset(), budget)
    refs = frozenset((0, content) for content in held)
    db = nothing._replace(
        points=(PointRow("available", refs, 1), *nothing.points[1:]),
        packs=(PackRow("stored", 0, held), *nothing.packs[1:]),
    )
    bucket = bucket._replace(packs=frozenset({(0, 0, held)}), manifests=frozenset({Manifest(0, 1, refs, refs)}))
    agents = (Agent("acked", refs), *fresh_agents(points - 1))
    copy = nothing if old else db
    return State((db,), copy, leaders, agents, bucket, frozenset(), (held,), frozenset(), budget)


def revived_world(budget: Budget) -> State:
    """Point 0 is deleted, pack 0 is condemned, its DELETE is allowed; point 1 comes from another replica with that slot."""
    state = world(2, 1, budget=budget)
    db = state.dbs[0]
    db = db._replace(
        points=(PointRow("deleted", db.points[0].refs, 1), *db.points[1:]),
        packs=(db.packs[0]._replace(condemned=X),),
    )
    bucket = state.bucket._replace(manifests=frozenset(), tombstones=frozenset({(0, 1)}))
    return state._replace(dbs=(db,), copy=db, bucket=bucket, forgotten=frozenset({0}))


def sealed_world(budget: Budget) -> State:
    """Attempt 0 sealed pack 0; its PUT is under way. A roll-back brings that moment back."""
    state = world(2, 1, budget=budget, point=False)
    db = state.dbs[0]
    db = db._replace(points=(PointRow("open"), *db.points[1:]), packs=(PackRow("open", 0, X),))
    agents = (Agent("writing", upload=0), *state.agents[1:])
    return send(state._replace(dbs=(db,), copy=db, agents=agents, tables=(X,)), PutPack(0, 0, X))


BASIC = Scope(
    "one leader: a backup looks up and uploads while points are forgotten and collected",
    world(2, 2, budget=Budget(forgets=2, crashes=1)),
    (X, X),
    2,
    late=frozenset({"DeletePack"}),
)
REPEATS = Scope(
    "calls arrive late or twice",
    world(2, 3, budget=Budget(forgets=1, repeats=1)),
    (X, X),
    3,
)
RESUMED = Scope(
    "a later attempt takes over what an earlier one left",
    world(2, 2, budget=Budget(forgets=1), point=False),
    (X, X),
    2,
    lookups=False,
    resumes=True,
    late=frozenset({"PutPack", "DeletePack"}),
)
TWO_LEADERS = Scope(
    "a second leader begins beside the first",
    world(2, 2, budget=Budget(forgets=1)),
    (X, X),
    2,
    leaders=2,
    late=frozenset({"DeletePack", "Manifest", "PutLog"}),
)
ROLLED_BACK_PACKS = Scope(
    "the database is rolled back while the leader of before goes on; logs and deletes are late",
    world(2, 1, budget=Budget(forgets=1, forks=1)),
    (X, X),
    1,
    late=frozenset({"DeletePack", "PutLog"}),
)
ROLLED_BACK_VOID = Scope(
    "the database is rolled back while the leader of before sweeps what nobody reported",
    sealed_world(Budget(forks=1)),
    (X, X),
    1,
    lookups=False,
    resumes=True,
    late=frozenset({"PutPack", "DeletePack", "PutLog"}),
)
ROLLED_BACK_POINTS = Scope(
    "the database is rolled back while the leader of before goes on; manifests and tombstones are late",
    world(2, 1, budget=Budget(forgets=1, forks=1)),
    (X, X),
    1,
    late=frozenset({"Manifest", "PutTombstone", "DeleteManifest"}),
)
INTENT_HANDED_ON = Scope(
    "a leader dies between intent and manifest, the next one finishes the point, and a third begins",
    world(1, 1, budget=Budget(crashes=2), point=False),
    (X,),
    1,
    lookups=False,
    late=frozenset({"Manifest"}),
)
DELETION_HANDED_ON = Scope(
    "a leader dies when a deletion is decided, the next one announces it, and the database is rolled back",
    world(1, 1, budget=Budget(forgets=1, crashes=1, forks=1)),
    (X,),
    1,
    lookups=False,
    late=frozenset({"PutTombstone", "DeleteManifest"}),
)
LOST = Scope(
    "the database is lost",
    world(2, 1, budget=Budget(forgets=1, forks=1), old=True),
    (X, X),
    1,
    late=frozenset({"DeletePack"}),
)
LOGS_LOST = Scope(
    "database and logs are lost",
    world(2, 1, budget=Budget(forgets=1, forks=1, losses=1), old=True),
    (X, X),
    1,
    late=frozenset({"DeletePack"}),
)
COMPACTED = Scope(
    "packs are compacted",
    world(2, 1, held=XY, budget=Budget(forgets=1, crashes=1)),
    (XY, X),
    1,
    compacts=True,
    late=frozenset({"PutPack", "DeletePack"}),
)
COMPACTED_CALM = replace(
    COMPACTED,
    name="packs are compacted, nothing crashes, and a third point revives what the mark did not see",
    start=world(3, 1, held=XY, budget=Budget(forgets=1)),
    wants=(XY, X, frozenset("y")),
)
COMPACTED_DAMAGED = Scope(
    "a read for a compaction is bad",
    world(2, 1, held=XY, budget=Budget(forgets=1, damages=1)),
    (XY, X),
    1,
    compacts=True,
    late=frozenset({"PutPack", "DeletePack"}),
)
FOUND_BAD = Scope(
    "verification finds a slot bad",
    world(2, 2, budget=Budget(damages=1)),
    (X, X),
    2,
)
RESTORED = Scope(
    "a restore is under way",
    world(1, 1, budget=Budget(forgets=1, restores=1, crashes=1)),
    (X,),
    1,
)
HOSTILE = Scope(
    "agents lie about their refmaps",
    world(1, 1, budget=Budget(forgets=1), point=False),
    (XY,),
    1,
    lookups=False,
    compacts=True,
    hostile=True,
)
FOREIGN = Scope(
    "agents name another tenant's packs",
    world(2, 2, budget=Budget()),
    (X, X),
    2,
    foreign=frozenset({0}),
    hostile=True,
)
REVIVED = Scope(
    "a replica receives a point whose slot it condemned",
    revived_world(Budget()),
    (X, X),
    1,
    compacts=True,
    replicas=frozenset({1}),
    late=frozenset({"DeletePack"}),
)
REVIVED_TWICE = replace(REVIVED, name="the same, and a call arrives twice", start=revived_world(Budget(repeats=1)))
REVIVED_CRASHED = replace(REVIVED, name="the same, and it crashes", start=revived_world(Budget(crashes=1)))
TRIMMED = replace(
    ROLLED_BACK_PACKS,
    name="the database is rolled back beyond logs that were trimmed; logs and deletes are late",
    trims=True,
)
TRIMMED_VOID = replace(
    ROLLED_BACK_VOID,
    name="the database is rolled back beyond the trimmed log of what nobody reported",
    trims=True,
)
ALL = (
    BASIC,
    REPEATS,
    RESUMED,
    TWO_LEADERS,
    ROLLED_BACK_PACKS,
    ROLLED_BACK_VOID,
    ROLLED_BACK_POINTS,
    INTENT_HANDED_ON,
    DELETION_HANDED_ON,
    TRIMMED,
    TRIMMED_VOID,
    LOST,
    LOGS_LOST,
    COMPACTED,
    COMPACTED_CALM,
    COMPACTED_DAMAGED,
    FOUND_BAD,
    RESTORED,
    HOSTILE,
    FOREIGN,
    REVIVED,
)
LARGE = (REVIVED_TWICE, REVIVED_CRASHED)
"""Searched whole by `make test-slow`."""

CAUGHT_IN = {
    Rule.SLICE_ADDS_ARRIVALS: BASIC,
    Rule.ONE_ROW_ORDERS: BASIC,
    Rule.DURABLE_INTENT: BASIC,
    Rule.START_REPLAYS_LOGS: ROLLED_BACK_PACKS,
    Rule.START_ADOPTS_POINTS: ROLLED_BACK_POINTS,
    Rule.OPEN_NAMES_INTENTS: INTENT_HANDED_ON,
    Rule.OPEN_NAMES_DELETIONS: DELETION_HANDED_ON,
    Rule.LATE_IS_VOID: ROLLED_BACK_POINTS,
    Rule.CHECK_BEFORE_DELETE: ROLLED_BACK_VOID,
    Rule.CHECK_BEFORE_ACK: ROLLED_BACK_POINTS,
    Rule.VOID_BEFORE_SWEEP: RESUMED,
    Rule.NUMBERS_ONCE: REVIVED_TWICE,
    Rule.BAD_FAILS_VALIDATION: FOUND_BAD,
    Rule.FILTERED_REBUILD: LOGS_LOST,
    Rule.DROP_CONDEMNED_ONLY: COMPACTED_CALM,
    Rule.PROVE_COPIES: COMPACTED_DAMAGED,
    Rule.READ_BACK: COMPACTED_CALM,
    Rule.PINS: RESTORED,
    Rule.TOMBSTONE_FIRST: ROLLED_BACK_POINTS,
    Rule.OWN_TENANT: FOREIGN,
    Rule.RECOMPUTE_REFMAP: HOSTILE,
    Rule.REVIVE_ANEW: REVIVED,
    Rule.TRIM_WHAT_IS_DONE: TRIMMED,
    Rule.STOCK_BELOW_TRIMMED: TRIMMED,
    Rule.COMMIT_CHECK: BASIC,
    Rule.SPARE_OPEN_ATTEMPTS: BASIC,
    Rule.CONDEMN_FIRST: BASIC,
    Rule.IDS_ONCE: REPEATS,
}
"""In which scope dropping a rule must be found out."""
