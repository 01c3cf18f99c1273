"""What a leader does for packs: mark, condemn, announce, delete, compact, sweep; and a replica's revival of a condemned slot."""

from collections.abc import Iterator

from model.agents import Step, leading
from model.publishing import none_higher, stopped, unknown
from model.rules import Rule, Scope
from model.state import (
    Database,
    DeletePack,
    Doomed,
    Job,
    Leader,
    PackRow,
    PutLog,
    PutPack,
    Slots,
    State,
    condemned,
    send,
    with_db,
    with_leader,
    with_pack,
)

MOST_GENERATIONS = 3
"""A dropped rule must not make a scope endless."""


def collecting_steps(scope: Scope, state: State) -> Iterator[Step]:
    for index, leader, _ in leading(state):
        if leader.job is not None or not unknown(state, leader):
            yield from _condemn(scope, state, index)
        yield from _announce(scope, state, index)
        if leader.job is None or leader.job.phase == "marked":
            yield from _delete(scope, state, index)
        if scope.compacts:
            yield from _compact(scope, state, index)
        yield from _sweep(scope, state, index)


def live(scope: Scope, db: Database) -> Slots:
    """What points need, and what open attempts stored so far: the latter for progress alone."""
    states = {"intent", "available", "deleting"} if scope.holds(Rule.DURABLE_INTENT) else {"available", "deleting"}
    named = [row.refs for row in db.points if row.state in states]
    spare = scope.holds(Rule.SPARE_OPEN_ATTEMPTS)
    own = [
        (number, content)
        for number, row in enumerate(db.packs)
        for content in row.slots
        if row.state == "stored" and row.owner >= 0 and db.points[row.owner].state == "open" and spare
    ]
    return frozenset(own).union(*named)


def _stored(db: Database) -> Slots:
    return frozenset(
        (number, content) for number, row in enumerate(db.packs) if row.state == "stored" for content in row.slots
    )


def _condemn(scope: Scope, state: State, index: int) -> Iterator[Step]:
    leader = state.leaders[index]
    db, job = state.dbs[leader.db], leader.job
    if job is None:
        dead = _stored(db) - condemned(db) - live(scope, db)
        if dead:
            marked = with_leader(state, index, leader._replace(job=Job("marked", dead)))
            yield Step(f"leader {leader.epoch} marks, finds {sorted(dead)} dead", True, marked)
        return
    if job.phase == "marked":
        slots = job.slots - live(scope, db) if scope.holds(Rule.SLICE_ADDS_ARRIVALS) else job.slots
        if not scope.holds(Rule.ONE_ROW_ORDERS):
            read = with_leader(state, index, leader._replace(job=Job("read", slots)))
            yield Step(f"leader {leader.epoch} reads what arrived, to condemn {sorted(slots)}", True, read)
            return
        yield Step(f"leader {leader.epoch} condemns {sorted(slots)}", True, _condemned(state, index, slots))
    elif job.phase == "read":
        yield Step(f"leader {leader.epoch} condemns {sorted(job.slots)}", True, _condemned(state, index, job.slots))


def _condemned(state: State, index: int, slots: Slots) -> State:
    leader = state.leaders[index]
    db, alarm = state.dbs[leader.db], ""
    for number, content in sorted(slots):
        row = db.packs[number]
        if row.owner >= 0 and db.points[row.owner].state == "open":
            alarm = "what an open attempt stored itself was condemned"
        db = with_pack(db, number, row._replace(condemned=row.condemned | {content}))
    after = with_leader(with_db(state, leader.db, db), index, leader._replace(job=None))
    return after._replace(alarm=alarm)


def doomed(db: Database) -> Doomed:
    """What must be announced before a DELETE: condemned slots, and void packs whole; with the generations that this means."""
    return frozenset(
        (number, content, row.gen)
        for number, row in enumerate(db.packs)
        for content in (row.slots | {""} if row.state == "void" else row.condemned)
    )


def _announce(scope: Scope, state: State, index: int) -> Iterator[Step]:
    leader = state.leaders[index]
    going = doomed(state.dbs[leader.db])
    if going <= leader.cleared:
        return
    if not scope.holds(Rule.CHECK_BEFORE_DELETE):
        yield Step(f"leader {leader.epoch} goes on", True, with_leader(state, index, leader._replace(cleared=going)))
    elif (leader.epoch, going) not in state.bucket.logs:
        sent = send(state, PutLog(leader.epoch, going))
        if sent != state:
            yield Step(f"leader {leader.epoch} sends a log of {sorted(going)}", True, sent)
    elif none_higher(state, leader):
        cleared = with_leader(state, index, leader._replace(cleared=going))
        yield Step(f"leader {leader.epoch} lists c/epoch after its log", True, cleared)
    else:
        yield Step(f"leader {leader.epoch} sees a higher epoch and stops", True, stopped(state, index))


