"""The contract of the collection's ledger: in memory, and over the controller's database. Another joins by a line in WORLDS."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import pytest

from seawall.controller.database.sqlite import SqliteDatabase
from seawall.controller.maintenance.job_ledger import LedgerScope
from seawall.controller.maintenance.ledger import StoreLedger
from seawall.controller.records.catalogue import Pack, PackState, PointState
from seawall.controller.records.leadership import Leader
from seawall.controller.records.maintenance import Job, JobKind, JobState
from seawall.controller.records.runs import AttemptState, RunState
from seawall.controller.store.transaction import Transaction
from seawall.repository.collecting.port import (
    Arrivals,
    Condemned,
    Ledger,
    LedgerRefused,
    PackFacts,
    PackStanding,
    PointRoot,
    RootState,
    Slice,
)
from seawall.repository.format.slot_set import SlotSet
from support.collection_ledger_memory import MemoryLedger
from support.controller_clock import ManualClock
from support.controller_records import NOW, SECOND, a_point, a_repository, a_run, an_execution
from support.enrolled_hosts import add_hosts
from support.sqlite_template import new_sqlite

GRACE_US = 10 * SECOND
A, B, C = (bytes([number]) * 16 for number in (1, 2, 3))
SOME, ALL = SlotSet.of((0, 2)), SlotSet.of(range(4))
LIVE, SPENT = "00000000-0000-7000-8000-0000000000b1", "00000000-0000-7000-8000-0000000000b2"
"""Attempts: of a run that goes on, and of one that succeeded."""


class World(Protocol):
    """A ledger and the hands that make its facts."""

    @property
    def ledger(self) -> Ledger: ...

    def add_pack(self, pack_id: bytes, standing: PackStanding, *, in_use: bool = False, meta: bool = False) -> None:
        """4 slots, 1000 bytes."""

    def add_point(self, number: int, state: RootState) -> str:
        """Validated now; its id."""

    def delete_point(self, point_id: str) -> None: ...

    def pass_seconds(self, seconds: int) -> None: ...

    def lose_lead(self) -> None: ...

    def cancel(self) -> None: ...


class MemoryWorld:
    def __init__(self) -> None:
        self.memory = MemoryLedger(grace_us=GRACE_US, now_us=NOW, live_attempts={LIVE})

    @property
    def ledger(self) -> Ledger:
        return self.memory

    def add_pack(self, pack_id: bytes, standing: PackStanding, *, in_use: bool = False, meta: bool = False) -> None:
        self.memory.stored[pack_id] = PackFacts(pack_id, "default", standing, meta, 1000, 4, 0, in_use=in_use)

    def add_point(self, number: int, state: RootState) -> str:
        self.memory.seq += 1
        run = a_run(number)
        hash_ = b"r" * 32 if state is RootState.PUBLISHING else b""
        self.memory.points[run.id] = PointRoot("default", "vm-1", run.id, state, self.memory.seq, SPENT, hash_)
        return run.id

    def delete_point(self, point_id: str) -> None:
        del self.memory.points[point_id]

    def pass_seconds(self, seconds: int) -> None:
        self.memory.now_us += seconds * SECOND

    def lose_lead(self) -> None:
        self.memory.leads = False

    def cancel(self) -> None:
        self.memory.canceled = True


@dataclass
class NoIndex:
    """Notes what the index would learn."""

    withdrawn: dict[bytes, SlotSet]

    def withdraw(self, pack_id: bytes, slots: SlotSet) -> None:
        self.withdrawn[pack_id] = slots

    def forget_pack(self, pack_id: bytes) -> None:
        self.withdrawn.pop(pack_id, None)

    def replace_generation(self, pack: Pack) -> None:
        assert pack.generation > 0


class DatabaseWorld:
    def __init__(self, database: SqliteDatabase) -> None:
        self.database = database
        self.clock = ManualClock()
        leader = database.write_now(lambda transaction: transaction.leadership.acquire("here", NOW, SECOND))
        assert leader is not None
        self.leader: Leader = leader
        self.index = NoIndex({})
        scope = LedgerScope("repository", "job", GRACE_US)
        self.ledger = StoreLedger(database, scope, lambda: self.leader, self.clock, self.index)
        database.write_now(self._begin)

    def _begin(self, transaction: Transaction) -> None:
        transaction.repositories.add_repository(a_repository())
        job = Job("job", "repository", JobKind.COLLECT, JobState.ACTIVE, "{}", NOW)
        transaction.jobs.add_job(job)
        for attempt_id, number, run_state, state in (
            (LIVE, 101, RunState.ACTIVE, AttemptState.TRANSFERRING),
            (SPENT, 102, RunState.SUCCEEDED, AttemptState.SUCCEEDED),
        ):
            transaction.runs.add_run(a_run(number, vm_id=f"vm-{number}", state=run_state))
            attempt = an_execution(state).attempt
            spent = replace(attempt, id=attempt_id, run_id=a_run(number).id, refmap_hash=b"r" * 32)
            transaction.runs.add_attempt(spent)

    def add_pack(self, pack_id: bytes, standing: PackStanding, *, in_use: bool = False, meta: bool = False) -> None:
        attempt_id = LIVE if in_use else SPENT
        state = PackState(standing.value)
        pack = Pack(pack_id, "repository", "default", "alpha", attempt_id, state, meta, 1000, 4)
        self.database.write_now(lambda transaction: transaction.packs.add_pack(pack))

    def add_point(self, number: int, state: RootState) -> str:
        run = a_run(number)

        def closure(transaction: Transaction) -> None:
            seq = transaction.leadership.order_publication(self.leader, "repository")
            transaction.points.add_point(a_point(run, SPENT, state=PointState(state.value), seq=seq))

        self.database.write_now(closure)
        return run.id

    def delete_point(self, point_id: str) -> None:
        def closure(transaction: Transaction) -> None:
            transaction.points.begin_delete(point_id, b"t", NOW)
            transaction.points.end_delete(point_id, NOW)

        self.database.write_now(closure)

    def pass_seconds(self, seconds: int) -> None:
        self.clock.advance(seconds)

    def lose_lead(self) -> None:
        self.leader = replace(self.leader, epoch=self.leader.epoch - 1)

    def cancel(self) -> None:
        def closure(transaction: Transaction) -> None:
            job = transaction.jobs.job("job")
            assert job is not None
            transaction.jobs.save_job(job, replace(job, cancel_us=1))

        self.database.write_now(closure)


@contextmanager
def memory(_: Path) -> Iterator[World]:
    yield MemoryWorld()


@contextmanager
def sqlite(directory: Path) -> Iterator[World]:
    with closing(SqliteDatabase(new_sqlite(directory / "controller.sqlite"))) as database:
        add_hosts(database, "alpha")
        yield DatabaseWorld(database)


WORLDS: list[Callable[[Path], AbstractContextManager[World]]] = [memory, sqlite]


@pytest.fixture(params=WORLDS, ids=lambda world: world.__name__)
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    with request.param(tmp_path) as made:
        yield made


def refused(call: Callable[[], object]) -> str:
    with pytest.raises(LedgerRefused) as caught:
        call()
    return caught.value.reason


def standings(world: World) -> dict[bytes, PackStanding]:
    return {pack.pack_id: pack.standing for pack in world.ledger.packs()}


def condemned(world: World, slots: dict[bytes, SlotSet]) -> dict[bytes, SlotSet]:
    answer = world.ledger.condemn(Slice(slots), world.ledger.begin().seq)
    assert isinstance(answer, Condemned)
    return answer.accepted


def test_roots_are_points_that_publish_are_available_or_are_being_deleted(world: World) -> None:
    ids = [world.add_point(number, state) for number, state in enumerate(RootState, start=1)]
    gone = world.add_point(9, RootState.AVAILABLE)
    world.delete_point(gone)
    roots = list(world.ledger.roots())
    assert [(root.point_id, root.state) for root in roots] == list(zip(ids, RootState, strict=True))
    assert [root.refmap_hash for root in roots] == [b"r" * 32, b"", b""]
    assert world.ledger.roots_named([*ids, gone, "none"]) == {root.point_id: root for root in roots}


def test_what_is_condemned_stays_so_and_a_repetition_changes_nothing(world: World) -> None:
    world.add_pack(A, PackStanding.STORED)
    assert condemned(world, {A: SOME}) == {A: SOME}
    assert condemned(world, {A: SOME}) == {}
    assert condemned(world, {A: SlotSet.of((0, 3))}) == {A: SlotSet.of((3,))}
    (pack,) = world.ledger.packs()
    assert (list(pack.condemned), pack.left, pack.waiting, pack.ripe) == ([0, 2, 3], 1, True, False)


def test_a_point_validated_after_the_mark_is_heard_first(world: World) -> None:
    world.add_pack(A, PackStanding.STORED)
    before = world.add_point(1, RootState.AVAILABLE)
    mark = world.ledger.begin()
    late = world.add_point(2, RootState.PUBLISHING)
    answer = world.ledger.condemn(Slice({A: ALL}), mark.seq)
    assert isinstance(answer, Arrivals)
    assert [point.point_id for point in answer.points] == [late] != [before]
    assert not next(world.ledger.packs()).condemned
    assert isinstance(world.ledger.condemn(Slice({A: SOME}), answer.seq), Condemned)


def test_packs_in_use_or_not_stored_are_left_out(world: World) -> None:
    world.add_pack(A, PackStanding.STORED, in_use=True)
    world.add_pack(B, PackStanding.OPEN)
    assert condemned(world, {A: ALL, B: ALL, C: ALL}) == {}


def test_void_is_for_what_nobody_reported(world: World) -> None:
    world.add_pack(A, PackStanding.OPEN)
    world.add_pack(B, PackStanding.OPEN, in_use=True)
    world.add_pack(C, PackStanding.STORED)
    unknown = bytes(16)
    for _ in range(2):
        assert world.ledger.void([A, B, C, unknown]) == {A, unknown}
    assert standings(world) == {A: PackStanding.VOID, B: PackStanding.OPEN, C: PackStanding.STORED}


def test_only_what_is_ripe_is_doomed(world: World) -> None:
    for pack_id in (A, B):
        world.add_pack(pack_id, PackStanding.STORED)
    first = world.ledger.begin().seq
    condemned(world, {A: ALL})
    assert world.ledger.doom([A, B]).packs == ()
    world.pass_seconds(10)
    condemned(world, {B: SOME})
    doomed = world.ledger.doom([A, B, C])
    assert [(pack.pack_id, pack.condemned) for pack in doomed.packs] == [(A, ALL)]
    assert doomed.seq > first


def test_numbers_for_announcements_grow_and_are_ordered_with_all_else(world: World) -> None:
    world.add_pack(A, PackStanding.STORED)
    first = world.ledger.number()
    assert world.ledger.begin().seq == first
    second = world.ledger.doom([A]).seq
    assert first < second < world.ledger.number()


def test_a_pack_is_gone_only_with_its_last_slot(world: World) -> None:
    for pack_id, slots in ((A, ALL), (B, SOME)):
        world.add_pack(pack_id, PackStanding.STORED)
        condemned(world, {pack_id: slots})
    for _ in range(2):
        world.ledger.deleted([A, B])
    assert standings(world) == {A: PackStanding.DELETED, B: PackStanding.STORED}
    assert world.ledger.void([A]) == frozenset()


@pytest.mark.parametrize(("meta", "numbers"), [(False, [1, 2, 8]), (True, [2, 4, 8])])
def test_generation_numbers_are_given_out_once(world: World, meta: bool, numbers: list[int]) -> None:
    world.add_pack(A, PackStanding.STORED, meta=meta)
    assert [world.ledger.reserve_generation(A, above) for above in (0, 1, 7)] == numbers


def test_a_compacted_pack_waits_no_more(world: World) -> None:
    world.add_pack(A, PackStanding.STORED)
    condemned(world, {A: SOME})
    world.pass_seconds(20)
    assert next(world.ledger.packs()).ripe
    for _ in range(2):
        world.ledger.compacted(A, 1, 500, b"h" * 16)
    (pack,) = world.ledger.packs()
    assert (pack.generations, pack.size_bytes, pack.condemned) == ((1,), 500, SOME)
    assert pack.generation_hash == b"h" * 16
    assert (pack.waiting, pack.ripe) == (False, False)


def test_spent_attempts_are_over_or_unknown(world: World) -> None:
    assert world.ledger.spent_attempts([LIVE, SPENT, "none"]) == {SPENT, "none"}


def test_who_lost_the_lead_changes_nothing(world: World) -> None:
    world.add_pack(A, PackStanding.STORED)
    world.add_pack(B, PackStanding.OPEN)
    world.lose_lead()
    for call in (
        lambda: world.ledger.condemn(Slice({A: ALL}), 99),
        lambda: world.ledger.void([B]),
        lambda: world.ledger.doom([A]),
        world.ledger.number,
        lambda: world.ledger.reserve_generation(A, 0),
        lambda: world.ledger.compacted(A, 1, 1, b""),
        lambda: world.ledger.deleted([A]),
        world.ledger.may_continue,
    ):
        assert refused(call) == "NOT_LEADER"
    assert standings(world) == {A: PackStanding.STORED, B: PackStanding.OPEN}
    assert not next(world.ledger.packs()).condemned


def test_a_cancelled_job_may_not_go_on(world: World) -> None:
    world.ledger.may_continue()
    world.cancel()
    assert refused(world.ledger.may_continue) == "CANCELED"
