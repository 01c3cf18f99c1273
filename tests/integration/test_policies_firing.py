"""Firing over a real database: once for each VM and time, whoever leads, whenever it dies; catching up, waiting, skipping, missing."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest
import structlog

from seawall.controller.policies.applying import carry_out, plan_changes
from seawall.controller.policies.compiled import Compiled
from seawall.controller.policies.standing import standings
from seawall.controller.records.policies import PolicySpec, Window
from seawall.controller.records.runs import FreezePolicy, Run, RunState
from seawall.controller.records.settings import NOTHING_SAID
from seawall.controller.runs.steady import SteadyClock
from seawall.controller.scheduler.executions import Change
from seawall.controller.services.orders import Orders
from seawall.controller.store.transaction import Transaction
from seawall.controller.timings import Timings
from seawall.repository.clock import datetime_of
from support.controller_clock import ManualClock
from support.controller_records import a_point, a_run, an_execution
from support.policies import a_policy, fleet_store
from support.policy_firing import BEGIN_US, DAY, HOUR, FiringLeader, begin, monday_noon, nightly


@pytest.fixture
def leader(tmp_path: Path) -> Iterator[FiringLeader]:
    with monday_noon(tmp_path) as found:
        yield found


def due_at(leader: FiringLeader, vm_id: str = "vm-1") -> list[str]:
    return [f"{datetime.fromtimestamp(run.nominal_us // 1_000_000, UTC):%a %H}" for run in leader.runs(vm_id)]


def test_nothing_before_its_time_and_one_run_a_vm_then(leader: FiringLeader) -> None:
    nightly(leader, "capture: {freeze: require}")
    leader.advance(14 * HOUR)
    leader.look()
    assert leader.runs() == []
    leader.advance(HOUR)
    for _ in range(3):
        leader.look()
    leader.take_over()
    leader.look()
    assert sorted(run.vm_id for run in leader.runs()) == ["vm-1", "vm-2"]
    run = leader.runs()[0]
    assert (run.state, run.policy_id, run.point_id) == (RunState.READY, "policy-1", run.id)
    assert run.backup is not None and run.backup.freeze is FreezePolicy.REQUIRE
    assert run.not_before_us == leader.clock.now_us()
    assert due_at(leader) == ["Tue 03"]


def test_a_leader_that_dies_before_it_said_that_it_fired_costs_nothing(leader: FiringLeader) -> None:
    nightly(leader)
    leader.advance(15 * HOUR)
    leader.look(dies_after=1)  # its runs are there; that it dealt with this night is not
    assert sorted(run.vm_id for run in leader.runs()) == ["vm-1", "vm-2"]
    leader.end(leader.runs("vm-1")[0])
    leader.look()
    leader.look()
    assert (leader.states("vm-1"), leader.states("vm-2")) == ("SUCCEEDED", "READY")


@pytest.mark.parametrize(("policy_id", "first"), [("policy-1", "vm-1"), ("policy-2", "vm-2")])
def test_who_may_start_first_gets_his_run_first(
    leader: FiringLeader, monkeypatch: pytest.MonkeyPatch, policy_id: str, first: str
) -> None:
    """One VM a transaction, and death after the first: of a large fleet those that are due at once do not wait for all the others."""
    monkeypatch.setattr("seawall.controller.scheduler.firing.SLICE", 1)
    nightly(leader, policy_id=policy_id, spec=replace(a_policy().spec, spread_seconds=3600))
    leader.advance(15 * HOUR)
    leader.look(dies_after=1)
    assert [run.vm_id for run in leader.runs()] == [first]
    leader.look()
    starts = {run.vm_id: run.not_before_us for run in leader.runs()}
    assert len(starts) == 2 and min(starts, key=lambda vm_id: starts[vm_id]) == first


def test_several_missed_nights_become_one_run(leader: FiringLeader) -> None:
    nightly(leader)
    leader.advance(4 * DAY)
    leader.look()
    leader.look()
    assert due_at(leader) == ["Fri 03"]
    assert leader.states() == "READY"


def test_what_is_too_late_is_written_down_as_missed(leader: FiringLeader) -> None:
    nightly(leader, spec=replace(a_policy().spec, catch_up_seconds=3600))
    leader.advance(3 * DAY)
    leader.look()
    leader.look()
    (run,) = leader.runs("vm-1")
    assert run.state is RunState.MISSED and run.failure is not None
    assert "due 9 h ago" in run.failure.message and "within 60 min" in run.failure.message
    leader.advance(15 * HOUR + 60)
    leader.look()
    assert leader.states() == "MISSED READY"


def test_a_policy_skips_while_its_own_backup_runs_and_says_so_once(leader: FiringLeader) -> None:
    nightly(leader)
    for _ in range(3):
        leader.advance(DAY)
        leader.look()
    assert leader.states() == "READY SKIPPED"
    assert due_at(leader) == ["Tue 03", "Wed 03"]
    leader.end_all()
    leader.advance(DAY)
    leader.look()
    assert leader.states() == "SUCCEEDED SKIPPED READY"


def ordered(leader: FiringLeader, state: RunState = RunState.ACTIVE) -> Run:
    """A backup of vm-1 that somebody ordered."""
    run = a_run(1, vm_id="vm-1", repository_id="repository", state=state)
    leader.database.write_now(lambda transaction: transaction.runs.add_run(run))
    return run


def test_a_backup_that_is_under_way_is_waited_for(leader: FiringLeader) -> None:
    nightly(leader)
    nightly(leader, policy_id="policy-2", name="second")
    by_hand = ordered(leader)
    leader.advance(15 * HOUR)
    for _ in range(2):
        leader.look()
    assert leader.states() == "ACTIVE"
    leader.end(by_hand)
    for _ in range(2):
        leader.look()
    waiting = [run.policy_id for run in leader.runs("vm-1") if run.state is RunState.READY]
    assert sorted(waiting) == ["policy-1", "policy-2"], "each its own; admission lets one begin at a time"
    leader.end_all()
    leader.look()
    assert Counter(run.policy_id for run in leader.runs("vm-1")) == {"": 1, "policy-1": 1, "policy-2": 1}


def test_what_waits_for_its_window_is_in_no_other_policys_way(leader: FiringLeader) -> None:
    """The night found no place for it; the hourly policy goes on, and it begins in the next one."""
    nightly(leader, "windows: {from: 03:00, to: 04:00}")
    hourly = replace(a_policy().spec, cron="30 * * * *", name="hourly")
    nightly(leader, spec=hourly, policy_id="policy-2")
    done = 0
    for _ in range(80):
        leader.advance(HOUR / 2)
        leader.look()
        for run in leader.runs("vm-1"):
            if run.policy_id == "policy-2" and not run.state.over and run.not_before_us <= leader.clock.now_us():
                leader.end(run)
                done += 1
    assert done >= 38, "of 40"
    first, *_ = (run for run in leader.runs("vm-1") if run.policy_id == "policy-1")
    assert first.state is RunState.MISSED, "two nights without a place"


def test_a_run_that_somebody_ordered_and_that_waits_is_in_no_policys_way(leader: FiringLeader) -> None:
    nightly(leader)
    ordered(leader, RunState.READY)
    leader.advance(15 * HOUR)
    leader.look()
    assert leader.states() == "READY READY"


def test_who_orders_a_backup_gets_the_one_that_is_under_way_or_would_begin_first(leader: FiringLeader) -> None:
    nightly(leader, spec=replace(a_policy().spec, spread_seconds=3600))
    nightly(leader, policy_id="policy-2", name="second", spec=replace(a_policy().spec, name="second"))
    leader.advance(15 * HOUR)
    leader.look()
    runs = {run.policy_id: run for run in leader.runs("vm-1")}
    assert runs["policy-1"].not_before_us > runs["policy-2"].not_before_us
    orders = Orders(SteadyClock(leader.clock), Timings())

    def order(transaction: Transaction) -> list[str]:
        return orders.backup(Change(transaction, set()), ["vm-1"], "main", NOTHING_SAID)

    assert leader.database.write_now(order) == [runs["policy-2"].id]
    begin(leader, runs["policy-1"])
    assert leader.database.write_now(order) == [runs["policy-1"].id]


def test_what_was_due_before_waits_for_its_repository(leader: FiringLeader) -> None:
    """Its bucket may know that it is done. Told once; and what is too late by then is missed, not forgotten."""
    nightly(leader)
    leader.advance(15 * HOUR)
    leader.take_over()
    leader.open = False
    with structlog.testing.capture_logs() as logs:
        leader.look()
        leader.look()
    assert leader.runs() == [] and [each["event"] for each in logs].count("policy.held_back") == 1
    leader.open = True
    leader.look()
    assert leader.states() == "READY"


def test_what_waits_for_its_repository_for_too_long_is_missed(leader: FiringLeader) -> None:
    nightly(leader, spec=replace(a_policy().spec, catch_up_seconds=3600))
    leader.advance(15 * HOUR)
    leader.take_over()
    leader.open = False
    leader.look()
    assert leader.runs() == []
    leader.advance(HOUR + 1)
    leader.look()
    assert leader.states() == "MISSED"


def test_what_waited_for_another_run_waits_for_its_repository(leader: FiringLeader) -> None:
    nightly(leader)
    by_hand = ordered(leader)
    leader.advance(15 * HOUR)
    leader.look()
    leader.end(by_hand)
    leader.take_over()
    leader.open = False
    leader.look()
    assert leader.states() == "SUCCEEDED"
    leader.open = True
    leader.look()
    assert leader.states() == "SUCCEEDED READY"


def test_waiting_too_long_is_missing(leader: FiringLeader) -> None:
    nightly(leader)
    by_hand = ordered(leader)
    leader.advance(15 * HOUR)
    leader.look()
    for _ in range(4):
        leader.advance(12 * HOUR)
        leader.look()
    leader.end(by_hand)
    leader.look()
    assert due_at(leader)[-1] == "Thu 03", "the newest one, not the first"
    assert leader.states().endswith("READY")


def test_a_clock_that_was_a_year_ahead_costs_nothing(tmp_path: Path) -> None:
    with fleet_store(tmp_path) as database:
        leader = FiringLeader(database, ManualClock(BEGIN_US), ManualClock(BEGIN_US))
        nightly(leader)
        leader.wall.advance(365 * DAY)
        leader.look()
        leader.look()
        assert leader.states() == "READY"
        leader.end_all()
        leader.wall.advance(-365 * DAY)
        leader.look()
        leader.look()
        assert leader.states() == "SUCCEEDED"
        leader.advance(DAY)
        leader.look()
        assert due_at(leader)[-1] == "Tue 03"
        assert leader.states() == "SUCCEEDED READY"


def test_starts_are_spread_the_same_way_every_night(tmp_path: Path) -> None:
    vm_ids = [f"vm-{number}" for number in range(12)]
    with fleet_store(tmp_path, vm_ids) as database:
        leader = FiringLeader(database, ManualClock(BEGIN_US), ManualClock(BEGIN_US))
        spec = replace(a_policy().spec, spread_seconds=3600)
        nightly(leader, spec=spec)
        nights: list[dict[str, int]] = []
        for _ in range(2):
            leader.advance((15 if not nights else 24) * HOUR)
            leader.look()
            now_us = leader.clock.now_us()
            opened = [run for run in leader.runs() if not run.state.over]
            nights.append({run.vm_id: run.not_before_us - now_us for run in opened})
            leader.end_all()
    assert nights[0] == nights[1] and len(nights[0]) == 12
    starts = sorted(nights[0].values())
    assert 0 <= starts[0] and starts[-1] < 3600 * 1_000_000
    assert len(set(starts)) == 12
    assert all(each < 1800 * 1_000_000 for each in (later - earlier for earlier, later in pairwise(starts)))


def test_who_orders_a_backup_does_not_wait_for_its_place_in_the_spread(leader: FiringLeader) -> None:
    nightly(leader, spec=replace(a_policy().spec, spread_seconds=3600))
    leader.advance(15 * HOUR)
    leader.look()
    (run,) = leader.runs("vm-1")
    assert run.not_before_us > leader.clock.now_us()
    assert run.blocked_on.startswith("begins at Tue 03:")
    orders = Orders(SteadyClock(leader.clock), Timings())

    def order(transaction: Transaction) -> list[str]:
        return orders.backup(Change(transaction, set()), ["vm-1"], "main", NOTHING_SAID)

    assert leader.database.write_now(order) == [run.id]
    (now,) = leader.runs("vm-1")
    assert now.not_before_us == leader.clock.now_us()


def test_a_host_whose_clock_was_a_year_ahead_silences_no_rpo(leader: FiringLeader) -> None:
    """Ten days without a backup are ten days, whatever instant the last point bears."""
    nightly(leader, "rpo: 24h")
    begun_us, execution = leader.clock.now_us(), an_execution()
    run = a_run(1, vm_id="vm-1", policy_id="policy-1", nominal_us=begun_us)

    def publish(transaction: Transaction) -> None:
        transaction.runs.add_run(replace(run, state=RunState.SUCCEEDED))
        transaction.runs.add_attempt(replace(execution.attempt, run_id=run.id))
        point = a_point(run, execution.attempt.id, instant_us=begun_us + 365 * 86_400 * 10**6, policy_id="policy-1")
        transaction.points.add_point(point)
        transaction.points.make_available(run.id, begun_us)

    leader.database.write_now(publish)

    def breached(transaction: Transaction) -> int:
        (found,) = standings(transaction, transaction.policies.policies(), leader.clock.now_us())
        return found.rpo_breached

    assert leader.database.read_now(breached) == 0, "vm-2 has none, but nobody asked for one yet"
    leader.advance(15 * HOUR)
    leader.look()
    leader.advance(DAY)
    assert leader.database.read_now(breached) == 1, "vm-1: vm-2 was first due a day ago, and not longer"
    leader.advance(9 * DAY)
    assert leader.database.read_now(breached) == 2


def test_a_policy_that_cannot_be_read_any_more_stops_no_other(leader: FiringLeader) -> None:
    """Its zone went with an upgrade of the time zones' data."""
    broken = replace(a_policy("windows: {from: 03:00, to: 04:00}").spec, zone="Nowhere/Here", name="broken")
    nightly(leader, spec=broken, policy_id="policy-0", name="broken")
    nightly(leader)
    leader.advance(15 * HOUR)
    leader.look()
    assert [run.policy_id for run in leader.runs()] == ["policy-1", "policy-1"]

    def closure(transaction: Transaction) -> list[bool]:
        found = standings(transaction, transaction.policies.policies(), leader.wall.now_us())
        return [each.next_nominal is not None for each in found]

    assert leader.database.read_now(closure) == [False, True], "it is listed, or nobody could mend it"


