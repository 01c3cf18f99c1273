"""A VM that moved to another host: whether its points go with it, what speaks against it, and what an operator can say."""

import json
import random
import shutil
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import grpc
import pytest

from seawall.api.v1 import agent_pb2, operator_pb2, resources_pb2
from seawall.controller.records.maintenance import JobKind, JobState
from support.cli_command import Cli
from support.collecting import TestedVm, awaited, report_vms, restored, started
from support.controller_agent import ScriptedAgent, enrolled
from support.controller_application import BRISK, Controller, configured, running
from support.memory_disks import ModelDisk

MIB = 1 << 20
SIZE = 8 * MIB
VM_ID = "00000001-1111-4111-8111-111111111111"
WEB = {VM_ID: ("web", SIZE)}
QUICK = replace(BRISK, move_settle_seconds=0.3)


@pytest.fixture
def controller(tmp_path: Path) -> Iterator[Controller]:
    with running(configured(tmp_path / "state"), QUICK) as made:
        made.add_folder(tmp_path / "bucket")
        yield made


@pytest.fixture
def hosts(controller: Controller) -> tuple[ScriptedAgent, ScriptedAgent, TestedVm]:
    """Host alpha with VM web and its first point of 6 MiB, and host beta."""
    alpha, beta = enrolled(controller, "alpha"), enrolled(controller, "beta")
    disk = ModelDisk(SIZE)
    disk.write(0, random.Random(1).randbytes(6 * MIB))
    report_vms(alpha, WEB)
    vm = TestedVm(alpha, VM_ID, "web", disk)
    assert uploaded_bytes(controller, vm.backup(controller)) >= 6 * MIB
    disk.forget_changes()
    return alpha, beta, vm


def uploaded_bytes(controller: Controller, point_id: str) -> int:
    point = controller.backups.GetPoint(operator_pb2.GetPointRequest(point=point_id)).point
    return int(point.disks[0].new_bytes)


def verify(controller: Controller) -> None:
    job = started(controller, JobKind.CHECK, read_data_percent=100)
    over = awaited(controller, job.id, lambda found: found.state.over)
    assert over.state is JobState.SUCCEEDED and json.loads(over.result)["findings_total"] == 0


def granted(controller: Controller, agent: ScriptedAgent) -> tuple[agent_pb2.AttemptRef, agent_pb2.BackupGrant]:
    """Of a new run, once nothing is waited for any more."""
    controller.start_backup(VM_ID)
    attempt = agent.next_assignment().attempt
    deadline = time.monotonic() + 30
    while True:
        try:
            return attempt, agent.accept(attempt).backup
        except grpc.RpcError as error:
            assert "has just moved" in str(error) and time.monotonic() < deadline, error
            time.sleep(0.02)


def backed_up(
    controller: Controller, agent: ScriptedAgent, vm: TestedVm, how: str
) -> tuple[agent_pb2.BackupGrant, str]:
    attempt, grant = granted(controller, agent)
    written = agent.write(attempt, grant, {"vda": vm.disk.source()}, how)
    point_id = agent.stub.CompleteAttempt(agent.hand_in(attempt, written)).point_id
    vm.disk.forget_changes()
    return grant, point_id


@pytest.mark.parametrize("verified", [True, False], ids=["verified", "not verified yet"])
def test_after_a_migration_the_next_backup_goes_on_by_bitmap(
    controller: Controller, hosts: tuple[ScriptedAgent, ScriptedAgent, TestedVm], verified: bool
) -> None:
    alpha, beta, vm = hosts
    if verified:
        verify(controller)
    report_vms(alpha, {}, revision=2, left={VM_ID: 200})
    report_vms(beta, WEB)
    vm.disk.write(2 * MIB, b"changed" * 9000)
    grant, point_id = backed_up(controller, beta, vm, "bitmap")
    assert grant.HasField("parent") and not grant.no_parent_reason
    sent = uploaded_bytes(controller, point_id)
    assert sent < MIB if verified else sent >= 5 * MIB, "what nobody verified is not named, whatever the bitmap says"
    assert restored(controller, beta, point_id) == dict(vm.disk.blocks)

    vm.disk.write(4 * MIB, b"again" * 900)
    grant, second = backed_up(controller, beta, vm, "bitmap")
    assert grant.parent.point_id == point_id and uploaded_bytes(controller, second) < MIB
    assert restored(controller, beta, second) == dict(vm.disk.blocks)


