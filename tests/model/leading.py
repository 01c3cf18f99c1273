"""Leaders begin, crash, and find what their database does not know; the database is rolled back under them."""

from collections.abc import Iterator

from model.agents import Step
from model.collecting import doomed
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
    doomed_in_force,
    manifests_in_force,
    tombstones_in_force,
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
        after = with_leader(with_db(state, leader.db, settled), index, leader._replace(stage="listed"))
        return Step(f"leader {leader.epoch} lists c/, m/, t/ and settles", True, after._replace(alarm=alarm))
    db = state.dbs[leader.db]
    standing = frozenset(
        point for point, row in enumerate(db.points) if row.state in ("available", "intent", "deleting")
    )
    dead = frozenset(
        point
        for point in tombstones_in_force(state.bucket)
        if db.points[point].state in ("deleting", "deleted", "none", "failed")
    )
    bucket = state.bucket._replace(
        opens=frozenset({Open(leader.epoch, standing, dead, doomed(db))}), epochs=state.bucket.epochs
    )
    after = with_leader(state._replace(bucket=bucket), index, leader._replace(stage="serving"))
    return Step(f"leader {leader.epoch} puts c/open for points {sorted(standing)} and serves", True, after)


def _settled(scope: Scope, state: State, db: Database) -> tuple[Database, str]:
    """The database as the bucket says that it is. Second: what cannot be explained."""
    manifests, dead, alarm = manifests_in_force(state.bucket), tombstones_in_force(state.bucket), ""
    if scope.holds(Rule.START_ADOPTS_POINTS):
        for point, manifest in sorted(manifests.items()):
            db = _adopted(state, db, manifest, point in dead)
        for point, row in enumerate(db.points):
            if point not in manifests and point in dead and row.state in ("available", "intent", "deleting"):
                db = with_point(db, point, row._replace(state="deleted"))
            elif point not in manifests and row.state == "available":
                db, alarm = with_point(db, point, row._replace(state="lost")), f"point {point} has no m/ and no t/"
    db = _rebuilt(scope, state, db)
    if scope.holds(Rule.START_REPLAYS_LOGS):
        db = with_stock(scope, state, _replayed(state, db))
    return db, alarm


def _adopted(state: State, db: Database, manifest: Manifest, dead: bool) -> Database:
    row = db.points[manifest.point]
    if row.state == "deleting":
        return db
    wanted = PointRow("deleting" if dead else "available", manifest.refs, manifest.epoch, row.protected)
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