def _delete(scope: Scope, state: State, index: int) -> Iterator[Step]:
    """Objects of packs without a live slot: exact keys, of the generations that were announced."""
    leader = state.leaders[index]
    db = state.dbs[leader.db]
    for number, row in enumerate(db.packs):
        highest = _may_go(scope, leader, number, row)
        if highest < 0:
            continue
        objects = [(pack, gen) for pack, gen, _ in state.bucket.packs if pack == number]
        for _, gen in sorted(objects):
            sent = send(state, DeletePack(number, gen))
            if gen <= highest and sent != state:
                yield Step(f"leader {leader.epoch} deletes pack {number}.{gen}", True, sent)
        if not objects and row.state == "stored":
            gone = with_db(state, leader.db, with_pack(db, number, row._replace(state="deleted")))
            yield Step(f"pack {number} is marked deleted", True, gone)


def _may_go(scope: Scope, leader: Leader, number: int, row: PackRow) -> int:
    """The highest generation that may be deleted; -1: none."""
    slots = frozenset((number, content) for content in row.slots)
    if not scope.holds(Rule.CONDEMN_FIRST) and leader.job is not None and slots and slots <= leader.job.slots:
        return row.gen
    wanted = {""} if row.state == "void" else row.slots
    if row.state not in ("void", "stored", "deleted") or (row.state != "void" and row.slots != row.condemned):
        return -1
    announced = {content: gen for pack, content, gen in sorted(leader.cleared) if pack == number}
    if row.state != "stored" and wanted <= announced.keys():
        return MOST_GENERATIONS  # it never comes back, so whatever arrives late goes
    return min((announced.get(content, -1) for content in wanted), default=-1)


def _compact(scope: Scope, state: State, index: int) -> Iterator[Step]:
    leader = state.leaders[index]
    db, job = state.dbs[leader.db], leader.job
    announced = {(pack, content) for pack, content, _ in leader.cleared}
    for number, row in enumerate(db.packs):
        held = {gen: contents for pack, gen, contents in state.bucket.packs if pack == number}
        if row.state != "stored" or not held:
            continue
        sparse = row.condemned and row.condemned < row.slots and held[max(held)] & row.condemned
        if job is None and sparse and {(number, content) for content in row.condemned} <= announced:
            yield from _reserve(scope, state, index, number, max(held))
        if job is None:
            yield from _generations(scope, state, leader, number, row, held)
        if job is not None and job.phase == "marked" and not scope.holds(Rule.DROP_CONDEMNED_ONLY):
            yield from _rewrite(scope, state, index, number, row, held)
    if job is not None and job.phase in ("compact", "revive"):
        yield from _switch(scope, state, index, job)


def _reserve(scope: Scope, state: State, index: int, number: int, newest: int) -> Iterator[Step]:
    """A number above all that database and bucket know."""
    leader = state.leaders[index]
    db = state.dbs[leader.db]
    row = db.packs[number]
    gen = max(row.next, newest + 1)
    if gen > MOST_GENERATIONS:
        return
    job = Job("compact", frozenset((number, content) for content in row.condemned), number, gen)
    reserved = with_db(state, leader.db, with_pack(db, number, row._replace(next=gen + 1)))
    reserved = with_leader(reserved, index, leader._replace(job=job))
    held = next(contents for pack, one, contents in state.bucket.packs if (pack, one) == (number, newest))
    kept = held - row.condemned
    yield Step(
        f"leader {leader.epoch} compacts pack {number} to generation {gen}",
        True,
        send(reserved, PutPack(number, gen, kept)),
    )
    budget = state.budget
    if budget.damages and not scope.holds(Rule.PROVE_COPIES):
        worse = send(reserved, PutPack(number, gen, frozenset()))
        worse = worse._replace(budget=budget._replace(damages=budget.damages - 1))
        yield Step(
            f"leader {leader.epoch} compacts pack {number} to generation {gen}, of a bad read without proof",
            True,
            worse,
        )


def _rewrite(
    scope: Scope, state: State, index: int, number: int, row: PackRow, held: dict[int, frozenset[str]]
) -> Iterator[Step]:
    """Rule 9 dropped: what the mark did not see goes."""
    leader = state.leaders[index]
    dead = {content for pack, content in (leader.job.slots if leader.job else ()) if pack == number}
    if dead and dead < row.slots and row.next == 1:
        db, gen = state.dbs[leader.db], row.next
        slots = frozenset((number, content) for content in row.condemned)
        reserved = with_db(state, leader.db, with_pack(db, number, row._replace(next=gen + 1)))
        reserved = with_leader(reserved, index, leader._replace(job=Job("compact", slots, number, gen)))
        yield Step(
            f"leader {leader.epoch} compacts pack {number} by its mark to generation {gen}",
            True,
            send(reserved, PutPack(number, gen, held[max(held)] - dead)),
        )


