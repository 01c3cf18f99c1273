"""What the model of the repository is made of: frozen tuples, so that a state can be a key. See repository/DESIGN.md, "Proof".

One bucket; one or two databases (a roll-back forks one: whoever still talks to the old one goes on there); leaders; one agent a point.
A pack is a number, a slot is a pack and the content in it ("x", "y"). Time is not modelled: what may come late may come at any time.
"""

from typing import Literal, NamedTuple

Slot = tuple[int, str]
Slots = frozenset[Slot]
Doomed = frozenset[tuple[int, str, int]]
"""Slots that are announced to go, up to a generation; content "": the pack's id is void."""

PackState = Literal["none", "open", "stored", "void", "deleted"]
PointState = Literal["none", "open", "intent", "available", "deleting", "deleted", "failed", "lost"]
Stage = Literal["acquired", "announced", "listed", "serving", "stopped", "dead"]
Doing = Literal["idle", "writing", "waiting", "acked", "gone"]


class PackRow(NamedTuple):
    """A pack as a database holds it. `gen`: the current generation; `next`: the first number that nobody used."""

    state: PackState = "none"
    owner: int = -1
    slots: frozenset[str] = frozenset()
    condemned: frozenset[str] = frozenset()
    bad: frozenset[str] = frozenset()
    gen: int = 0
    next: int = 1


class PointRow(NamedTuple):
    """A point, or the attempt that makes it. `refs`: what its refmap names; `epoch`: of the leader that wrote the intent; `decided`: of
    the one that decided its deletion, which its t/ bears.
    """

    state: PointState = "none"
    refs: Slots = frozenset()
    epoch: int = 0
    protected: bool = False
    decided: int = 0


class Database(NamedTuple):
    epoch: int
    points: tuple[PointRow, ...]
    packs: tuple[PackRow, ...]
    pins: frozenset[int] = frozenset()


class Manifest(NamedTuple):
    """An object m/. `needs`: what a restore reads; `refs`: what the refmap beside it says. An honest agent makes them equal."""

    point: int
    epoch: int
    refs: Slots
    needs: Slots


class Open(NamedTuple):
    """An object c/open: what of earlier epochs counts. `leaving`: of the points, those whose deletion was decided.

    `everything`: the rule is dropped, and whatever lies there counts.
    """

    epoch: int
    points: frozenset[int] = frozenset()
    leaving: frozenset[int] = frozenset()
    logs: frozenset[tuple[int, Doomed]] = frozenset()
    everything: bool = False


class Bucket(NamedTuple):
    packs: frozenset[tuple[int, int, frozenset[str]]]
    """Pack, generation, contents that can be read."""
    manifests: frozenset[Manifest] = frozenset()
    tombstones: frozenset[tuple[int, int]] = frozenset()
    logs: frozenset[tuple[int, Doomed]] = frozenset()
    epochs: frozenset[int] = frozenset()
    opens: frozenset[Open] = frozenset()
    trimmed: bool = False
    """Logs may be missing."""


class Job(NamedTuple):
    """What a leader's maintenance has in memory: a crash forgets it."""

    phase: Literal["marked", "read", "compact", "revive"]
    slots: Slots = frozenset()
    pack: int = -1
    gen: int = 0


class Leader(NamedTuple):
    db: int
    epoch: int
    stage: Stage
    job: Job | None = None
    cleared: Doomed = frozenset()
    """Condemned slots whose log is in the bucket, with no higher epoch seen after it."""
    tombstoned: frozenset[int] = frozenset()
    """The same of tombstones."""
    opening: Open | None = None
    """What its LIST and its database say, before it is put."""


class Agent(NamedTuple):
    doing: Doing = "idle"
    refs: Slots = frozenset()
    refused: frozenset[str] = frozenset()
    """Contents that it must store, whatever a lookup says."""
    upload: int = -1
    head: bool = False
    """The controller saw the upload's object."""
    proven: bool = False
    """Rule 2 dropped: the slots were found good in an earlier transaction."""
    reading: bool = False
    """A restore of this point is under way."""


class PutPack(NamedTuple):
    pack: int
    gen: int
    contents: frozenset[str]


class DeletePack(NamedTuple):
    pack: int
    gen: int


class DeleteManifest(NamedTuple):
    point: int


class PutTombstone(NamedTuple):
    """`over`: what lies there is void, and makes place."""

    point: int
    by_epoch: int
    over: bool = False


