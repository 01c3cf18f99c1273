"""Who leads, by monotonic time alone: two controllers on one database, their clocks apart by hours."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from seawall.controller.database.sqlite import SqliteDatabase
from seawall.controller.errors import Unavailable
from seawall.controller.runs.steady import CREEP, SteadyClock
from seawall.controller.scheduler.leading import LeaderLease, keep_lead, new_replica, wait_for_lead
from seawall.controller.server.drain import Drain
from seawall.controller.store.transaction import Transaction
from seawall.controller.timings import Timings
from support.controller_clock import START_US, ManualClock
from support.sqlite_template import new_sqlite

TIMINGS = Timings()


class Machine(ManualClock):
    """Its wall time may be wrong."""

    ahead_us = 0

    def now_us(self) -> int:
        return super().now_us() + self.ahead_us


class Member:
    """One controller with its own clock; `hours` is how wrong its wall time is."""

    def __init__(self, database: SqliteDatabase, number: int, hours: int) -> None:
        self.clock = Machine(START_US + hours * 3600 * 1_000_000)
        self.replica = new_replica("1", f"operator-{number}:1", f"agent-{number}:1")
        self.steady = SteadyClock(self.clock)
        self.lease = LeaderLease(database, self.steady, TIMINGS, self.replica)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[SqliteDatabase]:
    with closing(SqliteDatabase(new_sqlite(tmp_path / "controller.sqlite"))) as made:
        yield made


def pass_seconds(seconds: float, *members: Member) -> None:
    for each in members:
        each.clock.advance(seconds)


@pytest.mark.parametrize("hours", [(0, 0), (0, 5), (5, 0)])
async def test_the_other_takes_over_after_a_whole_lease_without_a_sign(
    database: SqliteDatabase, hours: tuple[int, int]
) -> None:
    first, second = (Member(database, number, wrong) for number, wrong in enumerate(hours))
    assert await first.lease.try_acquire()
    for _ in range(10):
        assert not await second.lease.try_acquire()
        pass_seconds(9, first, second)
        await first.lease.renew()
    assert not await second.lease.try_acquire(), "the last sign of life is what counts"
    pass_seconds(14.5, first, second)
    assert not await second.lease.try_acquire()
    assert not first.lease.held, "the first has let go long before"
    pass_seconds(0.5, first, second)
    assert await second.lease.try_acquire()
    assert second.lease.current.epoch == 2
    with pytest.raises(Unavailable) as caught:
        await first.lease.renew()
    assert caught.value.reason == "NOT_LEADER"


async def test_a_leader_that_could_not_renew_goes_on_if_nobody_else_led(database: SqliteDatabase) -> None:
    member = Member(database, 1, 0)
    assert await member.lease.try_acquire()
    pass_seconds(TIMINGS.leader_deadline_seconds, member)
    with pytest.raises(Unavailable):
        _ = member.lease.current
    with pytest.raises(Unavailable):
        member.lease.require()
    await member.lease.renew()
    assert member.lease.current.epoch == 1


async def test_whoever_does_not_lead_names_the_one_that_does(database: SqliteDatabase) -> None:
    first, second = Member(database, 1, 0), Member(database, 2, 0)
    assert await first.lease.try_acquire()
    assert not await second.lease.try_acquire()
    with pytest.raises(Unavailable) as caught:
        second.lease.require()
    assert caught.value.metadata == {"operator_address": "operator-1:1", "agent_address": "agent-1:1"}
    await first.lease.release()
    assert await second.lease.try_acquire(), "what was given back is free at once"


async def test_of_two_that_see_a_free_lease_one_gets_it(database: SqliteDatabase) -> None:
    members = [Member(database, number, 0) for number in range(4)]
    won = await asyncio.gather(*(each.lease.try_acquire() for each in members))
    assert won.count(True) == 1


async def test_a_lead_that_is_lost_ends_the_term_and_a_silent_database_does_not(database: SqliteDatabase) -> None:
    member, drain, told = Member(database, 1, 0), Drain(), []

    async def ready(yes: bool) -> None:
        told.append(yes)
        if len(told) == 3:
            database.write_now(_usurp)

    assert await wait_for_lead(member.lease, 0.01, drain, ready)
    assert await asyncio.wait_for(keep_lead(member.lease, 0.01, drain, ready), 10)
    assert told[:3] == [True] * 3
    drain.start()
    assert not await wait_for_lead(member.lease, 0.01, drain, ready)


def _usurp(transaction: Transaction) -> None:
    row = transaction.leadership.lease()
    assert transaction.leadership.take(row, replace(new_replica("1", "x:1", "y:1")), 1, 1) is not None


async def test_controllers_know_of_each_other(database: SqliteDatabase) -> None:
    first, second = Member(database, 1, 0), Member(database, 2, 0)
    for each in (first, second, first):
        await each.lease.report()
    now_us = first.clock.now_us()
    found = database.read_now(lambda transaction: transaction.leadership.replicas(now_us))
    assert {each.operator_address for each in found} == {"operator-1:1", "operator-2:1"}
    pass_seconds(2 * 86_400, first)
    await first.lease.report()
    found = database.read_now(lambda transaction: transaction.leadership.replicas(0))
    assert [each.id for each in found] == [first.replica.id], "those that are silent for a day are forgotten"


def apart_seconds(one: Member, other: Member) -> float:
    return abs(one.steady.now_us() - other.steady.now_us()) / 1_000_000


async def live(leader: Member, looker: Member, seconds: float) -> None:
    """As both do when all is well: a renewal each 2 s, a look each second."""
    for _ in range(round(seconds / 2)):
        for _ in range(2):
            pass_seconds(1, leader, looker)
            await looker.lease.try_acquire()
        await leader.lease.renew()


@pytest.mark.parametrize("hours", [(0, 5), (5, 0), (0, -5)])
async def test_all_go_by_the_leaders_time_and_the_next_carries_it_on(
    database: SqliteDatabase, hours: tuple[int, int]
) -> None:
    """So a lease that one wrote is for the other what it was for the one, before and after the lead changes."""
    first, second = (Member(database, number, wrong) for number, wrong in enumerate(hours))
    assert await first.lease.try_acquire()
    await live(first, second, 6)
    assert apart_seconds(first, second) < 3
    assert not await second.lease.try_acquire()
    pass_seconds(TIMINGS.leader_lease_seconds, first, second)
    assert await second.lease.try_acquire()
    assert apart_seconds(first, second) < 3
    again = Member(database, 0, hours[0])
    assert not await again.lease.try_acquire()
    await live(second, again, 6)
    assert apart_seconds(second, again) < 3, "it began anew, with its own clock"


async def test_whoever_begins_knows_the_leaders_time_before_it_serves(database: SqliteDatabase) -> None:
    """It looks until the leader renews; with nobody to follow it goes by its own clock at once."""
    leader, other = Member(database, 1, 0), Member(database, 2, 7)
    await other.lease.meet()
    assert apart_seconds(leader, other) == pytest.approx(7 * 3600)
    assert await leader.lease.try_acquire()
    meeting = asyncio.create_task(other.lease.meet())
    while not meeting.done():
        pass_seconds(0.1, leader, other)
        await leader.lease.renew()
        await asyncio.sleep(0.01)
    assert apart_seconds(leader, other) < 3


async def test_a_controller_that_stood_still_takes_no_old_renewal_for_a_new_one(database: SqliteDatabase) -> None:
    """The leader renewed, and died, while it did."""
    first, second = Member(database, 1, 0), Member(database, 2, 0)
    assert await first.lease.try_acquire()
    await live(first, second, 6)
    pass_seconds(1, first, second)
    await first.lease.renew()
    pass_seconds(3600, first, second)
    assert not await second.lease.try_acquire()
    assert apart_seconds(first, second) < 3


async def test_a_controller_that_stood_still_with_an_answer_under_way_takes_it_for_no_new_one(
    database: SqliteDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The leader renewed before, and all goes on a minute later."""
    first, second = Member(database, 1, 0), Member(database, 2, 0)
    assert await first.lease.try_acquire()
    await live(first, second, 6)
    pass_seconds(1, first, second)
    await first.lease.renew()
    read = database.read

    async def answered_late(closure: Callable[[Transaction], Any]) -> Any:
        found = await read(closure)
        pass_seconds(60, first, second)
        return found

    monkeypatch.setattr(database, "read", answered_late)
    assert not await second.lease.try_acquire()
    assert apart_seconds(first, second) < 3
    monkeypatch.undo()
    await first.lease.renew()
    assert not await second.lease.try_acquire()
    await live(first, second, 6)
    assert apart_seconds(first, second) < 3


