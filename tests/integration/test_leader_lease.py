"""Who leads, by monotonic time alone: two controllers on one database, their clocks apart by hours."""

import asyncio
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from seawall.controller.database.sqlite import SqliteDatabase
from seawall.controller.errors import Unavailable
from seawall.controller.scheduler.leading import LeaderLease, keep_lead, new_replica, wait_for_lead
from seawall.controller.server.drain import Drain
from seawall.controller.store.transaction import Transaction
from seawall.controller.timings import Timings
from support.controller_clock import START_US, ManualClock

TIMINGS = Timings()


class Member:
    """One controller with its own clock; `hours` is how wrong its wall time is."""

    def __init__(self, database: SqliteDatabase, number: int, hours: int) -> None:
        self.clock = ManualClock(START_US + hours * 3600 * 1_000_000)
        self.replica = new_replica("1", f"operator-{number}:1", f"agent-{number}:1")
        self.lease = LeaderLease(database, self.clock, TIMINGS, self.replica)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[SqliteDatabase]:
    with closing(SqliteDatabase(tmp_path / "controller.sqlite")) as made:
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
