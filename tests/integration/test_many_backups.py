"""Thousands of backups by one order: in slices, so that others get their turn; broken off and asked again; told within one answer."""

import json
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest

from seawall.api.v1 import limits_pb2, limits_pb2_grpc, operator_pb2, resources_pb2
from seawall.controller.errors import Unavailable
from seawall.controller.records.answers import Asked
from seawall.controller.records.runs import EVERY_RUN, Run
from seawall.controller.runs import ready
from seawall.controller.runs.events import Moment
from seawall.controller.scheduler.executions import Change
from seawall.controller.services import many_backups
from seawall.controller.services.once import asked_by
from seawall.controller.services.orders import Orders
from seawall.controller.store.transaction import Transaction
from seawall.controller.timings import Timings
from support.cli_command import Cli
from support.controller_application import Controller, configured, reason_of, running
from support.controller_records import NOW
from support.enrolled_hosts import add_hosts
from support.many_vms import database_of, vm_id, with_vms
from support.policies import a_policy

Request = operator_pb2.StartBackupRequest


@pytest.fixture
def controller(tmp_path: Path) -> Iterator[Controller]:
    with running(configured(tmp_path / "state")) as started:
        started.add_folder(tmp_path / "bucket")
        add_hosts(database_of(started), "alpha")
        yield started


def start(controller: Controller, request_id: str = "", **said: Any) -> operator_pb2.StartBackupResponse:
    request = Request(request_id=request_id or str(uuid.uuid4()), **said)
    return controller.backups.StartBackup(request, timeout=60)


def runs(controller: Controller) -> list[Run]:
    return list(database_of(controller).read_now(lambda transaction: transaction.runs.runs(EVERY_RUN, limit=100_000)))


def cancel_all(controller: Controller) -> None:
    moment = Moment(NOW, Timings())

    def closure(transaction: Transaction) -> None:
        change = Change(transaction)
        for run in transaction.runs.runs(EVERY_RUN, limit=100_000):
            if not run.state.over:
                change.save_ready(run, ready.canceled(run, moment))

    database_of(controller).write_now(closure)


