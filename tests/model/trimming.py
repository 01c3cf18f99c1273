"""Condemn logs that nobody needs any more go; what they said, the bucket shows by itself."""

from collections.abc import Iterator

from model.agents import Step, leading
from model.publishing import none_higher
from model.rules import Rule, Scope
from model.state import Database, DeletePack, Doomed, Leader, PutLog, PutPack, State, doomed_in_force, with_pack


def trimming_steps(scope: Scope, state: State) -> Iterator[Step]:
    """What is older than the horizon: nothing of it is under way, and no other leader is between its announcement and its DELETE."""
    if not scope.trims:
        return
    for index, leader, _ in leading(state):
        done = _done(scope, state, leader)
        if not done or not none_higher(state, leader):
            continue
        bucket = state.bucket
        logs = frozenset((epoch, doomed) for epoch, doomed in bucket.logs if not doomed <= done)
        if logs == bucket.logs:
            continue
        trimmed = bucket._replace(logs=logs, trimmed=True)
        # Whoever deletes once more announces it anew.
        leaders = tuple(
            one._replace(cleared=one.cleared - done) if number == index else one
            for number, one in enumerate(state.leaders)
        )
        yield Step(f"leader {leader.epoch} trims logs", True, state._replace(bucket=trimmed, leaders=leaders))


def _done(scope: Scope, state: State, leader: Leader) -> Doomed:
    announced = doomed_in_force(state.bucket)
    if not scope.holds(Rule.TRIM_WHAT_IS_DONE):
        return announced
    busy = {call.pack for _, call in state.calls if isinstance(call, PutPack | DeletePack)}
    busy |= {pack for _, call in state.calls if isinstance(call, PutLog) for pack, _, _ in call.doomed}
    busy |= {
        pack
        for one in state.leaders
        if one != leader and one.stage not in ("dead", "stopped")
        for pack, _, _ in one.cleared
    }
    return frozenset(
        (pack, content, gen)
        for pack, content, gen in announced
        if pack not in busy and not _lies_there(state, pack, content, gen)
    )


def _lies_there(state: State, pack: int, content: str, gen: int) -> bool:
    return any(
        number == pack and one <= gen and (content == "" or content in held) for number, one, held in state.bucket.packs
    )


def with_stock(scope: Scope, state: State, db: Database) -> Database:
    """At a leader's start: what no object of a stored pack holds any more was condemned."""
    if not state.bucket.trimmed or not scope.holds(Rule.STOCK_BELOW_TRIMMED):
        return db
    for number, row in enumerate(db.packs):
        if row.state == "stored":
            held = frozenset[str]().union(*(contents for pack, _, contents in state.bucket.packs if pack == number))
            db = with_pack(db, number, row._replace(condemned=row.condemned | (row.slots - held)))
    return db
