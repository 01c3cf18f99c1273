"""What agents do: begin, look up, upload, hand in, restore. Each step talks to any leader that still answers."""

from collections.abc import Iterator
from typing import NamedTuple

from model.rules import Rule, Scope
from model.state import (
    Agent,
    Database,
    Leader,
    PackRow,
    PointRow,
    PutPack,
    Slots,
    State,
    readable,
    send,
    with_agent,
    with_db,
    with_pack,
    with_point,
)


class Step(NamedTuple):
    """`fair`: maintenance or the passing of time, that will happen in the end."""

    label: str
    fair: bool
    state: State


def leading(state: State) -> Iterator[tuple[int, Leader, Database]]:
    """Leaders that serve and whose database still knows them as such: the guard of every transaction."""
    for index, leader in enumerate(state.leaders):
        db = state.dbs[leader.db]
        if leader.stage == "serving" and leader.epoch == db.epoch:
            yield index, leader, db


def agent_steps(scope: Scope, state: State) -> Iterator[Step]:
    for index, leader, db in leading(state):
        for point, agent in enumerate(state.agents):
            row = db.points[point]
            if agent.doing == "idle" and row.state == "none":
                begun = with_db(state, leader.db, with_point(db, point, PointRow("open")))
                yield Step(f"backup {point} begins", False, with_agent(begun, point, Agent("writing")))
            if agent.doing == "writing" and row.state == "open":
                yield from _writing(scope, state, leader, point)
            if row.state == "available":
                yield from _available(scope, state, leader, point, index)


def _writing(scope: Scope, state: State, leader: Leader, point: int) -> Iterator[Step]:
    agent = state.agents[point]
    missing = scope.wants[point] - {content for _, content in agent.refs}
    if scope.hostile:
        yield from _hostile(scope, state, leader, point)
    if not missing:
        yield from _hand_in(scope, state, leader, point, agent.refs)
    elif agent.upload >= 0:
        yield from _report(scope, state, leader, point)
    else:
        yield from _looked_up(scope, state, point, missing - agent.refused)
        yield from _upload(scope, state, leader, point, missing)


def _looked_up(scope: Scope, state: State, point: int, missing: frozenset[str]) -> Iterator[Step]:
    """A stale index answers with anything that was ever stored: what it should not have said is caught at the commit."""
    if not scope.lookups:
        return
    agent = state.agents[point]
    for number, table in enumerate(state.tables):
        ever = any(db.packs[number].state in ("stored", "deleted") for db in state.dbs)
        if not ever or number in scope.foreign:
            continue
        for content in sorted(table & missing):
            found = agent._replace(refs=agent.refs | {(number, content)})
            yield Step(f"backup {point} finds {content} in pack {number}", False, with_agent(state, point, found))


def _upload(scope: Scope, state: State, leader: Leader, point: int, missing: frozenset[str]) -> Iterator[Step]:
    db, agent, number = state.dbs[leader.db], state.agents[point], len(state.tables)
    if number < scope.packs:
        sealed = with_db(state, leader.db, with_pack(db, number, PackRow("open", point, missing)))
        sealed = sealed._replace(tables=(*state.tables, missing))
        sealed = with_agent(sealed, point, agent._replace(upload=number))
        yield Step(f"backup {point} seals pack {number}", False, send(sealed, PutPack(number, 0, missing)))
    for old, row in enumerate(db.packs):
        free = row.state == "open" and db.points[row.owner].state != "open"
        if scope.resumes and free and row.slots == missing:
            taken = with_db(state, leader.db, with_pack(db, old, row._replace(owner=point)))
            yield Step(
                f"backup {point} takes over pack {old}", False, with_agent(taken, point, agent._replace(upload=old))
            )
        gone = row.state in ("void", "deleted") and row.slots == missing
        if not scope.holds(Rule.IDS_ONCE) and gone:
            again = with_db(state, leader.db, with_pack(db, old, PackRow("open", point, missing)))
            again = with_agent(again, point, agent._replace(upload=old))
            yield Step(f"backup {point} seals pack {old} again", False, send(again, PutPack(old, 0, missing)))


