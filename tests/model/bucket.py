"""Requests arrive at the bucket, once or twice, at any time after they were sent; verification finds a slot bad."""

from collections.abc import Iterator

from model.agents import Step, leading
from model.rules import Scope
from model.state import (
    Bucket,
    Call,
    DeleteManifest,
    DeletePack,
    Manifest,
    PutLog,
    PutPack,
    PutTombstone,
    State,
    with_db,
    with_pack,
)


def bucket_steps(scope: Scope, state: State) -> Iterator[Step]:
    budget = state.budget
    for kind, call in sorted(state.calls, key=repr):
        bucket = arrived(state.bucket, call)
        done = state._replace(bucket=bucket, calls=state.calls - {(kind, call)})
        yield Step(f"{call} arrives", True, done)
        if budget.repeats and bucket != state.bucket:
            again = state._replace(bucket=bucket, budget=budget._replace(repeats=budget.repeats - 1))
            yield Step(f"{call} arrives, and will again", False, again)
    if budget.damages:
        yield from _found_bad(state)


def punctual(scope: Scope, state: State) -> State:
    """Calls that are never late in this scope have arrived."""
    for kind, call in state.calls:
        if kind not in scope.late:
            state = state._replace(bucket=arrived(state.bucket, call), calls=state.calls - {(kind, call)})
    return state


def arrived(bucket: Bucket, call: Call) -> Bucket:
    """PUTs are create-only: an object that is there stays."""
    if isinstance(call, PutPack):
        taken = any((pack, gen) == (call.pack, call.gen) for pack, gen, _ in bucket.packs)
        return bucket if taken else bucket._replace(packs=bucket.packs | {(call.pack, call.gen, call.contents)})
    if isinstance(call, DeletePack):
        gone = frozenset(one for one in bucket.packs if (one[0], one[1]) != (call.pack, call.gen))
        return bucket._replace(packs=gone)
    if isinstance(call, Manifest):
        taken = any(one.point == call.point for one in bucket.manifests)
        return bucket if taken else bucket._replace(manifests=bucket.manifests | {call})
    if isinstance(call, DeleteManifest):
        left = frozenset(one for one in bucket.manifests if one.point != call.point)
        return bucket._replace(manifests=left)
    if isinstance(call, PutTombstone):
        others = frozenset(one for one in bucket.tombstones if one[0] != call.point)
        taken = others != bucket.tombstones and not call.over
        return bucket if taken else bucket._replace(tombstones=others | {(call.point, call.by_epoch)})
    assert isinstance(call, PutLog)
    return bucket._replace(logs=bucket.logs | {(call.log_epoch, call.doomed)})


def _found_bad(state: State) -> Iterator[Step]:
    for _, leader, db in leading(state):
        for number, row in enumerate(db.packs):
            for content in sorted(row.slots - row.bad) if row.state == "stored" else ():
                found = with_db(state, leader.db, with_pack(db, number, row._replace(bad=row.bad | {content})))
                found = found._replace(budget=state.budget._replace(damages=state.budget.damages - 1))
                yield Step(f"verification finds {content} in pack {number} bad", False, found)
