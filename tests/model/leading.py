"""Leaders begin, crash, and find what their database does not know; the database is rolled back under them."""

from collections.abc import Iterator

from model.agents import Step
from model.rules import Rule, Scope
from model.state import (
    Agent,
    Database,
    Leader,
    Manifest,
    Open,
    PackRow,
    PointRow,
    State,
    committed,
    doomed_in_force,
    logs_in_force,
    manifests_in_force,
    tombstones_in_force,
    top_epoch,
    with_db,
    with_leader,
    with_pack,
    with_point,
)
from model.trimming import with_stock


def leading_steps(scope: Scope, state: State) -> Iterator[Step]:
    budget = state.budget
    yield from _begin(scope, state)
    for index, leader in enumerate(state.leaders):
        if leader.stage in ("dead", "stopped"):
            continue
        if budget.crashes:
            dead = with_leader(state, index, leader._replace(stage="dead", job=None))
            dead = dead._replace(budget=budget._replace(crashes=budget.crashes - 1))
            yield Step(f"leader {leader.epoch} crashes", False, dead)
        if leader.stage != "serving" and state.dbs[leader.db].epoch == leader.epoch:
            yield _start(scope, state, index)


def _begin(scope: Scope, state: State) -> Iterator[Step]:
    """A leader on the same database, in place of one that is gone or beside it; or on one that was rolled back."""
    newest = state.leaders[-1]
    gone = newest.stage in ("dead", "stopped") or newest.epoch < max(state.bucket.epochs)
    if len(state.leaders) < scope.leaders or gone:
        yield Step("a new leader begins", gone, _acquired(state, newest.db))
    budget = state.budget
    if budget.forks:
        db = state.copy._replace(points=tuple(_fenced(row) for row in state.copy.points), pins=frozenset())
        forked = state._replace(dbs=(*state.dbs, db), budget=budget._replace(forks=budget.forks - 1))
        # Attempts of before are fenced by the database's epoch, restores with them.
        forked = forked._replace(agents=tuple(agent._replace(reading=False) for agent in forked.agents))
        yield Step("the database is rolled back; a new leader begins", False, _acquired(forked, len(forked.dbs) - 1))
        if budget.losses:
            lost = forked.bucket._replace(logs=frozenset())
            yield Step(
                "the database and all logs are lost; a new leader begins",
                False,
                _acquired(
                    forked._replace(bucket=lost, budget=forked.budget._replace(losses=budget.losses - 1)),
                    len(forked.dbs) - 1,
                ),
            )


def _fenced(row: PointRow) -> PointRow:
    return row._replace(state="failed") if row.state == "open" else row


def _acquired(state: State, db_index: int) -> State:
    """Above database and bucket. Epochs of one number are told apart by their uuid; here they never meet."""
    db = state.dbs[db_index]
    epoch = max(db.epoch, *state.bucket.epochs, *(leader.epoch for leader in state.leaders)) + 1
    leaders = tuple(leader for leader in state.leaders if leader.stage not in ("dead", "stopped"))
    after = with_db(state, db_index, db._replace(epoch=epoch))
    for index in range(len(state.dbs)):
        if index != db_index and all(leader.db != index for leader in leaders):
            after = with_db(after, index, state.copy)  # nobody will ever look at it again: one state, not many
    return after._replace(leaders=(*leaders, Leader(db_index, epoch, "acquired")))


def _start(scope: Scope, state: State, index: int) -> Step:
    """PUT c/epoch; LIST and settle; PUT c/open; serve."""
    leader = state.leaders[index]
    if leader.stage == "acquired":
        bucket = state.bucket._replace(epochs=state.bucket.epochs | {leader.epoch})
        after = with_leader(state._replace(bucket=bucket), index, leader._replace(stage="announced"))
        return Step(f"leader {leader.epoch} puts c/epoch", True, after)
    if leader.stage == "announced":
        settled, alarm = _settled(scope, state, state.dbs[leader.db])
        listed = leader._replace(stage="listed", opening=_opening(scope, state, leader.epoch, settled))
        after = with_leader(with_db(state, leader.db, settled), index, listed)
        return Step(f"leader {leader.epoch} lists c/, m/, t/ and settles", True, after._replace(alarm=alarm))
    assert leader.opening is not None
    bucket = state.bucket
    if leader.epoch > top_epoch(bucket):  # a lesser one decides nothing, and goes with the next opening
        bucket = bucket._replace(opens=frozenset({leader.opening}))
    after = with_leader(state._replace(bucket=bucket), index, leader._replace(stage="serving", opening=None))
    return Step(f"leader {leader.epoch} puts c/open for {sorted(leader.opening.points)} and serves", True, after)