@pytest.fixture
def transactions(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many runs each transaction made."""
    made: list[int] = []
    add_runs = Orders._ordered

    def counting(self: Orders, *words: Any) -> list[str]:
        run_ids = add_runs(self, *words)
        made.append(len(run_ids))
        return run_ids

    monkeypatch.setattr(Orders, "_ordered", counting)
    return made


@pytest.fixture
def break_off(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """The database goes away before the slice of this number, once."""

    def after(number: int) -> None:
        whole, calls = Orders.backup_those_that_can, iter(range(1_000))

        def breaking(self: Orders, *words: Any) -> Any:
            if next(calls) == number:
                raise Unavailable("DATABASE", "away")
            return whole(self, *words)

        monkeypatch.setattr(Orders, "backup_those_that_can", breaking)

    return after


def test_no_transaction_has_more_than_a_slice(controller: Controller, transactions: list[int]) -> None:
    """Whoever else writes waits for one of them at most: the leader's lease is renewed by the same writer."""
    ids = with_vms(controller, 450)
    answer = start(controller, vms=ids)
    assert transactions == [200, 200, 50]
    assert [run.vm_id for run in answer.runs] == ids
    assert [run.run_id for run in answer.runs] == list(answer.run_ids)
    assert len(runs(controller)) == 450
    assert start(controller, vms=ids).run_ids == answer.run_ids, "open runs come back, no second ones"


def test_others_get_their_turn_between_slices(controller: Controller, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change that comes while the second slice is made is done before the last one."""
    monkeypatch.setattr(many_backups, "SLICE", 5)
    ids = with_vms(controller, 200)
    limits = limits_pb2_grpc.LimitServiceStub(controller.channel)
    whole, events = Orders.backup_those_that_can, list[str]()
    changed = threading.Event()

    def change() -> None:
        limits.SetLimit(limits_pb2.SetLimitRequest(request_id="other", scope="host", transferring=7), timeout=30)
        events.append("changed")
        changed.set()

    def noting(self: Orders, *words: Any) -> Any:
        if not events:
            threading.Thread(target=change).start()
        events.append("slice")
        return whole(self, *words)

    monkeypatch.setattr(Orders, "backup_those_that_can", noting)
    start(controller, vms=ids)
    assert changed.wait(10)
    assert events.index("changed") < len(events) - 1


def test_what_broke_off_goes_on_where_it_stopped(
    controller: Controller, transactions: list[int], break_off: Callable[[int], None]
) -> None:
    """Runs of the first slices that are over by then are not made again."""
    ids = with_vms(controller, 450)
    break_off(2)
    with pytest.raises(grpc.RpcError) as raised:
        start(controller, "the order", vms=ids)
    assert reason_of(raised.value) == "DATABASE"
    assert transactions == [200, 200]
    cancel_all(controller)
    answer = start(controller, "the order", vms=ids)
    assert transactions == [200, 200, 50]
    assert [run.vm_id for run in answer.runs] == ids
    assert len(runs(controller)) == len(set(answer.run_ids)) == 450
    assert start(controller, "the order", vms=ids).run_ids == answer.run_ids
    with pytest.raises(grpc.RpcError) as raised:
        start(controller, "the order", vms=ids[:-1])
    assert reason_of(raised.value) == "REQUEST_ID_REUSED"


def test_a_name_that_is_wrong_orders_nothing(controller: Controller) -> None:
    ids = with_vms(controller, 450, bare=(420,))
    for wrong, reason in (([*ids[:400], "nobody"], "VM_UNKNOWN"), (ids, "NO_DISKS")):
        with pytest.raises(grpc.RpcError) as raised:
            start(controller, vms=wrong)
        assert reason_of(raised.value) == reason
    with pytest.raises(grpc.RpcError) as raised:
        start(controller, vms=ids[:400], exclude_disks=["vdz"])
    assert reason_of(raised.value) == "DISK_UNKNOWN"
    assert runs(controller) == []


def test_the_answer_fits_however_many_they_are(controller: Controller, monkeypatch: pytest.MonkeyPatch) -> None:
    """All ids, and as many runs as there is room for beside them."""
    monkeypatch.setattr(many_backups, "LARGEST_BYTES", 100_000)
    ids = with_vms(controller, 450)
    answer = start(controller, vms=ids)
    assert len(answer.run_ids) == 450
    assert 50 < len(answer.runs) < 450
    assert answer.ByteSize() < 110_000
    assert not start(controller, vms=ids, ids_only=True).runs
    with pytest.raises(grpc.RpcError) as raised:
        start(controller, vms=["x"] * (many_backups.MOST_VMS + 1))
    assert reason_of(raised.value) == "TOO_MANY_VMS"


def test_an_answer_of_a_controller_without_slices_is_the_whole(controller: Controller) -> None:
    """It made all runs in one transaction, and its successor is asked again."""
    ids = with_vms(controller, 450)
    asked = asked_by(Request(request_id="older", vms=ids))
    told = [start(controller, vms=some).run_ids for some in (ids[:200], ids[200:400], ids[400:])]
    run_ids = [run_id for some in told for run_id in some]
    cancel_all(controller)
    older = Asked(asked.method, asked.request_id)
    database_of(controller).write_now(
        lambda transaction: transaction.answers.remember("operator", older, json.dumps(run_ids), 1 << 62)
    )
    assert list(start(controller, "older", vms=ids).run_ids) == run_ids
    assert len(runs(controller)) == 450


def test_all_vms_come_in_pages_and_who_cannot_be_backed_up_is_told(controller: Controller) -> None:
    with_vms(controller, 450, bare=(7, 300))
    said = resources_pb2.VmSettings(ignored=True)
    controller.backups.ProtectVm(operator_pb2.ProtectVmRequest(request_id="i", vm="vm5", settings=said))
    first = start(controller, "first", all_vms=True, page_size=250)
    assert (len(first.run_ids), [each.reason for each in first.skipped]) == (248, ["NO_DISKS"])
    assert first.skipped[0].vm == vm_id(7)
    rest = start(controller, all_vms=True, page_size=250, page_token=first.next_page_token)
    assert (len(rest.run_ids), rest.next_page_token, rest.skipped_total) == (199, "", 1)
    again = start(controller, "first", all_vms=True, page_size=250)
    assert (again.run_ids, again.skipped, again.next_page_token) == (
        first.run_ids,
        first.skipped,
        first.next_page_token,
    )
    assert {run.vm_name for run in runs(controller)} == {f"vm{n}" for n in range(450)} - {"vm5", "vm7", "vm300"}
    assert start(controller, all_vms=True).run_ids == [*first.run_ids, *rest.run_ids]
    wrongs: list[tuple[dict[str, Any], str]] = [
        ({"vms": ["vm1"]}, "BAD_FILTER"),
        ({"exclude_disks": ["vdz"]}, "DISK_UNKNOWN"),
    ]
    for wrong, reason in wrongs:
        with pytest.raises(grpc.RpcError) as raised:
            start(controller, all_vms=True, **wrong)
        assert reason_of(raised.value) == reason


def test_the_command_orders_all_and_waits_for_more_runs_than_one_request_names(
    controller: Controller, tmp_path: Path
) -> None:
    with_vms(controller, 1_050, bare=(3,))
    seawall = Cli(tmp_path, controller.config.operator_toml)
    ordered = seawall("backup", "--all")
    assert ordered.code == 0
    assert "1049 backups ordered." in ordered.out
    assert "VM vm3 has no disk to back up" in ordered.out
    assert "999 backups ordered, and more to come" in ordered.err
    again = seawall("backup", "--all", "--json").json
    ordered_ids = again["run_ids"]
    assert (len(ordered_ids), again["skipped_total"]) == (1_049, 1)
    with seawall.background("backup", "--all", "--wait") as process:
        assert process.stderr is not None
        while "of 1049 runs 0 are over, 0 under way, 1049 waiting" not in (line := process.stderr.readline()):
            assert line, "it ended"
        cancel_all(controller)
        out, _ = process.communicate(timeout=50)
    assert process.returncode == 8
    assert "1049 runs: 1049 canceled" in out
    watched = seawall("run", "watch", *ordered_ids[:201])
    assert (watched.code, watched.out.splitlines()[0]) == (8, "201 runs: 201 canceled")


def test_a_group_is_ordered_whole_or_not_at_all(controller: Controller) -> None:
    """A member that is being backed up has an instant of its own: nothing is made of the others."""
    with_vms(controller, 3)
    (opened,) = start(controller, vms=["vm1"]).runs
    with pytest.raises(grpc.RpcError) as raised:
        start(controller, vms=["vm0", "vm1", "vm2"], together=True)
    assert reason_of(raised.value) in ("RUN_OPEN", "NO_ROOM")
    assert [run.id for run in runs(controller)] == [opened.run_id]
    group = start(controller, vms=["vm0", "vm2"], together=True)
    chosen = [next(line for line in run.settings if line.startswith("At one instant: vm0, vm2")) for run in group.runs]
    assert len(chosen) == 2


def test_a_group_passes_what_policies_have_made_and_nobody_asked_for(controller: Controller) -> None:
    """A policy's run that waits blocks nobody: it is not taken for the group's, and begins when that is over."""
    with_vms(controller, 3)
    scheduled = start(controller, vms=["vm0", "vm1"]).run_ids

    def fire(transaction: Transaction) -> None:
        (main,) = transaction.repositories.repositories()
        transaction.policies.add_policy(a_policy("paused: true", repository_id=main.id))
        for run in transaction.runs.runs_of(scheduled):
            transaction.runs.save_run(run, replace(run, policy_id="policy-1", nominal_us=1))

    database_of(controller).write_now(fire)
    group = start(controller, vms=["vm0", "vm2"], together=True)
    assert not set(group.run_ids) & set(scheduled)
    assert len(runs(controller)) == 4
    start(controller, vms=["vm1"])  # asks for the policy's
    for words in (["vm0", "vm2"], ["vm1", "vm2"]):
        with pytest.raises(grpc.RpcError) as raised:
            start(controller, vms=words, together=True)
        assert reason_of(raised.value) == "RUN_OPEN"
