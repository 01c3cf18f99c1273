"""What a leader does for points: promote intents, give up attempts, forget points."""

from collections.abc import Iterator

from model.agents import Step, leading
from model.rules import Rule, Scope
from model.state import (
    DeleteManifest,
    Leader,
    Manifest,
    PutTombstone,
    State,
    committed,
    manifests_in_force,
    send,
    tombstones_in_force,
    with_agent,
    with_db,
    with_leader,
    with_point,
)


def publishing_steps(scope: Scope, state: State) -> Iterator[Step]:
    for index, leader, db in leading(state):
        for point, row in enumerate(db.points):
            if row.state == "open":
                failed = with_db(state, leader.db, with_point(db, point, row._replace(state="failed")))
                yield Step(f"leader {leader.epoch} gives up attempt {point}", True, failed)
            elif row.state == "intent":
                yield from _promote(scope, state, index, point)
            elif row.state == "available":
                yield from _looked_after(scope, state, index, point)
            elif row.state == "deleting":
                yield from _forget(scope, state, index, point)
        yield from _removed_again(state, leader)
    for point, agent in enumerate(state.agents):
        over = state.dbs[state.leaders[-1].db].points[point].state not in ("open", "intent")
        if agent.doing in ("writing", "waiting") and over:
            yield Step(f"agent {point} ends", True, with_agent(state, point, agent._replace(doing="gone")))


def none_higher(state: State, leader: Leader) -> bool:
    """The LIST of c/epoch."""
    return max(state.bucket.epochs) <= leader.epoch


def stopped(state: State, index: int) -> State:
    return with_leader(state, index, state.leaders[index]._replace(stage="stopped", job=None))


def _promote(scope: Scope, state: State, index: int, point: int) -> Iterator[Step]:
    leader = state.leaders[index]
    db = state.dbs[leader.db]
    row = db.points[point]
    manifest = Manifest(point, row.epoch, row.refs, state.agents[point].refs if scope.hostile else row.refs)
    if all(one.point != point for one in state.bucket.manifests):
        sent = send(state, manifest)
        if sent != state:
            yield Step(f"leader {leader.epoch} sends m/{point}", True, sent)
        return
    if manifest not in state.bucket.manifests:
        failed = with_db(state, leader.db, with_point(db, point, row._replace(state="failed")))
        yield Step(f"the place of m/{point} is taken", True, failed)
        return
    if scope.holds(Rule.CHECK_BEFORE_ACK) and not none_higher(state, leader):
        yield Step(f"leader {leader.epoch} sees a higher epoch and stops", True, stopped(state, index))
        return
    available = with_db(state, leader.db, with_point(db, point, row._replace(state="available")))
    yield Step(f"leader {leader.epoch} makes {point} available", True, available)


def _looked_after(scope: Scope, state: State, index: int, point: int) -> Iterator[Step]:
    """Verification shows it as protected; an operator forgets it."""
    leader = state.leaders[index]
    db, budget = state.dbs[leader.db], state.budget
    row, manifest = db.points[point], manifests_in_force(state.bucket).get(point)
    if scope.hostile and not row.protected and manifest is not None and manifest.needs <= row.refs:
        seen = with_db(state, leader.db, with_point(db, point, row._replace(protected=True)))
        yield Step(f"point {point} is verified", False, seen)
    if budget.forgets and point not in db.pins:
        decided = row._replace(state="deleting", decided=leader.epoch)
        deleting = with_db(state, leader.db, with_point(db, point, decided))
        deleting = deleting._replace(
            forgotten=state.forgotten | {point}, budget=budget._replace(forgets=budget.forgets - 1)
        )
        yield Step(f"leader {leader.epoch} forgets point {point}", False, deleting)


def _forget(scope: Scope, state: State, index: int, point: int) -> Iterator[Step]:
    """t/, epoch check, delete m/, row. Until then the point is a root."""
    leader = state.leaders[index]
    db = state.dbs[leader.db]
    first = scope.holds(Rule.TOMBSTONE_FIRST)
    if first and point not in leader.tombstoned:
        decided = db.points[point].decided
        if (point, decided) not in state.bucket.tombstones and point not in tombstones_in_force(state.bucket):
            void = any(one == point for one, _ in state.bucket.tombstones)
            sent = send(state, PutTombstone(point, decided, void))
            if sent != state:
                yield Step(f"leader {leader.epoch} sends t/{point}", True, sent)
        elif none_higher(state, leader):
            cleared = leader._replace(tombstoned=leader.tombstoned | {point})
            told = with_leader(state, index, cleared)._replace(deleted=state.deleted | {point})
            yield Step(f"leader {leader.epoch} lists c/epoch after t/{point}, and answers", True, told)
        else:
            yield Step(f"leader {leader.epoch} sees a higher epoch and stops", True, stopped(state, index))
        return
    standing = [one for one in state.bucket.manifests if one.point == point]
    for one in standing:
        sent = send(state, DeleteManifest(one.point))
        if sent != state:
            yield Step(f"leader {leader.epoch} deletes m/{point}", True, sent)
    if not standing:
        deleted = with_db(state, leader.db, with_point(db, point, db.points[point]._replace(state="deleted")))
        yield Step(f"point {point} is deleted", True, deleted)


def _removed_again(state: State, leader: Leader) -> Iterator[Step]:
    """Manifests that a tombstone outlived go. Void ones stay where they lie: nobody counts them."""
    dead = tombstones_in_force(state.bucket)
    db = state.dbs[leader.db]
    for one in sorted(state.bucket.manifests):
        over = db.points[one.point].state in ("deleted", "none", "failed")
        if one.point in dead and over and none_higher(state, leader):
            sent = send(state, DeleteManifest(one.point))
            if sent != state:
                yield Step(f"leader {leader.epoch} removes m/{one.point}, which was forgotten", True, sent)


def unknown(state: State, leader: Leader) -> bool:
    """A manifest counts that the database takes for no point: no collection begins (MANIFEST_UNKNOWN)."""
    rows = state.dbs[leader.db].points
    return any(rows[point].state not in ("intent", "available", "deleting") for point in committed(state.bucket))