def _switch(scope: Scope, state: State, index: int, job: Job) -> Iterator[Step]:
    """The new generation was read back whole; nothing was condemned or revived meanwhile: it is the current one."""
    leader = state.leaders[index]
    db = state.dbs[leader.db]
    row = db.packs[job.pack]
    done = leader._replace(job=None)
    same = row.state == "stored" and {content for _, content in job.slots} == row.condemned
    there = any((pack, gen) == (job.pack, job.gen) for pack, gen, _ in state.bucket.packs)
    if not there and scope.holds(Rule.READ_BACK):
        return
    current = row._replace(gen=job.gen) if same else row
    if same and job.phase == "revive":
        current = current._replace(condemned=frozenset())
        done = done._replace(cleared=frozenset(one for one in done.cleared if one[0] != job.pack))
    after = with_leader(with_db(state, leader.db, with_pack(db, job.pack, current)), index, done)
    yield Step(f"pack {job.pack} is at generation {current.gen}", True, after)


def _generations(
    scope: Scope, state: State, leader: Leader, number: int, row: PackRow, held: dict[int, frozenset[str]]
) -> Iterator[Step]:
    """The newest whole generation is the current one; those below it go. One above it may be all that a stopped leader left."""
    newest = max(held)
    if newest > row.gen and row.slots - row.condemned <= held[newest]:
        current = row._replace(gen=newest, next=max(row.next, newest + 1))
        adopted = with_db(state, leader.db, with_pack(state.dbs[leader.db], number, current))
        yield Step(f"pack {number} is found at generation {newest}", True, adopted)
    for gen in sorted(held):
        if gen < row.gen and (row.gen in held or not scope.holds(Rule.READ_BACK)):
            sent = send(state, DeletePack(number, gen))
            if sent != state:
                yield Step(f"leader {leader.epoch} deletes pack {number}.{gen}, an old generation", True, sent)


def _sweep(scope: Scope, state: State, index: int) -> Iterator[Step]:
    """Ids that were reserved and never reported, or that no row knows."""
    leader = state.leaders[index]
    db = state.dbs[leader.db]
    for number, row in enumerate(db.packs):
        there = any(pack == number for pack, _, _ in state.bucket.packs)
        unreported = row.state == "open" and db.points[row.owner].state != "open"
        unknown = row.state == "none" and there
        if not unreported and not unknown:
            continue
        if not scope.holds(Rule.VOID_BEFORE_SWEEP):
            sent = send(state, DeletePack(number, 0))
            if there and sent != state:
                yield Step(f"leader {leader.epoch} deletes pack {number}.0, unreported", True, sent)
            continue
        void = PackRow("void", row.owner, state.tables[number], frozenset(), frozenset(), 0, row.next)
        yield Step(f"pack {number} is void", True, with_db(state, leader.db, with_pack(db, number, void)))


def revive_steps(scope: Scope, state: State) -> Iterator[Step]:
    """A replica's agent brings points whose slots are given. A condemned one comes back as a new generation, read back, or is refused."""
    for index, _, db in leading(state):
        for point in sorted(scope.replicas):
            if db.points[point].state != "open" or state.agents[point].doing != "writing":
                continue
            for number, row in enumerate(db.packs):
                wanted = scope.wants[point] & row.condemned
                if wanted and row.state == "stored":
                    yield from _revive(scope, state, index, number, row)


def _revive(scope: Scope, state: State, index: int, number: int, row: PackRow) -> Iterator[Step]:
    """The copy comes from another replica. Ends as a compaction does, in the fenced transaction."""
    leader = state.leaders[index]
    db = state.dbs[leader.db]
    held = {gen: contents for pack, gen, contents in state.bucket.packs if pack == number}
    if not scope.holds(Rule.REVIVE_ANEW):
        if row.slots <= held.get(row.gen, frozenset()):
            revived = with_db(state, leader.db, with_pack(db, number, row._replace(condemned=frozenset())))
            yield Step(f"pack {number} is revived where it lies", False, revived)
        return
    if leader.job is None:
        above = max(held, default=-1) + 1  # what the bucket alone knows
        gen = max(row.next, above) if scope.holds(Rule.NUMBERS_ONCE) else above
        if gen > MOST_GENERATIONS:
            return
        job = Job("revive", frozenset((number, content) for content in row.condemned), number, gen)
        reserved = with_db(state, leader.db, with_pack(db, number, row._replace(next=gen + 1)))
        reserved = with_leader(reserved, index, leader._replace(job=job))
        sent = send(reserved, PutPack(number, gen, row.slots))
        yield Step(f"pack {number} is copied anew as generation {gen}", False, sent)
