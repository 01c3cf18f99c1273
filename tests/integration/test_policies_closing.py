"""Windows that close on many runs: a few transactions, none in the way of another policy, and no start outside them meanwhile."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import pytest

from seawall.controller.records.runs import Run, RunState
from seawall.controller.scheduler import closing as closings
from seawall.controller.scheduler.closing import SLICE, Shut
from seawall.controller.scheduler.executions import Change
from seawall.controller.scheduler.in_window import outside
from seawall.controller.scheduler.policy_loop import keep_policies
from seawall.controller.scheduler.wakes import Wakes
from seawall.controller.server.drain import Drain
from seawall.controller.store.transaction import Transaction
from support.controller_clock import ManualClock
from support.controller_records import a_run
from support.policies import a_policy, add_policy, fleet_store
from support.policy_firing import Died, FiringLeader

T = TypeVar("T")
HOUR = 3600.0
BEGIN_US = round(datetime(2026, 11, 24, 4, 30, tzinfo=UTC).timestamp() * 1_000_000)
"""Half past four on a Tuesday: the window is over."""
WINDOW = "windows: {from: 03:00, to: 04:00}"
MANY = 2 * SLICE + 50


@pytest.fixture
def leader(tmp_path: Path) -> Iterator[FiringLeader]:
    """Nobody had a place for any of the policy's runs."""
    with many(tmp_path) as found:
        yield found


@contextmanager
def many(folder: Path) -> Iterator[FiringLeader]:
    vm_ids = [f"vm-{number}" for number in range(MANY)]
    with fleet_store(folder, vm_ids) as database:
        add_policy(database, a_policy(WINDOW, fired_us=BEGIN_US - 90 * 60_000_000))
        runs = [waiting(number + 1, vm_id) for number, vm_id in enumerate(vm_ids)]
        database.write_now(lambda transaction: transaction.runs.add_runs(runs))
        clock = ManualClock(BEGIN_US)
        yield FiringLeader(database, clock, clock)


def waiting(number: int, vm_id: str) -> Run:
    due_us = BEGIN_US - 90 * 60_000_000
    return a_run(
        number,
        vm_id=vm_id,
        policy_id="policy-1",
        nominal_us=due_us,
        created_us=due_us,
        not_before_us=due_us,
        deadline_us=due_us + 24 * 3600 * 10**6,
    )


def starts(leader: FiringLeader) -> set[float]:
    """Hours from now, of all runs that wait."""
    runs = leader.database.read_now(lambda transaction: transaction.runs.runs_of(_every()))
    return {(run.not_before_us - leader.clock.now_us()) / 3.6e9 for run in runs if run.state is RunState.READY}


def _every() -> list[str]:
    return [a_run(number + 1).id for number in range(MANY)]


class Counted:
    """How many writes a look makes, and of how many runs it reads rows."""

    def __init__(self, leader: FiringLeader, monkeypatch: pytest.MonkeyPatch) -> None:
        self.writes, self.rows = 0, 0
        store, real = leader.store, closings._concerned
        write = store.write

        async def counted(closure: Callable[[Transaction], T]) -> T:
            self.writes += 1
            return await write(closure)

        def concerned(transaction: Transaction, shut: Shut, run_ids: Sequence[str]) -> list[str]:
            self.rows += len(run_ids)
            return real(transaction, shut, run_ids)

        monkeypatch.setattr(store, "write", counted)
        monkeypatch.setattr(closings, "_concerned", concerned)


def test_many_runs_are_put_off_in_a_few_transactions_and_then_left_alone(
    leader: FiringLeader, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = Counted(leader, monkeypatch)
    asyncio.run(leader.closing.run_once())
    assert counted.writes == 3 and min(starts(leader)) == 22.5
    counted.writes = counted.rows = 0
    asyncio.run(leader.closing.run_once())
    assert (counted.writes, counted.rows) == (0, 0), "they wait for that window already: not even read"


def test_a_leader_that_dies_between_two_transactions_costs_nothing(leader: FiringLeader) -> None:
    leader.store.left = 1
    with pytest.raises(Died):
        asyncio.run(leader.closing.run_once())
    assert min(starts(leader)) == -1.5 and max(starts(leader)) == 22.5
    leader.take_over()
    asyncio.run(leader.closing.run_once())
    assert min(starts(leader)) == 22.5


def test_a_run_that_cannot_be_put_off_is_in_the_way_of_no_other(
    leader: FiringLeader, monkeypatch: pytest.MonkeyPatch
) -> None:
    stubborn, after, tries = a_run(7).id, closings._one, []

    def one(change: Change, shut: Shut, run: Run) -> bool:
        if run.id == stubborn:
            tries.append(run.id)
            raise ValueError("nobody thought of it")
        return after(change, shut, run)

    monkeypatch.setattr(closings, "_one", one)
    for _ in range(3):
        asyncio.run(leader.closing.run_once())
    assert starts(leader) == {-1.5, 22.5}
    assert len(tries) == 2, "with its slice, then alone; and no more for a while"
    leader.advance(6)
    asyncio.run(leader.closing.run_once())
    assert len(tries) == 4


def test_placement_leaves_out_what_its_window_holds_back(leader: FiringLeader) -> None:
    """However late the look is that moves it."""
    add_policy(leader.database, a_policy(policy_id="policy-2", name="always"))
    asked = replace(waiting(2, "vm-1"), backup=replace(waiting(2, "vm-1").backup, asked=True))  # type: ignore[type-var]
    ready = [waiting(1, "vm-0"), asked, replace(waiting(3, "vm-2"), policy_id="policy-2"), a_run(4, vm_id="vm-3")]

    def held(wall_us: int) -> list[str]:
        policies = leader.database.read_now(lambda transaction: transaction.policies.policies(deleted=True))
        return outside(policies, ready, wall_us)

    assert held(BEGIN_US) == [ready[0].id]
    assert held(BEGIN_US - 3600 * 10**6) == []


def test_a_policy_that_is_due_waits_for_no_other_policys_windows(leader: FiringLeader) -> None:
    """A closing that takes for ever."""
    add_policy(leader.database, a_policy(policy_id="policy-2", name="other", fired_us=BEGIN_US))
    leader.clock.advance(24 * HOUR)

    async def for_ever() -> None:
        await asyncio.Event().wait()

    async def until_fired() -> bool:
        await leader.lease.renew()
        leader.closing.run_once = for_ever  # type: ignore[method-assign]
        drain = Drain()
        keeping = asyncio.create_task(keep_policies(leader.firing, leader.closing, Wakes(), drain, leader.wall, 0.05))
        try:
            async with asyncio.timeout(20):
                while not leader.database.read_now(_fired):
                    await asyncio.sleep(0.02)
            return True
        finally:
            keeping.cancel()

    assert asyncio.run(until_fired())


def _fired(transaction: Transaction) -> bool:
    nominal_us = round(datetime(2026, 11, 25, 3, tzinfo=UTC).timestamp() * 1_000_000)
    return bool(transaction.policies.fired("policy-2", ["vm-1"], nominal_us))