def test_a_policy_whose_due_runs_cannot_be_decided_stops_no_others(leader: FiringLeader) -> None:
    """What waited for another run goes on after it, though the zone of another policy went meanwhile."""
    nightly(leader, policy_id="policy-0", name="broken")
    nightly(leader)
    leader.database.write_now(
        lambda transaction: transaction.runs.add_runs(
            [a_run(n, vm_id=f"vm-{n}", id=f"0-{n}", state=RunState.ACTIVE) for n in (1, 2)]
        )
    )
    leader.advance(15 * HOUR)
    leader.look()
    assert len(leader.database.read_now(lambda transaction: transaction.policies.due())) == 4
    leader.end_all()
    known = leader.firing._compiled["policy-0"]
    leader.firing._compiled["policy-0"] = Compiled.of(
        replace(known.policy, spec=replace(known.policy.spec, zone="Nowhere/Here", windows=(Window((0,), 0, 60),)))
    )
    asyncio.run(leader.firing._waiting(datetime_of(leader.wall.now_us())))
    assert {run.policy_id for run in leader.runs() if not run.state.over} == {"policy-1"}


def test_a_policy_that_cannot_be_fired_is_tried_ever_more_rarely(
    leader: FiringLeader, monkeypatch: pytest.MonkeyPatch
) -> None:
    nightly(leader)
    looks = []

    async def look(*_: object) -> None:
        looks.append(leader.clock.now_us())
        raise RuntimeError("nobody thought of it")

    monkeypatch.setattr(leader.firing, "_look", look)
    for _ in range(60):
        leader.look()
        leader.advance(5)
    assert [round((us - looks[0]) / 5_000_000) for us in looks] == [0, 1, 3, 7, 15, 31]


def test_another_calendar_does_not_catch_up_what_it_never_had(leader: FiringLeader) -> None:
    nightly(leader)
    apply(leader, a_policy().spec)
    assert leader.database.read_now(lambda transaction: transaction.policies.policies())[0].revision == 1
    leader.advance(20 * HOUR)
    apply(leader, replace(a_policy().spec, cron="0 4 * * *"))
    leader.look()
    assert leader.runs() == []
    leader.advance(21 * HOUR)
    leader.look()
    assert due_at(leader) == ["Wed 04"]


def apply(leader: FiringLeader, spec: PolicySpec) -> None:
    def closure(transaction: Transaction) -> None:
        carry_out(transaction, plan_changes(transaction, [spec], leader.wall), leader.wall)

    leader.database.write_now(closure)
