"""A VM that moved to another host: no parent goes with it, but what was verified is not uploaded again, and its points go on there."""

import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from seawall.api.v1 import operator_pb2
from seawall.controller.records.maintenance import JobKind, JobState
from support.collecting import TestedVm, awaited, report_vms, restored, started
from support.controller_agent import ScriptedAgent, enrolled
from support.controller_application import BRISK, Controller, configured, running
from support.memory_disks import ModelDisk

MIB = 1 << 20
SIZE = 8 * MIB
VM_ID = "00000001-1111-4111-8111-111111111111"


@pytest.fixture
def controller(tmp_path: Path) -> Iterator[Controller]:
    with running(configured(tmp_path / "state"), BRISK) as made:
        made.add_folder(tmp_path / "bucket")
        yield made


def moved(vm: TestedVm, to: ScriptedAgent) -> None:
    report_vms(vm.agent, {}, revision=2)
    report_vms(to, {vm.vm_id: (vm.name, SIZE)})
    vm.agent = to


def uploaded_bytes(controller: Controller, point_id: str) -> int:
    point = controller.backups.GetPoint(operator_pb2.GetPointRequest(point=point_id)).point
    return int(point.disks[0].new_bytes)


def verify(controller: Controller) -> None:
    job = started(controller, JobKind.CHECK, read_data_percent=100)
    over = awaited(controller, job.id, lambda found: found.state.over)
    assert over.state is JobState.SUCCEEDED and json.loads(over.result)["findings_total"] == 0


@pytest.mark.parametrize("verified", [True, False], ids=["verified", "not verified yet"])
def test_the_first_backup_after_a_move_uploads_what_is_not_proven_to_be_there(
    controller: Controller, verified: bool
) -> None:
    """Nothing of the point's manifest is given to the new host: it names the keys of all that the VM ever held."""
    alpha, beta = enrolled(controller, "alpha"), enrolled(controller, "beta")
    disk = ModelDisk(SIZE)
    disk.write(0, random.Random(1).randbytes(6 * MIB))
    vm = TestedVm(alpha, VM_ID, "web", disk)
    report_vms(alpha, {VM_ID: ("web", SIZE)})
    first = vm.backup(controller)
    assert uploaded_bytes(controller, first) >= 6 * MIB
    if verified:
        verify(controller)
    moved(vm, beta)
    disk.write(2 * MIB, b"changed" * 9000)

    run = controller.start_backup(VM_ID)
    assignment = beta.next_assignment()
    grant = beta.accept(assignment.attempt).backup
    assert not grant.HasField("parent") and "host alpha" in grant.no_parent_reason
    written = beta.write(assignment.attempt, grant, {"vda": disk.source()})
    assert beta.stub.CompleteAttempt(beta.hand_in(assignment.attempt, written)).point_id == run.run_id
    sent = uploaded_bytes(controller, run.run_id)
    assert sent < MIB if verified else sent >= 6 * MIB
    assert restored(controller, beta, run.run_id) == dict(disk.blocks)

    disk.forget_changes()
    disk.write(4 * MIB, b"again" * 900)
    controller.start_backup(VM_ID)
    assignment = beta.next_assignment()
    grant = beta.accept(assignment.attempt).backup
    assert grant.parent.point_id == run.run_id, "from here on it goes on as ever"
    written = beta.write(assignment.attempt, grant, {"vda": disk.source()}, "bitmap")
    second = beta.stub.CompleteAttempt(beta.hand_in(assignment.attempt, written)).point_id
    assert uploaded_bytes(controller, second) < MIB
    assert restored(controller, beta, second) == dict(disk.blocks)