class PutLog(NamedTuple):
    log_epoch: int
    doomed: Doomed


Call = PutPack | DeletePack | Manifest | DeleteManifest | PutTombstone | PutLog
"""A request to the bucket under way: it arrives at any later time, whatever became of who sent it."""


class Budget(NamedTuple):
    """How often what goes wrong may go wrong."""

    crashes: int = 0
    forks: int = 0
    repeats: int = 0
    """Calls that arrive twice."""
    forgets: int = 0
    damages: int = 0
    restores: int = 0
    losses: int = 0
    """Losses of all collection logs, together with the database."""


class State(NamedTuple):
    dbs: tuple[Database, ...]
    copy: Database
    """What a roll-back brings back."""
    leaders: tuple[Leader, ...]
    agents: tuple[Agent, ...]
    bucket: Bucket
    calls: frozenset[tuple[str, Call]]
    """Keyed by kind, as tuples of equal content are equal whatever their type."""
    tables: tuple[frozenset[str], ...]
    """What each pack that was ever sealed held at first: anybody reads it from the pack itself."""
    forgotten: frozenset[int]
    """Points that an operator asked to delete, in any database."""
    budget: Budget
    alarm: str = ""
    """What a step itself saw go wrong."""
    deleted: frozenset[int] = frozenset()
    """Points of which somebody was told that they are deleted."""


def send(state: State, call: Call) -> State:
    return state._replace(calls=state.calls | {(type(call).__name__, call)})


def with_db(state: State, index: int, db: Database) -> State:
    return state._replace(dbs=(*state.dbs[:index], db, *state.dbs[index + 1 :]))


def with_leader(state: State, index: int, leader: Leader) -> State:
    return state._replace(leaders=(*state.leaders[:index], leader, *state.leaders[index + 1 :]))


def with_agent(state: State, index: int, agent: Agent) -> State:
    return state._replace(agents=(*state.agents[:index], agent, *state.agents[index + 1 :]))


def with_point(db: Database, index: int, point: PointRow) -> Database:
    return db._replace(points=(*db.points[:index], point, *db.points[index + 1 :]))


def with_pack(db: Database, index: int, pack: PackRow) -> Database:
    return db._replace(packs=(*db.packs[:index], pack, *db.packs[index + 1 :]))


def top_epoch(bucket: Bucket) -> int:
    """Of the last leader that opened the repository."""
    return max((one.epoch for one in bucket.opens), default=0)


def last_open(bucket: Bucket) -> Open:
    return max(bucket.opens, key=lambda one: one.epoch, default=Open(0))


def manifests_in_force(bucket: Bucket) -> dict[int, Manifest]:
    """By point: of the last leader, or of an earlier one and named by the last c/open (`Standing.manifest_counts`)."""
    last = last_open(bucket)
    return {
        one.point: one
        for one in bucket.manifests
        if last.everything or one.epoch >= last.epoch or one.point in last.points
    }


def tombstones_in_force(bucket: Bucket) -> frozenset[int]:
    """`Standing.tombstone_counts`."""
    last = last_open(bucket)
    epochs = {one.point: one.epoch for one in bucket.manifests}
    return frozenset(
        point
        for point, epoch in bucket.tombstones
        if last.everything
        or epoch >= last.epoch
        or (point in last.leaving if point in last.points else epochs.get(point, 0) < last.epoch)
    )


def logs_in_force(bucket: Bucket) -> frozenset[tuple[int, Doomed]]:
    """`Standing.log_counts`."""
    last = last_open(bucket)
    return frozenset(log for log in bucket.logs if last.everything or log[0] >= last.epoch or log in last.logs)


def committed(bucket: Bucket) -> dict[int, Manifest]:
    dead = tombstones_in_force(bucket)
    return {point: one for point, one in manifests_in_force(bucket).items() if point not in dead}


def doomed_in_force(bucket: Bucket) -> Doomed:
    """What the logs in the bucket say, voids left out."""
    return frozenset[tuple[int, str, int]]().union(*(doomed for _, doomed in logs_in_force(bucket)))


def readable(bucket: Bucket) -> Slots:
    return frozenset((pack, content) for pack, _, contents in bucket.packs for content in contents)


def condemned(db: Database) -> Slots:
    return frozenset((number, one) for number, row in enumerate(db.packs) for one in row.condemned)
