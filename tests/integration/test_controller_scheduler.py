"""The scheduler's ticks over a real database, on a clock that is moved by hand."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from seawall.controller.admission.gates import NOT_OVER, OVERLAPS
from seawall.controller.database.enrolment import DatabaseEnrolment
from seawall.controller.database.sqlite import SqliteDatabase
from seawall.controller.enrolment.port import AgentRecord, JoinTokenRecord
from seawall.controller.errors import FailedPrecondition, Unavailable
from seawall.controller.moving.noting import MoveNotes
from seawall.controller.records.runs import Attempt, AttemptState, Progress, Run, RunState
from seawall.controller.runs.events import Accepted, Moment
from seawall.controller.runs.steady import SteadyClock
from seawall.controller.scheduler.executions import Executions
from seawall.controller.scheduler.leading import LeaderLease
from seawall.controller.scheduler.placement import Placement
from seawall.controller.scheduler.tick import Tick
from seawall.controller.scheduler.wakes import SCHEDULER, Wakes
from seawall.controller.services.heartbeats import Beat
from seawall.controller.services.inventory import Inventories
from seawall.controller.services.moved import terms_of
from seawall.controller.services.sessions import Greeting, Sessions
from seawall.controller.store.transaction import Transaction
from seawall.controller.timings import Timings
from seawall.repository.clock import datetime_of
from support.controller_clock import ManualClock
from support.controller_records import a_disk_progress, a_repository, a_run, a_vm
from support.policies import a_policy
from support.sqlite_template import new_sqlite

TIMING = Timings(failover_grace_seconds=30.0)


@dataclass
class World:
    """One controller's scheduler, host alpha with VM vm-1, and a run."""

    database: SqliteDatabase
    clock: ManualClock
    steady: SteadyClock
    executions: Executions
    lease: LeaderLease
    sessions: Sessions
    tick: Tick

    def run(self) -> Run:
        found = self.database.read_now(lambda transaction: transaction.runs.runs())
        return found[0]

    def attempts(self) -> list[Attempt]:
        run_id = self.run().id
        return list(self.database.read_now(lambda transaction: transaction.runs.attempts_of([run_id])))

    def generation(self, host_id: str) -> int:
        host = self.database.read_now(lambda transaction: transaction.fleet.host(host_id))
        assert host is not None
        return host.generation

    async def hello(self, host_id: str = "alpha", attempts: dict[str, bool] | None = None) -> str:
        greeting = Greeting("1", "boot", host_id, "QEMU", attempts or {})
        return (await self.sessions.hello(host_id, greeting)).session_id

    async def accepted(self) -> tuple[str, str]:
        """(attempt id, session id) of an attempt in PREPARING on alpha."""
        session_id = await self.hello()
        await self.tick.run_once()
        attempt = self.attempts()[-1]

        moment = Moment(self.steady.now_us(), TIMING)
        await self.executions.change(lambda change: change.take(change.load(attempt.id), Accepted(session_id), moment))
        return attempt.id, session_id

    async def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)
        await self.tick.run_once()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    clock = ManualClock()
    with closing(SqliteDatabase(new_sqlite(tmp_path / "controller.sqlite"))) as database:
        enrolment = DatabaseEnrolment(database)
        enrolment.add_join_token(JoinTokenRecord("t", bytes(32), 0, 1, 9))
        for number, name in enumerate(("alpha", "beta")):
            enrolment.enrol(AgentRecord(name, "t", bytes([number]) * 32, name, b"pem", 0, 0))
        steady = SteadyClock(clock)
        executions = Executions(database, Wakes())
        lease = LeaderLease(database, steady, TIMING)
        await lease.acquire()
        now_us = steady.now_us()
        rng = random.Random(1)
        run = replace(a_run(), created_us=now_us, not_before_us=now_us, deadline_us=now_us + 24 * 3600 * 10**6)
        await database.write(lambda transaction: transaction.repositories.add_repository(a_repository()))
        await database.write(lambda transaction: transaction.fleet.replace_inventory("alpha", 1, [a_vm()]))
        await database.write(lambda transaction: transaction.runs.add_run(run))
        yield World(
            database,
            clock,
            steady,
            executions,
            lease,
            Sessions(executions, steady, TIMING, rng),
            Tick(executions, lease, steady, TIMING, rng),
        )


async def test_a_run_waits_for_its_host_and_then_starts(world: World) -> None:
    await world.tick.run_once()
    assert (world.run().state, world.run().blocked_on) == (RunState.READY, "host alpha has not connected yet")
    before = world.generation("alpha")
    await world.hello()
    await world.tick.run_once()
    await world.tick.run_once()
    assert [attempt.state for attempt in world.attempts()] == [AttemptState.ASSIGNED]
    assert (world.run().state, world.run().blocked_on) == (RunState.ACTIVE, "")
    assert world.generation("alpha") == before + 1
    assert world.generation("beta") == 1