def test_the_old_host_may_tell_of_it_after_the_new_one(
    controller: Controller, hosts: tuple[ScriptedAgent, ScriptedAgent, TestedVm]
) -> None:
    alpha, beta, _ = hosts
    report_vms(
        beta, WEB
    )  # arrived, while alpha still counts as the one that runs it: refused, and no contradiction of itself
    report_vms(alpha, {}, revision=2)
    report_vms(beta, WEB, revision=2)
    report_vms(alpha, {}, revision=3, left={VM_ID: 900})
    report_vms(alpha, {}, revision=4, left={VM_ID: 1800})
    assert granted(controller, beta)[1].HasField("parent")


def test_it_waits_until_others_had_time_to_contradict(tmp_path: Path) -> None:
    with running(configured(tmp_path / "state"), replace(BRISK, move_settle_seconds=3600)) as controller:
        controller.add_folder(tmp_path / "bucket")
        alpha, beta = enrolled(controller, "alpha"), enrolled(controller, "beta")
        disk = ModelDisk(SIZE)
        disk.write(0, b"x" * MIB)
        report_vms(alpha, WEB)
        TestedVm(alpha, VM_ID, "web", disk).backup(controller)
        report_vms(alpha, {}, revision=2, left={VM_ID: 0})
        report_vms(beta, WEB)
        controller.start_backup(VM_ID)
        with pytest.raises(grpc.RpcError, match="has just moved from host alpha") as refused:
            beta.accept(beta.next_assignment().attempt)
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE, "which an agent asks again after"


def test_a_vm_that_goes_on_from_host_to_host_is_believed_each_time(
    controller: Controller, hosts: tuple[ScriptedAgent, ScriptedAgent, TestedVm]
) -> None:
    """Each of them says that it has it while it is still on its way: no contradiction."""
    alpha, beta, _ = hosts
    gamma = enrolled(controller, "gamma")
    ways = [(alpha, beta), (beta, gamma), (gamma, alpha), (alpha, beta)]
    for revision, (old, new) in enumerate(ways, 2):
        report_vms(new, WEB, revision=2 * revision)
        report_vms(old, {}, revision=2 * revision + 1, left={VM_ID: 100})
        report_vms(new, WEB, revision=2 * revision + 1)
        time.sleep(0.35)  # longer than it takes to settle
    assert granted(controller, beta)[1].HasField("parent")


def unannounced(alpha: ScriptedAgent, beta: ScriptedAgent, _: ScriptedAgent) -> None:
    report_vms(alpha, {}, revision=2)
    report_vms(beta, WEB)


def claimed_by_two(alpha: ScriptedAgent, beta: ScriptedAgent, gamma: ScriptedAgent) -> None:
    """Gamma was first in lying, or beta was: nobody can tell."""
    report_vms(gamma, WEB)
    report_vms(alpha, {}, revision=2, left={VM_ID: 0})
    report_vms(beta, WEB)


def claimed_afterwards(alpha: ScriptedAgent, beta: ScriptedAgent, gamma: ScriptedAgent) -> None:
    report_vms(alpha, {}, revision=2, left={VM_ID: 0})
    report_vms(beta, WEB)
    report_vms(gamma, WEB)


def contradicted_by_the_old_host(alpha: ScriptedAgent, beta: ScriptedAgent, _: ScriptedAgent) -> None:
    report_vms(alpha, {}, revision=2, left={VM_ID: 0})
    report_vms(beta, WEB)
    report_vms(alpha, WEB, revision=3)


def left_long_ago(alpha: ScriptedAgent, beta: ScriptedAgent, _: ScriptedAgent) -> None:
    report_vms(alpha, {}, revision=2, left={VM_ID: 601_000})
    report_vms(beta, WEB)


def vouched_for_by_itself(alpha: ScriptedAgent, beta: ScriptedAgent, _: ScriptedAgent) -> None:
    report_vms(alpha, {}, revision=2)
    report_vms(beta, WEB, left={VM_ID: 0})
    report_vms(beta, {}, revision=2, left={VM_ID: 0})
    report_vms(beta, WEB, revision=3)


