"""Firing through whole lives of leaders (Hypothesis): whoever leads, whenever it dies, each time is fired for once."""

import tempfile
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.controller.policies.compiled import Compiled
from seawall.controller.records.runs import RunState
from support.controller_clock import ManualClock
from support.controller_records import a_run
from support.policies import a_policy, fleet_store
from support.policy_firing import BEGIN_US, FiringLeader, nightly

actions = st.lists(
    st.one_of(
        st.tuples(st.just("advance"), st.sampled_from((60, 600, 3600, 5 * 3600, 30 * 3600))),
        st.tuples(st.just("look"), st.none() | st.integers(0, 6)),
        st.tuples(st.just("end"), st.integers(0, 5)),
        st.tuples(st.just("order"), st.integers(1, 3)),
        st.tuples(st.just("begin"), st.integers(1, 3)),
        st.tuples(st.just("jump"), st.sampled_from((-7200, 7200))),
    ),
    max_size=25,
)


@given(actions)
@settings(max_examples=5, deadline=None)
def test_whoever_leads_and_dies_each_time_fires_once(steps: list[tuple[str, int | None]]) -> None:
    live_through(steps)


@pytest.mark.slow
@given(actions)
@settings(max_examples=150, deadline=None)
def test_whoever_leads_and_dies_many_times(steps: list[tuple[str, int | None]]) -> None:
    live_through(steps)


def live_through(steps: list[tuple[str, int | None]]) -> None:
    """Two policies of three VMs; runs end, people order backups, the clock jumps, leaders die between any two writes."""
    vm_ids = ["vm-1", "vm-2", "vm-3"]
    with tempfile.TemporaryDirectory() as folder, fleet_store(Path(folder), vm_ids) as database:
        leader = FiringLeader(database, ManualClock(BEGIN_US), ManualClock(BEGIN_US))
        hourly = replace(a_policy().spec, cron="0 * * * *", name="hourly")
        nightly(leader)
        nightly(leader, spec=hourly, policy_id="policy-2")
        for number, (what, value) in enumerate(steps):
            _act(leader, number, what, value)
            _check(leader)
        leader.end_all()
        for _ in range(4):  # each look lets one of those begin that waited for each other
            leader.look()
            leader.end_all()
        _check_caught_up(leader)


def _act(leader: FiringLeader, number: int, what: str, value: int | None) -> None:
    if what == "look":
        leader.look(dies_after=value)
    elif what == "begin":
        _begin_one(leader, f"vm-{value}")
    elif what == "jump":
        leader.wall.advance(value or 0)
    elif what == "advance":
        leader.advance(value or 0)
    elif what == "order":
        vm_id = f"vm-{value}"
        if not any(run.vm_id == vm_id and not run.state.over for run in leader.runs()):
            run = a_run(number, vm_id=vm_id, repository_id="repository")
            leader.database.write_now(lambda transaction: transaction.runs.add_run(run))
    else:
        opened = [run for run in leader.runs() if not run.state.over]
        if opened:
            leader.end(opened[(value or 0) % len(opened)])


def _begin_one(leader: FiringLeader, vm_id: str) -> None:
    """As placement does: one after the other."""
    opened = [run for run in leader.runs(vm_id) if not run.state.over]
    if opened and all(run.state is RunState.READY for run in opened):
        begun = replace(opened[0], state=RunState.ACTIVE)
        leader.database.write_now(lambda transaction: transaction.runs.save_run(opened[0], begun))


def _check(leader: FiringLeader) -> None:
    runs = leader.runs()
    fired = Counter((run.policy_id, run.vm_id, run.nominal_us) for run in runs if run.policy_id)
    assert not [each for each, count in fired.items() if count > 1]
    opened = Counter((run.vm_id, run.policy_id) for run in runs if not run.state.over)
    assert not [each for each, count in opened.items() if count > 1]


def _check_caught_up(leader: FiringLeader) -> None:
    """Nothing waits any more, and every time that is over was dealt with: its VMs have a run of it, or their skip."""
    now = datetime.fromtimestamp(leader.wall.now_us() / 1_000_000, UTC)
    assert leader.database.read_now(lambda transaction: transaction.policies.due()) == []
    for policy in leader.database.read_now(lambda transaction: transaction.policies.policies()):
        calendar = Compiled.of(policy).rules.calendar
        latest = calendar.latest(now, datetime.fromtimestamp(BEGIN_US // 1_000_000, UTC))
        if latest is not None:
            assert policy.fired_us == round(latest.timestamp() * 1_000_000)
        runs = [run for run in leader.runs() if run.policy_id == policy.id and run.state is not RunState.SKIPPED]
        assert all(run.state is RunState.SUCCEEDED for run in runs)
