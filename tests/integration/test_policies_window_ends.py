"""Windows over a real database: starts that wait for them, and what becomes of runs when they end."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from seawall.controller.hooks.troubles import after_runs
from seawall.controller.policies.applying import plan_changes
from seawall.controller.records.hooks import EndedRun, Event
from seawall.controller.records.runs import AttemptState, RunState
from seawall.controller.records.settings import NOTHING_SAID
from seawall.controller.runs.steady import SteadyClock
from seawall.controller.scheduler.executions import Change
from seawall.controller.services.orders import Orders
from seawall.controller.store.transaction import Transaction
from seawall.controller.timings import Timings
from support.policies import a_policy
from support.policy_firing import HOUR, FiringLeader, begin, monday_noon, nightly


@pytest.fixture
def leader(tmp_path: Path) -> Iterator[FiringLeader]:
    with monday_noon(tmp_path) as found:
        yield found


def test_windows_hold_starts_back_and_close_on_what_waits(leader: FiringLeader) -> None:
    spec = a_policy("windows: {days: [tue, wed], from: 05:00, to: 06:00}").spec
    nightly(leader, spec=replace(spec, catch_up_seconds=48 * 3600))
    leader.advance(15 * HOUR)
    leader.look()
    (run,) = leader.runs("vm-1")
    assert (run.not_before_us - leader.clock.now_us()) / 1_000_000 == 2 * HOUR
    leader.advance(3.5 * HOUR)  # Tuesday 06:30, and nobody had a place for it
    leader.look()
    (run,) = leader.runs("vm-1")
    assert (run.not_before_us - leader.clock.now_us()) / 1_000_000 == 22.5 * HOUR
    assert "waits for the window of policy nightly (Wed 05:00 UTC)" in run.blocked_on
    before, store = leader.runs(), leader.store
    leader.look(dies_after=0)
    assert leader.runs() == before and leader.store is store, "it waits for that window already: nothing is written"
    leader.advance(24 * HOUR)  # Wednesday 06:30: the next window is days away
    leader.look()
    (run, *_) = leader.runs("vm-1")
    assert run.state is RunState.MISSED and run.failure is not None and run.failure.reason == "WINDOW_ENDED"


@pytest.mark.parametrize(
    ("end", "canceled"), [("no_new_starts", (0, 0)), ("cancel", (1, 1)), ("{finish_current: 1h}", (0, 1))]
)
def test_what_runs_when_a_window_ends(leader: FiringLeader, end: str, canceled: tuple[int, int]) -> None:
    nightly(leader, f"windows: {{from: 03:00, to: 04:00}}\nwindow_end: {end}")
    leader.advance(15 * HOUR)
    leader.look()
    (run,) = leader.runs("vm-1")
    begin(leader, run)
    seen = []
    for _ in range(2):
        leader.advance(HOUR)
        leader.look()
        seen.append(int(leader.runs("vm-1")[0].cancel_us > 0))
    assert tuple(seen) == canceled


def test_who_gets_no_backup_because_his_window_ends_it_is_told_of(leader: FiringLeader) -> None:
    """By a notice, as after a failed night, and when the policy is applied again."""
    nightly(leader, "windows: {from: 03:00, to: 04:00}\nwindow_end: cancel")
    leader.advance(15 * HOUR)
    leader.look()
    begin(leader, leader.runs("vm-1")[0], AttemptState.ASSIGNED)
    leader.advance(HOUR)
    leader.look()
    assert leader.states().startswith("CANCELED")

    def ended(transaction: Transaction) -> Sequence[EndedRun]:
        return transaction.hooks.ended_runs(["policy-1"], 0)

    (trouble,) = after_runs([], "policy-1", leader.database.read_now(ended))
    assert (trouble.vm_id, trouble.event) == ("vm-1", Event.FAILED)
    assert trouble.message == "The window of policy nightly ended while it ran."
    policy = leader.database.read_now(lambda transaction: transaction.policies.policies())[0]
    (change,) = leader.database.read_now(lambda transaction: plan_changes(transaction, [policy.spec], leader.wall))
    assert any(
        "ended the last backups of 1 of its VMs before they were done: vm-1." in each for each in change.warnings
    )


def test_a_point_that_waits_for_its_store_is_left_alone_when_its_window_ends(leader: FiringLeader) -> None:
    nightly(leader, "windows: {from: 03:00, to: 04:00}\nwindow_end: cancel")
    leader.advance(15 * HOUR)
    leader.look()
    begin(leader, leader.runs("vm-1")[0], AttemptState.PUBLISHING)
    leader.end(leader.runs("vm-2")[0])
    leader.advance(HOUR)
    before, store = leader.runs(), leader.store
    leader.look(dies_after=0)
    assert leader.runs() == before and leader.store is store


def test_the_windows_of_a_deleted_policy_hold_for_what_it_began(leader: FiringLeader) -> None:
    nightly(leader, "windows: {from: 03:00, to: 04:00}")
    leader.advance(15 * HOUR)
    leader.look()
    policy = leader.database.read_now(lambda transaction: transaction.policies.policies())[0]
    gone = replace(policy, revision=2, deleted_us=leader.clock.now_us())
    leader.database.write_now(lambda transaction: transaction.policies.save_policy(policy, gone))
    leader.advance(2 * HOUR)  # five o'clock, and nobody had a place for it
    leader.look()
    (run,) = leader.runs("vm-1")
    assert (run.not_before_us - leader.clock.now_us()) / 1_000_000 == 22 * HOUR


@pytest.mark.parametrize("state", [RunState.READY, RunState.ACTIVE])
def test_what_somebody_orders_outside_the_window_is_neither_put_off_nor_ended(
    leader: FiringLeader, state: RunState
) -> None:
    nightly(leader, "windows: {from: 20:00, to: 21:00}\nwindow_end: cancel")
    leader.advance(15 * HOUR)
    leader.look()
    orders = Orders(SteadyClock(leader.clock), Timings())
    leader.database.write_now(
        lambda transaction: orders.backup(Change(transaction, set()), ["vm-1"], "main", NOTHING_SAID)
    )
    (run,) = leader.runs("vm-1")
    leader.database.write_now(lambda transaction: transaction.runs.save_run(run, replace(run, state=state)))
    before = leader.runs("vm-1")
    leader.look()
    assert leader.runs("vm-1") == before
    assert before[0].not_before_us == leader.clock.now_us()