async def test_a_database_that_was_put_back_tells_no_time(database: SqliteDatabase) -> None:
    """Its lease row changes too, to what it was."""
    first, second = Member(database, 1, 0), Member(database, 2, 0)
    assert await first.lease.try_acquire()
    old = database.read_now(lambda transaction: transaction.leadership.lease())
    pass_seconds(3600, first, second)
    await live(first, second, 6)
    database.write_now(lambda transaction: transaction.leadership.renew(first.lease.current, old.expires_us, 0))
    assert not await second.lease.try_acquire()
    assert apart_seconds(first, second) < 3


async def test_a_leader_whose_clock_was_wrong_creeps_back(database: SqliteDatabase) -> None:
    """A jump moves no deadline; it is worn off at a hundredth of the time that passes."""
    leader = Member(database, 1, 0)
    assert await leader.lease.try_acquire()
    leader.clock.ahead_us = 3600 * 1_000_000
    behind = leader.clock.now_us() - leader.steady.now_us()
    for _ in range(500):
        pass_seconds(2, leader)
        await leader.lease.renew()
    left = leader.clock.now_us() - leader.steady.now_us()
    assert behind - left == pytest.approx(CREEP * 1000 * 1_000_000, rel=0.01)


async def test_what_nobody_foresaw_ends_neither_the_wait_nor_the_lead(
    database: SqliteDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    member, drain = Member(database, 1, 0), Drain()
    answers: list[bool] = []

    async def ready(yes: bool) -> None:
        answers.append(yes)
        if len(answers) == 4:
            drain.start()

    def once(name: str) -> None:
        real = getattr(member.lease, name)

        async def fails() -> Any:
            monkeypatch.setattr(member.lease, name, real)
            raise RuntimeError("nobody thought of it")

        monkeypatch.setattr(member.lease, name, fails)

    once("try_acquire")
    assert await asyncio.wait_for(wait_for_lead(member.lease, 0.01, drain, ready), 10)
    once("renew")
    assert not await asyncio.wait_for(keep_lead(member.lease, 0.01, drain, ready), 10)
    assert answers == [False, True, False, True]
