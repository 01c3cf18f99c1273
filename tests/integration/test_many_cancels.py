"""Many runs canceled by one command: planned by a filter, then by id in slices; broken off and asked again; told one by one or counted."""

import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest

from seawall.api.v1 import operator_pb2, resources_pb2
from seawall.controller.errors import Unavailable
from seawall.controller.records.runs import EVERY_RUN, RunState
from seawall.controller.services.many_cancels import MOST_RUNS, on_host
from seawall.controller.services.orders import Orders
from support.cli_command import Cli
from support.controller_agent import ScriptedAgent, enrolled
from support.controller_application import Controller, configured, reason_of, running
from support.controller_records import a_restore, a_run, an_execution
from support.enrolled_hosts import add_hosts
from support.many_vms import database_of, vm_id, with_vms
from support.policies import a_policy

Request = operator_pb2.CancelRunsRequest
CANCELED, OVER = operator_pb2.CANCEL_OUTCOME_CANCELED, operator_pb2.CANCEL_OUTCOME_OVER
TOLD: dict[str, Any] = {"plan_only": False, "canceled": [], "stopping": [], "over": [], "under_way": []}
SIZE = 3 * 1024 * 1024


@pytest.fixture
def controller(tmp_path: Path) -> Iterator[Controller]:
    with running(configured(tmp_path / "state")) as started:
        started.add_folder(tmp_path / "bucket")
        add_hosts(database_of(started), "alpha", "beta")
        yield started


@pytest.fixture
def seawall(controller: Controller, tmp_path: Path) -> Cli:
    return Cli(tmp_path, controller.config.operator_toml)


def ordered(controller: Controller, vms: list[str]) -> list[str]:
    request = operator_pb2.StartBackupRequest(request_id=str(uuid.uuid4()), vms=vms, ids_only=True)
    return list(controller.backups.StartBackup(request, timeout=60).run_ids)


def fire(controller: Controller, run_ids: list[str]) -> None:
    """The runs become a policy's."""

    def closure(transaction: Any) -> None:
        (main,) = transaction.repositories.repositories()
        transaction.policies.add_policy(a_policy("paused: true", repository_id=main.id))
        for run in transaction.runs.runs_of(run_ids):
            transaction.runs.save_run(run, replace(run, policy_id="policy-1", nominal_us=1))

    database_of(controller).write_now(closure)


def states(controller: Controller) -> dict[str, RunState]:
    found = database_of(controller).read_now(lambda transaction: transaction.runs.runs(EVERY_RUN, limit=100_000))
    return {run.id: run.state for run in found}


def cancel(controller: Controller, request_id: str = "", **said: Any) -> operator_pb2.CancelRunsResponse:
    return controller.backups.CancelRuns(Request(request_id=request_id or str(uuid.uuid4()), **said), timeout=60)


def under_way(controller: Controller) -> tuple[ScriptedAgent, str]:
    """A host that works on the run of its only VM, db-1."""
    gamma = enrolled(controller, "gamma")
    gamma.inventory({"vda": SIZE})
    run = controller.start_backup("db-1")
    gamma.accept(gamma.next_assignment().attempt)
    return gamma, run.run_id


def test_what_a_filter_fits_is_canceled_and_nothing_else(controller: Controller, seawall: Cli) -> None:
    here, there = with_vms(controller, 3), with_vms(controller, 2, host="beta", first=10)
    of_alpha, of_beta = ordered(controller, here), ordered(controller, there)
    fire(controller, of_alpha[:2])
    _, active = under_way(controller)

    def planned(*words: str) -> set[str]:
        document = seawall("run", "cancel", *words, "--dry-run", "--json").json
        assert document["plan_only"]
        assert {run["run_id"] for run in document["runs"]} == {*document["canceled"], *document["stopping"]}
        return {*document["canceled"], *document["stopping"]}

    assert planned("--policy", "nightly") == set(of_alpha[:2])
    assert planned("--policy", "nightly", "--vm", "vm1") == {of_alpha[1]}
    assert planned("--vm", "vm2") == {of_alpha[2]}
    assert planned("--host", "beta") == set(of_beta)
    assert planned("--host", "gamma") == {active}
    assert planned("--host", "gamma", "--waiting") == set()
    assert planned("--all", "--waiting") == {*of_alpha, *of_beta}
    assert planned("--all") == {*of_alpha, *of_beta, active}
    assert set(states(controller).values()) == {RunState.READY, RunState.ACTIVE}, "a plan cancels nothing"

    widened = seawall("run", "cancel", "--waiting", "--yes", "--json")
    assert (widened.code, widened.reason) == (2, "USAGE"), "names that a script's empty variable did not give"
    refused = seawall("run", "cancel", "--all", "--waiting", "--json")
    assert (refused.code, refused.reason) == (2, "NOT_CONFIRMED")
    done = seawall("run", "cancel", "--policy", "nightly", "--yes", "--json")
    assert (done.code, set(done.json["canceled"]), done.json["stopping"]) == (0, set(of_alpha[:2]), [])
    rest = seawall("run", "cancel", "--all", "--yes", "--json").json
    assert (set(rest["canceled"]), rest["stopping"]) == ({of_alpha[2], *of_beta}, [active])
    assert states(controller)[active] is RunState.ACTIVE, "until its worker says so"
    assert {state for run_id, state in states(controller).items() if run_id != active} == {RunState.CANCELED}
    nothing = seawall("run", "cancel", "--policy", "nightly", "--yes")
    assert (nothing.code, "No open runs there." in nothing.err) == (0, True)