def _report(scope: Scope, state: State, leader: Leader, point: int) -> Iterator[Step]:
    """PackStored: the controller reads the object, then marks the row."""
    db, agent = state.dbs[leader.db], state.agents[point]
    row = db.packs[agent.upload]
    if not agent.head:
        if any(pack == agent.upload for pack, _, _ in state.bucket.packs):
            yield Step(
                f"pack {agent.upload} is seen in the bucket", False, with_agent(state, point, agent._replace(head=True))
            )
        return
    if row.state == "open":
        stored = with_db(state, leader.db, with_pack(db, agent.upload, row._replace(state="stored")))
        refs = agent.refs | {(agent.upload, content) for content in row.slots}
        done = agent._replace(refs=refs, upload=-1, head=False)
        yield Step(f"pack {agent.upload} is marked stored", False, with_agent(stored, point, done))
    else:
        refused = agent._replace(upload=-1, head=False, refused=agent.refused | row.slots)
        yield Step(f"pack {agent.upload} is refused, as {row.state}", False, with_agent(state, point, refused))


def _hostile(scope: Scope, state: State, leader: Leader, point: int) -> Iterator[Step]:
    """Names another tenant's slots as its own."""
    agent = state.agents[point]
    for number in sorted(scope.foreign):
        refs = frozenset((number, content) for content in scope.wants[point] & state.tables[number])
        if refs - agent.refs:
            yield Step(
                f"backup {point} names pack {number} of another tenant",
                False,
                with_agent(state, point, agent._replace(refs=refs)),
            )


def _hand_in(scope: Scope, state: State, leader: Leader, point: int, refs: Slots) -> Iterator[Step]:
    """Validation and intent: one transaction, unless rule 2 is dropped."""
    db, agent = state.dbs[leader.db], state.agents[point]
    refused = frozenset(slot for slot in refs if not _valid(scope, db, slot))
    if not scope.holds(Rule.ONE_ROW_ORDERS) and not agent.proven:
        if not refused:
            yield Step(f"backup {point} is validated", False, with_agent(state, point, agent._replace(proven=True)))
        return
    if refused and not agent.proven:
        told = agent._replace(refs=refs - refused, refused=agent.refused | {content for _, content in refused})
        yield Step(f"backup {point} is told to store anew {sorted(refused)}", False, with_agent(state, point, told))
        return
    for said in _said(scope, refs):
        row = PointRow("intent", said, leader.epoch, protected=not scope.holds(Rule.RECOMPUTE_REFMAP))
        after = with_db(state, leader.db, with_point(db, point, row))
        bad = any(content in db.packs[number].bad for number, content in refs)
        alarm = "a known bad slot was committed" if bad and scope.holds(Rule.COMMIT_CHECK) else ""
        after = with_agent(after, point, agent._replace(doing="waiting", proven=False))
        yield Step(f"backup {point} is validated: intent for {sorted(said)}", False, after._replace(alarm=alarm))


def _said(scope: Scope, refs: Slots) -> Iterator[Slots]:
    """What the refmap says: all, or from a hostile agent all but one."""
    yield refs
    if scope.hostile:
        yield from (refs - {slot} for slot in sorted(refs))


def _valid(scope: Scope, db: Database, slot: tuple[int, str]) -> bool:
    number, content = slot
    row = db.packs[number]
    if not scope.holds(Rule.COMMIT_CHECK):
        return True
    if number in scope.foreign and scope.holds(Rule.OWN_TENANT):
        return False
    held = row.state == "stored" and content in row.slots and content not in row.condemned
    return held and (content not in row.bad or not scope.holds(Rule.BAD_FAILS_VALIDATION))


def _available(scope: Scope, state: State, leader: Leader, point: int, index: int) -> Iterator[Step]:
    db, agent, budget = state.dbs[leader.db], state.agents[point], state.budget
    if agent.doing == "waiting":
        yield Step(f"backup {point} is acknowledged", False, with_agent(state, point, agent._replace(doing="acked")))
    if agent.reading:
        unpinned = with_db(state, leader.db, db._replace(pins=db.pins - {point}))
        yield Step(f"restore of {point} ends", True, with_agent(unpinned, point, agent._replace(reading=False)))
    elif budget.restores:
        pins = db.pins | {point} if scope.holds(Rule.PINS) else db.pins
        pinned = with_db(state, leader.db, db._replace(pins=pins))
        pinned = with_agent(pinned, point, agent._replace(reading=True))
        yield Step(
            f"restore of {point} begins", False, pinned._replace(budget=budget._replace(restores=budget.restores - 1))
        )


def lost_slots(state: State, refs: Slots) -> Slots:
    return refs - readable(state.bucket)
