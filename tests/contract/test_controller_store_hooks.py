"""Calls of hooks and troubles of VMs, on every engine."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from seawall.controller.database.database import Database
from seawall.controller.records.hooks import CallState, EndedRun, Event, HookCall, OnFailure, Stage, Trouble
from seawall.controller.records.runs import WINDOW_ENDED, AttemptState, RunState, RunWarning
from seawall.controller.runs.events import Moment
from seawall.controller.runs.ready import assigned
from seawall.controller.store.hooks import DueCall
from seawall.controller.timings import Timings
from support.controller_databases import ENGINES, open_engine
from support.controller_records import NOW, a_failure, a_repository, a_run, a_vm
from support.enrolled_hosts import add_hosts
from support.policies import a_policy

pytestmark = pytest.mark.timeout(120)

BEFORE = HookCall("c-1", "policy-1", "", Stage.BEFORE, "quiesce", 60, "attempt-1", 0, OnFailure.SKIP, created_us=NOW)
AFTER = HookCall("c-0", "policy-1", "", Stage.AFTER, "report", 60, "attempt-1", 1, created_us=NOW)
NOTICE = HookCall("c-2", "policy-1", "", Stage.NOTIFY, "oncall", 60, created_us=NOW + 1, body="{}")


@pytest.fixture(params=ENGINES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """With host alpha, its VM, a policy, and a READY run of it."""
    with open_engine(request.param, request, tmp_path) as made:
        add_hosts(made, "alpha")
        made.write_now(lambda transaction: transaction.repositories.add_repository(a_repository()))
        made.write_now(lambda transaction: transaction.fleet.replace_inventory("alpha", 1, [a_vm("vm-1")]))
        made.write_now(lambda transaction: transaction.policies.add_policy(a_policy()))
        made.write_now(lambda transaction: transaction.runs.add_run(a_run(policy_id="policy-1", nominal_us=NOW)))
        yield made


RUN_ID = a_run().id


def due(store: Database, stage: Stage, now_us: int = NOW) -> list[DueCall]:
    return list(store.read_now(lambda transaction: transaction.hooks.due(stage, now_us, 10)))


def ids(store: Database, stage: Stage, now_us: int = NOW) -> list[str]:
    return [each.call.id for each in due(store, stage, now_us)]


def test_calls_are_due_when_their_attempt_is(store: Database) -> None:
    run = a_run(policy_id="policy-1", nominal_us=NOW)
    active, attempt = assigned(run, "attempt-1", "alpha", 1, Moment(NOW, Timings()))
    store.write_now(lambda transaction: transaction.runs.add_attempt(attempt))
    active = store.write_now(lambda transaction: transaction.runs.save_run(run, active))
    before, after = replace(BEFORE, run_id=RUN_ID), replace(AFTER, run_id=RUN_ID)
    store.write_now(lambda transaction: transaction.hooks.add_calls([before, after, NOTICE]))
    assert store.read_now(lambda transaction: transaction.hooks.calls_of([RUN_ID])) == [before, after]
    assert due(store, Stage.BEFORE) == [DueCall(before, AttemptState.ASSIGNED, touched=False)]
    assert due(store, Stage.AFTER) == [] and ids(store, Stage.NOTIFY) == ["c-2"]

    begun = replace(before, tries=1, begun_us=NOW)
    store.write_now(lambda transaction: transaction.hooks.save_call(before, begun))
    taken = replace(attempt, state=AttemptState.PREPARING, session_id="session")
    taken = store.write_now(lambda transaction: transaction.runs.save_attempt(attempt, taken))
    assert due(store, Stage.BEFORE) == [DueCall(begun, AttemptState.PREPARING, touched=True)]
    assert due(store, Stage.AFTER) == []
    waits = replace(taken, state=AttemptState.PUBLISHING, handed_over=True)
    waits = store.write_now(lambda transaction: transaction.runs.save_attempt(taken, waits))
    assert ids(store, Stage.AFTER) == ["c-0"], "its host is done; the store may be away for days"
    taken = store.write_now(lambda transaction: transaction.runs.save_attempt(waits, replace(taken, version=0)))
    over = replace(taken, state=AttemptState.FAILED, session_id="")
    store.write_now(lambda transaction: transaction.runs.save_attempt(taken, over))
    assert due(store, Stage.AFTER) == [DueCall(after, AttemptState.FAILED, touched=True)], "a hook before it was begun"
    second = replace(attempt, id="attempt-2", no=2)
    store.write_now(lambda transaction: transaction.runs.add_attempt(second))
    next_one = replace(before, id="c-3", attempt_id=second.id)
    store.write_now(lambda transaction: transaction.hooks.add_calls([next_one]))
    assert [each.overtaken for each in due(store, Stage.AFTER)] == [False], "nothing was done for the second yet"
    store.write_now(lambda transaction: transaction.hooks.save_call(next_one, replace(next_one, begun_us=NOW)))
    assert [each.overtaken for each in due(store, Stage.AFTER)] == [True]
    assert store.read_now(lambda transaction: transaction.hooks.due_call("c-0", NOW)) == due(store, Stage.AFTER)[0]
    assert store.read_now(lambda transaction: transaction.hooks.due_call("c-0", -1)) is None


def test_calls_come_one_after_the_other_also_when_the_first_waits_for_its_next_try(store: Database) -> None:
    later = replace(NOTICE, id="c-3")
    others = [replace(NOTICE, id="c-4", hook="another"), replace(NOTICE, id="c-5", policy_id="policy-2")]
    store.write_now(lambda transaction: transaction.hooks.add_calls([NOTICE, later, *others]))
    assert ids(store, Stage.NOTIFY) == ["c-2", "c-4", "c-5"]
    failed = replace(NOTICE, tries=1, not_before_us=NOW + 10)
    store.write_now(lambda transaction: transaction.hooks.save_call(NOTICE, failed))
    assert ids(store, Stage.NOTIFY) == ["c-4", "c-5"], "nobody is told that it is over before that it began"
    done = replace(failed, state=CallState.DONE)
    store.write_now(lambda transaction: transaction.hooks.save_call(failed, done))
    assert ids(store, Stage.NOTIFY) == ["c-3", "c-4", "c-5"]


def test_what_waits_is_looked_at_once(store: Database) -> None:
    """Ten thousand calls: not once for each of the others. Hosts wait meanwhile."""
    each_waits = [
        replace(BEFORE, id=f"{attempt}-{position}", run_id=f"{attempt}", attempt_id=f"{attempt}", position=position)
        for attempt in range(5000)
        for position in range(2)
    ]
    notices = [replace(NOTICE, id=f"n-{number}") for number in range(2000)]
    store.write_now(lambda transaction: transaction.hooks.add_calls([*each_waits, *notices]))
    begun = time.perf_counter()
    firsts = store.read_now(lambda transaction: transaction.hooks.due(Stage.BEFORE, NOW, 9999))
    assert len(firsts) == 5000 and {each.call.position for each in firsts} == {0}
    assert ids(store, Stage.NOTIFY, NOW + 1) == ["n-0"]
    assert time.perf_counter() - begun < 5, "0.1 s"


def test_runs_that_ended(store: Database) -> None:
    run = a_run(policy_id="policy-1", nominal_us=NOW)
    over = replace(run, state=RunState.FAILED, ended_us=NOW + 5, failure=a_failure())
    store.write_now(lambda transaction: transaction.runs.save_run(run, over))
    ended = store.read_now(lambda transaction: transaction.hooks.ended_runs(["policy-1"], NOW + 5))
    assert ended == [EndedRun(RUN_ID, "policy-1", run.vm_id, RunState.FAILED, NOW + 5, a_failure().message)]
    assert store.read_now(lambda transaction: transaction.hooks.ended_runs(["policy-1"], NOW + 6)) == []
    told = (RunWarning("OTHER", "o"), RunWarning(WINDOW_ENDED, "The window ended."))
    cut = a_run(2, vm_id="vm-2", policy_id="policy-1", state=RunState.CANCELED, ended_us=NOW + 6, warnings=told)
    store.write_now(lambda transaction: transaction.runs.add_run(cut))
    (ended_by_window,) = store.read_now(lambda transaction: transaction.hooks.ended_runs(["policy-1"], NOW + 6))
    assert (ended_by_window.message, ended_by_window.cut_off) == ("The window ended.", True)
    first = store.read_now(lambda transaction: transaction.hooks.first_due_us("policy-1", [run.vm_id, "vm-9"]))
    assert first == {run.vm_id: NOW}


def test_a_call_is_saved_by_whoever_saw_it_as_it_is(store: Database) -> None:
    store.write_now(lambda transaction: transaction.hooks.add_calls([NOTICE]))
    begun = replace(NOTICE, tries=1, begun_us=NOW)
    assert store.write_now(lambda transaction: transaction.hooks.save_call(NOTICE, begun))
    assert not store.write_now(lambda transaction: transaction.hooks.save_call(NOTICE, begun))
    later = replace(begun, not_before_us=NOW + 10)
    assert store.write_now(lambda transaction: transaction.hooks.save_call(begun, later))
    assert (ids(store, Stage.NOTIFY), ids(store, Stage.NOTIFY, NOW + 10)) == ([], ["c-2"])
    failed = replace(later, state=CallState.FAILED, ended_us=NOW + 20, outcome="It exited with 1.")
    assert store.write_now(lambda transaction: transaction.hooks.save_call(later, failed))
    assert store.read_now(lambda transaction: transaction.hooks.call("c-2")) == failed
    assert store.read_now(lambda transaction: transaction.hooks.failed(NOW)) == {"policy-1": 1}
    assert store.read_now(lambda transaction: transaction.hooks.last_failed(NOW)) == {"oncall": failed}
    refused = replace(failed, id="c-9", stage=Stage.BEFORE, on_failure=OnFailure.SKIP)
    store.write_now(lambda transaction: transaction.hooks.add_calls([refused]))
    assert store.read_now(lambda transaction: transaction.hooks.failed(NOW)) == {"policy-1": 1}, "it said: not now"
    assert store.write_now(lambda transaction: transaction.hooks.drop_calls(NOW + 20, 9)) == 0
    assert [store.write_now(lambda transaction: transaction.hooks.drop_calls(NOW + 21, 1)) for _ in range(3)] == [
        1,
        1,
        0,
    ]


def test_troubles_come_and_go(store: Database) -> None:
    failed = Trouble("policy-1", "vm-1", Event.FAILED, NOW, RUN_ID, "It broke.")
    late = Trouble("policy-1", "vm-1", Event.RPO, NOW)
    for troubles in ([failed, late], [], [replace(failed, message="Again.")]):
        store.write_now(lambda transaction, some=troubles: transaction.hooks.put_troubles(some))  # type: ignore[misc]
    known = store.read_now(lambda transaction: transaction.hooks.troubles("policy-1"))
    assert known == [replace(failed, message="Again."), late]
    store.write_now(lambda transaction: transaction.hooks.take_troubles([failed]))
    assert store.read_now(lambda transaction: transaction.hooks.troubles("policy-1")) == [late]
    store.write_now(lambda transaction: transaction.hooks.drop_troubles("policy-1"))
    assert store.read_now(lambda transaction: transaction.hooks.troubles("policy-1")) == []