async def test_what_nobody_accepts_is_assigned_again(world: World) -> None:
    await world.hello()
    await world.tick.run_once()
    await world.pass_time(59)
    assert [attempt.state for attempt in world.attempts()] == [AttemptState.ASSIGNED]
    await world.pass_time(2)
    await world.pass_time(6)
    assert [attempt.state for attempt in world.attempts()] == [AttemptState.EXPIRED, AttemptState.ASSIGNED]
    assert world.run().tries == 0


async def test_a_lost_attempt_comes_back(world: World) -> None:
    attempt_id, session_id = await world.accepted()
    await world.pass_time(91)
    assert world.attempts()[0].state is AttemptState.LOST
    assert world.run().state is RunState.ACTIVE, "nothing starts elsewhere"
    beat = await world.sessions.heartbeat("alpha", session_id, {attempt_id: a_progress(1)})
    assert (beat.unknown, world.attempts()[0].state) == ((), AttemptState.TRANSFERRING)
    await world.pass_time(10)
    assert world.attempts()[0].state is AttemptState.TRANSFERRING


async def test_a_lost_attempt_is_fenced_in_the_end(world: World) -> None:
    attempt_id, session_id = await world.accepted()
    await world.pass_time(91)
    await world.pass_time(901)
    assert (world.attempts()[0].state, world.run().state) == (AttemptState.ABANDONED, RunState.READY)
    beat = await world.sessions.heartbeat("alpha", session_id, {attempt_id: a_progress(1)})
    assert beat.unknown == (attempt_id,)
    await world.pass_time(80)
    assert [attempt.state for attempt in world.attempts()] == [AttemptState.ABANDONED, AttemptState.ASSIGNED]


async def test_a_vm_that_shows_up_elsewhere_is_backed_up_there(world: World) -> None:
    await world.accepted()
    await world.pass_time(91)
    await world.hello("beta")
    session = world.database.read_now(lambda transaction: transaction.fleet.session("beta"))
    assert session is not None
    vms = [a_vm(host_id="beta")]
    # alpha still stands as the one that runs it until it is known to be gone from there.
    world.database.write_now(lambda transaction: transaction.fleet.replace_inventory("alpha", 2, []))
    notes = MoveNotes(world.steady, terms_of(TIMING))
    await Inventories(world.executions, notes).report("beta", session.session_id, 1, 0, True, vms, {})
    await world.tick.run_once()
    assert (world.attempts()[0].state, world.run().requeues) == (AttemptState.ABANDONED, 1)
    await world.sessions.heartbeat("beta", session.session_id, {})
    for _ in range(4):
        world.clock.advance(80)
        await world.sessions.heartbeat("beta", session.session_id, {})
    await world.tick.run_once()
    assert world.attempts()[-1].host_id == "beta"


async def test_nothing_expires_just_after_a_start(world: World) -> None:
    attempt_id, _ = await world.accepted()
    world.clock.advance(1000)
    again = SteadyClock(world.clock)
    tick = Tick(world.executions, world.lease, again, TIMING, random.Random(1))
    await tick.run_once()
    assert world.attempts()[0].state is AttemptState.PREPARING
    world.clock.advance(31)
    await tick.run_once()
    assert world.attempts()[0].state is not AttemptState.PREPARING
    assert world.attempts()[0].id == attempt_id


async def test_a_leader_with_the_right_clock_does_not_wait_as_long_as_one_ahead_said(world: World) -> None:
    """Half a day: neither the pause after a failure nor what was ordered meanwhile."""
    await world.hello()
    await world.tick.run_once()
    now_us, half_a_day_us = world.steady.now_us(), 12 * 3600 * 10**6
    tried = world.run()
    retried = replace(tried, state=RunState.READY, current_attempt="", not_before_us=now_us + half_a_day_us)
    ordered_us = now_us + half_a_day_us
    ordered = replace(a_run(2, vm_id="vm-2"), not_before_us=ordered_us, deadline_us=ordered_us + 24 * 3600 * 10**6)

    def closure(transaction: Transaction) -> None:
        transaction.runs.save_run(tried, retried)
        transaction.runs.add_run(ordered)

    world.database.write_now(closure)
    await world.tick.run_once()
    found = {run.id: run for run in world.database.read_now(lambda transaction: transaction.runs.runs())}
    assert found[retried.id].not_before_us == retried.not_before_us, "no other clock has spoken since this one leads"
    again = Tick(world.executions, world.lease, SteadyClock(world.clock), TIMING, random.Random(1))
    await again.run_once()
    found = {run.id: run for run in world.database.read_now(lambda transaction: transaction.runs.runs())}
    assert found[retried.id].not_before_us == now_us + 300 * 10**6
    assert found[ordered.id].not_before_us == now_us