def test_a_terminal_is_asked_and_may_say_no(controller: Controller, seawall: Cli) -> None:
    ordered(controller, with_vms(controller, 60))
    with seawall.terminal("run", "cancel", "--all") as terminal:
        shown = terminal.wait_for(r"Cancel 60 runs\?")
        assert "… and 10 more." in shown
        assert "60 runs to cancel: 0 under way, 60 waiting." in shown
        terminal.answer("n\n")
        assert terminal.end() == 1
        assert "Nothing was canceled." in terminal.text
    assert set(states(controller).values()) == {RunState.READY}
    with seawall.terminal("run", "cancel", "--all") as terminal:
        terminal.wait_for(r"Cancel 60 runs\?")
        terminal.answer("y\n")
        assert terminal.end() == 0
        assert "60 runs canceled." in terminal.text
    assert set(states(controller).values()) == {RunState.CANCELED}


def test_runs_that_are_named_need_no_question(controller: Controller, seawall: Cli) -> None:
    ids = ordered(controller, with_vms(controller, 3))
    _, active = under_way(controller)
    unknown = seawall("run", "cancel", ids[0], "0192f3c1-ffff", "--json")
    assert (unknown.code, unknown.reason) == (4, "RUN_UNKNOWN")
    assert RunState.CANCELED not in states(controller).values(), "nothing happens where one is unknown"
    one = seawall("run", "cancel", ids[0], "--json")
    assert (one.code, one.json) == (0, TOLD | {"canceled": [ids[0]]})
    again = seawall("run", "cancel", ids[0], "--json")
    assert (again.code, again.json) == (5, TOLD | {"over": [ids[0]]}), "the shape of several"
    planned = seawall("run", "cancel", *ids, active, "--waiting", "--plan", "--json").json
    assert (planned["over"], planned["canceled"], planned["under_way"]) == ([ids[0]], ids[1:], [active])
    several = seawall("run", "cancel", ids[0], ids[1], active, "--waiting")
    assert several.code == 5, "one of them was over"
    assert several.out.splitlines() == [
        f"Run {ids[1]} is canceled.",
        f"Run {ids[0]} is over already.",
        f"Run {active} is under way and left alone.",
    ]
    both = seawall("run", "cancel", ids[2], active)
    assert (both.code, both.out.splitlines()) == (
        0,
        [f"Run {ids[2]} is canceled.", f"Run {active} will be canceled."],
    )