def _opening(scope: Scope, state: State, epoch: int, db: Database) -> Open:
    """`put_open_mark`: what the settled database takes for points, and what counts in the bucket beside them."""
    if not scope.holds(Rule.LATE_IS_VOID):
        return Open(epoch, everything=True)
    states = {"available", "deleting"} | ({"intent"} if scope.holds(Rule.OPEN_NAMES_INTENTS) else set())
    points = {point for point, row in enumerate(db.points) if row.state in states}
    leaving = {point for point, row in enumerate(db.points) if row.state == "deleting"}
    if not scope.holds(Rule.OPEN_NAMES_DELETIONS):
        leaving = set()
    return Open(
        epoch, frozenset(points | committed(state.bucket).keys()), frozenset(leaving), logs_in_force(state.bucket)
    )


def _settled(scope: Scope, state: State, db: Database) -> tuple[Database, str]:
    """The database as the bucket says that it is. Second: what cannot be explained."""
    manifests, dead, alarm = manifests_in_force(state.bucket), tombstones_in_force(state.bucket), ""
    if scope.holds(Rule.START_ADOPTS_POINTS):
        for point, manifest in sorted(manifests.items()):
            if point not in dead:
                db = _adopted(state, db, manifest)
        for point, row in enumerate(db.points):
            if point in dead:
                db = with_point(db, point, _buried(state, point, row))
            elif point not in manifests and row.state == "available":
                db, alarm = with_point(db, point, row._replace(state="lost")), f"point {point} has no m/ and no t/"
    db = _rebuilt(scope, state, db)
    if scope.holds(Rule.START_REPLAYS_LOGS):
        db = with_stock(scope, state, _replayed(state, db))
    return db, alarm


def _buried(state: State, point: int, row: PointRow) -> PointRow:
    """A point goes with the bucket's tombstone; a run that would make it ends. What is left of one that has no row, collection removes."""
    if row.state == "available":
        return row._replace(
            state="deleting", decided=next(epoch for one, epoch in state.bucket.tombstones if one == point)
        )
    return row._replace(state="failed") if row.state in ("open", "intent") else row


def _adopted(state: State, db: Database, manifest: Manifest) -> Database:
    row = db.points[manifest.point]
    if row.state == "deleting":
        return db
    wanted = PointRow("available", manifest.refs, manifest.epoch, row.protected)
    db = with_point(db, manifest.point, wanted)
    for number in sorted({pack for pack, _ in manifest.refs}):
        if db.packs[number].state in ("none", "open"):
            db = with_pack(db, number, _from_table(state, number))
    return db


def _from_table(state: State, number: int) -> PackRow:
    newest = max((gen for pack, gen, _ in state.bucket.packs if pack == number), default=0)
    return PackRow("stored", -1, state.tables[number], gen=newest, next=newest + 1)


def _rebuilt(scope: Scope, state: State, db: Database) -> Database:
    """Packs that no row knows: their tables enter, without condemned slots; where the logs are lost, only what points name."""
    going = {(pack, content) for pack, content, _ in doomed_in_force(state.bucket)}
    named = frozenset(
        slot for row in db.points if row.state in ("available", "intent", "deleting") for slot in row.refs
    )
    for number in sorted({pack for pack, _, _ in state.bucket.packs}):
        row = db.packs[number]
        if row.state != "none":
            continue
        row = _from_table(state, number)
        if scope.holds(Rule.FILTERED_REBUILD):
            lost = not state.bucket.logs
            out = {one for one in row.slots if (number, one) in going or (lost and (number, one) not in named)}
            row = row._replace(condemned=frozenset(out))
        db = with_pack(db, number, row)
    return db


def _replayed(state: State, db: Database) -> Database:
    """Slots that a log condemned, unless a later generation holds them again: then they were revived."""
    for number, content, gen in sorted(doomed_in_force(state.bucket)):
        row = db.packs[number]
        if content == "" or row.state == "open":
            if row.state in ("open", "none"):
                db = with_pack(
                    db, number, PackRow("void", row.owner, state.tables[number], next=max(row.next, gen + 1))
                )
            continue
        revived = any(pack == number and one > gen and content in held for pack, one, held in state.bucket.packs)
        if row.state == "stored" and not revived and content in row.slots:
            row = row._replace(condemned=row.condemned | {content}, next=max(row.next, gen + 1))
            db = with_pack(db, number, row)
    return db


def fresh_agents(count: int) -> tuple[Agent, ...]:
    return tuple(Agent() for _ in range(count))