async def test_nothing_expires_just_after_a_long_stop(world: World) -> None:
    """SIGSTOP, a suspended machine, a host without memory: no agent could report meanwhile, and all deadlines have passed."""
    world.tick.notice_a_gap()
    attempt_id, session_id = await world.accepted()
    world.clock.advance(1000)
    world.tick.notice_a_gap()
    await world.tick.run_once()
    assert world.attempts()[0].state is AttemptState.PREPARING
    await world.sessions.heartbeat("alpha", session_id, {attempt_id: a_progress(1)})
    for _ in range(8):
        world.clock.advance(5)
        world.tick.notice_a_gap()
        await world.tick.run_once()
    assert world.attempts()[0].state is AttemptState.TRANSFERRING


async def test_no_progress_fails_the_attempt_and_progress_keeps_it(world: World) -> None:
    attempt_id, session_id = await world.accepted()
    for seq in range(1, 12):
        world.clock.advance(80)
        await world.sessions.heartbeat("alpha", session_id, {attempt_id: a_progress(seq)})
        await world.tick.run_once()
    assert world.attempts()[0].state is AttemptState.TRANSFERRING
    for seq in range(12, 21):
        world.clock.advance(80)
        await world.sessions.heartbeat("alpha", session_id, {attempt_id: a_progress(seq, moved=11)})
        await world.tick.run_once()
    failure = world.attempts()[0].failure
    assert failure is not None
    assert failure.reason == "NO_PROGRESS"


async def test_of_many_heartbeats_at_once_each_gets_its_own_answer(world: World) -> None:
    attempt_id, session_id = await world.accepted()
    world.clock.advance(60)
    beats = await asyncio.gather(
        *(world.sessions.heartbeat("alpha", session_id, {attempt_id: a_progress(seq)}) for seq in (1, 3, 2)),
        world.sessions.heartbeat("alpha", "another session", {attempt_id: a_progress(9)}),
        world.sessions.heartbeat("alpha", session_id, {"unknown": a_progress(1)}),
        return_exceptions=True,
    )
    assert isinstance(beats[3], FailedPrecondition)
    assert beats[3].reason == "SESSION_UNKNOWN"
    assert [beat.unknown for beat in beats if isinstance(beat, Beat)] == [(), (), (), ("unknown",)]
    stored = world.database.read_now(lambda transaction: transaction.runs.progress_of([attempt_id]))
    assert stored[attempt_id].seq == 3
    session = world.database.read_now(lambda transaction: transaction.fleet.session("alpha"))
    assert session is not None
    assert session.last_seen_us == world.clock.now_us()


async def test_a_former_leader_starts_nothing(world: World) -> None:
    await world.hello()
    held = world.lease.current
    await world.lease.acquire()
    world.lease._current = held
    with pytest.raises(Unavailable, match="Another controller leads"):
        await world.tick.run_once()
    assert world.attempts() == []


def a_progress(seq: int, moved: int | None = None) -> Progress:
    disk = a_disk_progress(moved if moved is not None else seq)
    return Progress(seq, AttemptState.TRANSFERRING, "reading", (disk,), "", "", 0, 0)


async def test_a_run_that_found_no_place_in_time_is_over(world: World) -> None:
    await world.pass_time(24 * 3600 - 1)
    assert world.run().state is RunState.READY
    await world.pass_time(2)
    run = world.run()
    assert (run.state, run.failure.reason if run.failure else "") == (RunState.FAILED, "RUN_TOO_LATE")
    assert run.failure is not None
    assert "host alpha has not connected yet" in run.failure.message


async def test_attempts_of_before_a_roll_back_end_at_once_and_do_not_count(world: World) -> None:
    attempt_id, session_id = await world.accepted()
    world.lease.rise_above(900)
    beat = await world.sessions.heartbeat("alpha", session_id, {attempt_id: a_progress(1)})
    assert beat.unknown == (attempt_id,)
    await world.tick.run_once()
    assert (world.attempts()[0].state, world.run().state) == (AttemptState.ABANDONED, RunState.READY)
    assert (world.run().tries, world.run().requeues) == (0, 1)