@pytest.mark.parametrize(
    ("story", "doubt"),
    [
        (unannounced, "has not said that it left"),
        (claimed_by_two, "another host said"),
        (claimed_afterwards, "another host said"),
        (contradicted_by_the_old_host, "another host said"),
        (left_long_ago, "too long passed"),
        (vouched_for_by_itself, "has not said that it left"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_otherwise_all_is_read_anew_until_an_operator_says_so(
    controller: Controller, hosts: tuple[ScriptedAgent, ScriptedAgent, TestedVm], story: object, doubt: str
) -> None:
    """Nothing of the point's manifest is given to a host that only says that it has the VM: it opens all that the point holds."""
    alpha, beta, _ = hosts
    assert callable(story)
    story(alpha, beta, enrolled(controller, "gamma"))
    attempt, grant = granted(controller, beta)
    assert not grant.HasField("parent")
    assert "host alpha" in grant.no_parent_reason and doubt in grant.no_parent_reason
    assert "seawall vm moved web" in grant.no_parent_reason, "what an operator can do"
    controller.backups.CancelRun(operator_pb2.CancelRunRequest(request_id=str(uuid.uuid4()), run=grant.run_id))
    beta.fail(attempt, resources_pb2.Failure(reason="CANCELED"), canceled=True)
    order = operator_pb2.ConfirmMoveRequest(request_id=str(uuid.uuid4()), vm="web", host="beta")
    assert all(each.goes_on for each in controller.backups.ConfirmMove(order).points)
    assert granted(controller, beta)[1].HasField("parent")


def test_an_operator_says_it_on_the_command_line(
    controller: Controller, hosts: tuple[ScriptedAgent, ScriptedAgent, TestedVm], tmp_path: Path
) -> None:
    alpha, beta, _ = hosts
    seawall = Cli(tmp_path, controller.config.operator_toml)
    settled = seawall("vm", "moved", "web", "--yes")
    assert settled.code == 0 and "goes on from it" in settled.out, "nothing moved: nothing to say"
    unannounced(alpha, beta, alpha)
    planned = seawall("vm", "moved", "web", "--plan", "--json")
    assert planned.code == 0 and planned.json["points"][0]["host_name"] == "alpha"
    assert "has not said" in planned.json["points"][0]["why_not"]
    assert seawall("vm", "moved", "web", "--to", "alpha", "--yes", "--json").reason == "VM_ELSEWHERE"
    assert seawall("vm", "moved", "web", "--json").reason == "NOT_CONFIRMED"
    assert "reads all anew" in seawall("vm", "moved", "web", "--plan").out, "nothing of this changed anything"
    said = seawall("vm", "moved", "web", "--to", "beta", "--yes")
    assert said.code == 0 and "goes on from its points" in said.out
    assert granted(controller, beta)[1].HasField("parent")
    report_vms(beta, {}, revision=9)
    assert seawall("vm", "moved", "web", "--yes", "--json").reason == "VM_GONE"


@pytest.mark.parametrize("exported", [True, False], ids=["exported", "not exported"])
def test_a_point_that_an_older_database_lacks_is_not_the_claimants(tmp_path: Path, exported: bool) -> None:
    """Whoever says first that it runs the VM, after an old copy was put back, is given its backups and no parent. The export knows whose
    the point was.
    """
    config, bucket = configured(tmp_path / "state"), tmp_path / "bucket"
    often = replace(QUICK, export_seconds=0.1, export_look_seconds=0.1, export_settle_seconds=0.05)
    with running(config, QUICK) as controller:
        controller.add_folder(bucket)
        alpha, beta = enrolled(controller, "alpha"), enrolled(controller, "beta")
    kept = shutil.copytree(config.state_dir, tmp_path / "kept")
    with running(config, often if exported else QUICK) as controller:
        alpha.hello()
        report_vms(alpha, WEB)
        disk = ModelDisk(SIZE)
        disk.write(0, random.Random(1).randbytes(MIB))
        point_id = TestedVm(alpha, VM_ID, "web", disk).backup(controller)
        for number in range(2 if exported else 0):  # the second was begun after the first was written
            known = set(bucket.glob("v1/c/export/*"))
            report_vms(alpha, WEB | {str(uuid.uuid4()): (f"vm{number}", SIZE)}, revision=2 + number)
            deadline = time.monotonic() + 30
            while set(bucket.glob("v1/c/export/*")) <= known:
                assert time.monotonic() < deadline
                time.sleep(0.02)
    if not exported:
        shutil.rmtree(bucket / "v1/c/export")
    shutil.rmtree(config.state_dir)
    shutil.copytree(kept, config.state_dir)
    with running(config, QUICK) as controller:
        deadline = time.monotonic() + 30
        while not controller.backups.ListPoints(operator_pb2.ListPointsRequest()).points:
            assert time.monotonic() < deadline  # an attempt of before the adoption is of another epoch
            time.sleep(0.02)
        for host, reads in ((beta, False), (alpha, exported)):
            host.hello()
            report_vms(host, WEB)
            attempt, grant = granted(controller, host)
            assert grant.HasField("parent") == reads and bool(grant.no_parent_reason) != reads
            assert not reads or grant.parent.point_id == point_id
            host.fail(attempt, resources_pb2.Failure(reason="TEST", kind=resources_pb2.FAILURE_KIND_PERMANENT))
            report_vms(host, {}, revision=2)