def test_what_broke_off_goes_on_where_it_stopped(controller: Controller, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what was canceled in the meantime is not told as over: the answer is the order's own."""
    ids = ordered(controller, with_vms(controller, 450))
    whole, sizes = Orders.cancel_those_that_can, list[int]()

    def breaking(self: Orders, change: Any, runs: Any, *, waiting_only: bool) -> Any:
        if sizes == [200, 200]:
            sizes.append(0)
            raise Unavailable("DATABASE", "away")
        sizes.append(len(runs))
        return whole(self, change, runs, waiting_only=waiting_only)

    monkeypatch.setattr(Orders, "cancel_those_that_can", breaking)
    with pytest.raises(grpc.RpcError) as raised:
        cancel(controller, "the order", runs=ids)
    assert reason_of(raised.value) == "DATABASE"
    answer = cancel(controller, "the order", runs=ids)
    assert sizes == [200, 200, 0, 50], "no transaction has more than a slice, none is repeated"
    assert [(each.run_id, each.outcome) for each in answer.outcomes] == [(run_id, CANCELED) for run_id in ids]
    assert {each.outcome for each in cancel(controller, runs=ids).outcomes} == {OVER}
    twice = cancel(controller, runs=[*ordered(controller, [vm_id(0)])] * 2)
    assert [each.outcome for each in twice.outcomes] == [CANCELED]


def test_a_run_that_is_named_twice_is_told_once(
    controller: Controller, seawall: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its id and by the beginning of it; also where a transaction between them ended it."""
    monkeypatch.setattr("seawall.controller.services.many_cancels.SLICE", 1)
    (one,) = ordered(controller, with_vms(controller, 1))
    planned = controller.backups.CancelRuns(Request(runs=[one, one[:-1]], plan_only=True))
    assert [run.run_id for run in planned.runs] == [one]
    done = seawall("run", "cancel", one, one[:-1], "--json")
    assert (done.code, done.json) == (0, TOLD | {"canceled": [one]})


def test_a_run_that_was_forgotten_meanwhile_was_over(controller: Controller, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was there when the order began, and only what is over is forgotten."""
    ids = ordered(controller, with_vms(controller, 203))
    whole, calls = Orders.cancel_those_that_can, list[int]()

    def breaking(self: Orders, change: Any, runs: Any, *, waiting_only: bool) -> Any:
        calls.append(len(runs))
        if len(calls) == 2:
            raise Unavailable("DATABASE", "away")
        return whole(self, change, runs, waiting_only=waiting_only)

    monkeypatch.setattr(Orders, "cancel_those_that_can", breaking)
    with pytest.raises(grpc.RpcError):
        cancel(controller, "the order", runs=ids)
    assert cancel(controller, runs=ids[201:202]).outcomes[0].outcome == CANCELED
    database_of(controller).write_now(lambda transaction: transaction.runs.drop_runs([ids[0], ids[201]]))
    answer = cancel(controller, "the order", runs=ids)
    assert [each.run_id for each in answer.outcomes] == ids
    assert [each.run_id for each in answer.outcomes if each.outcome != CANCELED] == [ids[201]]
    assert answer.outcomes[201].outcome == OVER
    with pytest.raises(grpc.RpcError) as raised:
        cancel(controller, runs=ids)
    assert reason_of(raised.value) == "RUN_UNKNOWN", "an order of its own begins with what there is"


def test_runs_of_a_deleted_policy_are_found_by_its_name(controller: Controller, seawall: Cli) -> None:
    ids = ordered(controller, with_vms(controller, 2))
    fire(controller, ids[:1])
    assert seawall("policy", "delete", "nightly", "--yes").code == 0
    assert seawall("policy", "show", "nightly").code == 4
    assert [run["run_id"] for run in seawall("run", "list", "--policy", "nightly", "--json").json["runs"]] == ids[:1]
    done = seawall("run", "cancel", "--policy", "nightly", "--yes", "--json")
    assert (done.code, done.json) == (0, TOLD | {"canceled": ids[:1]})
    database_of(controller).write_now(lambda transaction: transaction.runs.drop_runs(ids[:1]))
    gone = seawall("run", "list", "--policy", "nightly", "--json")
    assert (gone.code, gone.reason) == (4, "POLICY_UNKNOWN")


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({}, "NO_RUNS"),
        ({"all_runs": True}, "NOT_PLANNED"),
        ({"all_runs": True, "vm": "vm1", "plan_only": True}, "BAD_FILTER"),
        ({"runs": ["0192f3c1"], "policy": "nightly"}, "BAD_FILTER"),
        ({"runs": ["0192f3c1"] * (MOST_RUNS + 1)}, "TOO_MANY_RUNS"),
        ({"host": "nowhere", "plan_only": True}, "HOST_UNKNOWN"),
    ],
)
def test_an_order_that_says_too_little_or_too_much_cancels_nothing(
    controller: Controller, said: dict[str, Any], reason: str
) -> None:
    ordered(controller, with_vms(controller, 2))
    with pytest.raises(grpc.RpcError) as raised:
        cancel(controller, **said)
    assert reason_of(raised.value) == reason
    assert set(states(controller).values()) == {RunState.READY}


def test_a_plan_comes_in_pages(controller: Controller) -> None:
    """Also where none of a page's runs fits the host."""
    ids = ordered(controller, with_vms(controller, 3))
    with_vms(controller, 9, host="beta", first=10)
    ordered(controller, [vm_id(n) for n in range(10, 19)])
    first = cancel(controller, host="alpha", plan_only=True, page_size=4)
    assert (list(first.runs), bool(first.next_page_token)) == ([], True)
    found, token = list[resources_pb2.Run](), first.next_page_token
    while token:
        page = cancel(controller, host="alpha", plan_only=True, page_size=4, page_token=token)
        found, token = [*found, *page.runs], page.next_page_token
    assert {run.run_id for run in found} == set(ids)


def test_a_thousand_and_more_by_one_command(controller: Controller, seawall: Cli) -> None:
    ordered(controller, with_vms(controller, 1_050))
    done = seawall("run", "cancel", "--all", "--waiting", "--yes")
    assert (done.code, "1050 runs canceled." in done.out) == (0, True)
    assert "1000 of 1050 runs done." in done.err
    assert set(states(controller).values()) == {RunState.CANCELED}


def test_a_restore_waits_for_its_target_and_an_attempt_is_where_it_runs(controller: Controller) -> None:
    """Whatever host reports the VM."""
    with_vms(controller, 1)
    restore, backup = a_restore(2, "beta", vm_id=vm_id(0)), a_run(3, vm_id=vm_id(0))
    moved = an_execution(vm_id=vm_id(0))
    attempt = replace(moved.attempt, host_id="beta")

    def closure(transaction: Any) -> list[list[str]]:
        transaction.runs.add_run(replace(moved.run, repository_id=transaction.repositories.repositories()[0].id))
        transaction.runs.add_attempt(attempt)
        runs = [restore, backup, moved.run]
        return [[run.id for run in on_host(transaction, runs, host)] for host in ("alpha", "beta")]

    assert database_of(controller).write_now(closure) == [[backup.id], [restore.id, moved.run.id]]