async def test_heartbeats_wake_watchers_and_not_the_scheduler(world: World) -> None:
    _, session_id = await world.accepted()
    wakes = world.executions.wakes
    anything, scheduler = wakes.seen(), wakes.seen(SCHEDULER)
    waiting = asyncio.ensure_future(wakes.changed(anything))
    await asyncio.sleep(0)
    await world.sessions.heartbeat("alpha", session_id, {})
    await asyncio.wait_for(waiting, 1)
    assert wakes.seen(SCHEDULER) == scheduler
    await wakes.changed(anything)


async def test_the_next_look_is_when_the_next_run_is_due(world: World) -> None:
    await world.hello()
    run = world.run()
    later = replace(run, not_before_us=world.steady.now_us() + 2_000_000)
    world.database.write_now(lambda transaction: transaction.runs.save_run(run, later))
    await world.tick.run_once()
    assert (world.run().state, world.tick.pause_seconds(5.0)) == (RunState.READY, 2.0)
    assert world.tick.pause_seconds(1.0) == 1.0
    await world.pass_time(2.0)
    assert (world.run().state, world.tick.pause_seconds(5.0)) == (RunState.ACTIVE, 5.0)


async def test_nothing_starts_outside_the_windows_of_its_policy(world: World) -> None:
    """The tick may look before the loop that moves runs to the next window."""
    policy = a_policy("windows: {from: 03:00, to: 04:00}")
    begin = datetime_of(world.steady.now_us())
    until_four_seconds = (begin.replace(hour=4, minute=0, second=0, microsecond=0) - begin).total_seconds()
    run = replace(world.run(), policy_id=policy.id, nominal_us=1)
    await world.database.write(lambda transaction: transaction.policies.add_policy(policy))
    await world.database.write(lambda transaction: transaction.runs.save_run(world.run(), run))
    world.clock.advance(until_four_seconds % (24 * 3600))
    await world.hello()
    await world.tick.run_once()
    assert world.attempts() == []
    asked = replace(world.run(), backup=replace(world.run().backup, asked=True))  # type: ignore[type-var]
    await world.database.write(lambda transaction: transaction.runs.save_run(world.run(), asked))
    await world.tick.run_once()
    assert len(world.attempts()) == 1, "what somebody asked for is held back by none"


async def test_a_vms_next_backup_begins_once_the_one_before_has_its_point(world: World) -> None:
    """Two policies, one repository: also while the first one's point waits for its store, and its host for nothing."""
    attempt_id, _ = await world.accepted()
    first, now_us = world.run(), world.steady.now_us()
    fired = {"created_us": now_us, "not_before_us": now_us, "deadline_us": first.deadline_us}
    second = replace(a_run(2, policy_id="policy", nominal_us=now_us), **fired)  # type: ignore[arg-type]
    await world.database.write(lambda transaction: transaction.runs.add_run(second))

    def attempt(transaction: Transaction) -> Attempt:
        found = transaction.runs.attempt(attempt_id)
        assert found is not None
        return found

    def told(transaction: Transaction) -> tuple[RunState, str]:
        run = transaction.runs.run(second.id)
        assert run is not None
        return run.state, run.blocked_on

    await world.tick.run_once()
    assert world.database.read_now(told) == (RunState.READY, OVERLAPS)
    before = world.database.read_now(attempt)
    handed_over = replace(before, state=AttemptState.PUBLISHING, handed_over=True, phase_deadline_us=0)
    world.database.write_now(lambda transaction: transaction.runs.save_attempt(before, handed_over))
    await world.tick.run_once()
    assert world.database.read_now(told) == (RunState.READY, NOT_OVER)

    def publish(transaction: Transaction) -> None:
        run, published = transaction.runs.run(first.id), attempt(transaction)
        assert run is not None
        transaction.runs.save_run(run, replace(run, state=RunState.SUCCEEDED, ended_us=now_us))
        transaction.runs.save_attempt(published, replace(published, state=AttemptState.SUCCEEDED, ended_us=now_us))

    world.database.write_now(publish)
    await world.tick.run_once()
    assert world.database.read_now(told) == (RunState.ACTIVE, "")


async def test_a_plan_of_before_starts_no_second_backup_of_a_vm(world: World) -> None:
    """What the plan did not know yet is seen by the transaction that carries it out."""
    first, now_us = world.run(), world.steady.now_us()
    active = replace(first, state=RunState.ACTIVE, current_attempt="attempt")
    second = a_run(2, policy_id="policy", nominal_us=now_us, not_before_us=now_us)
    await world.database.write(lambda transaction: transaction.runs.save_run(first, active))
    await world.database.write(lambda transaction: transaction.runs.add_run(second))
    await world.tick._start([Placement(second, "alpha")], now_us)
    found = world.database.read_now(lambda transaction: transaction.runs.run(second.id))
    assert found is not None and found.state is RunState.READY
