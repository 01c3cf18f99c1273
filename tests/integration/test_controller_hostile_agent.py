"""An enrolled host that lies: what it may spoil is its own work."""

import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import grpc
import numpy as np
import pytest
from blake3 import blake3

from seawall.api.v1 import agent_pb2, operator_pb2, resources_pb2
from seawall.repository.clock import Clock, SystemClock
from seawall.repository.errors import StoreRefused
from seawall.repository.format.layout import manifest_name, parse_pack_name
from seawall.repository.format.refmap import Refmap
from seawall.repository.store.folder import FolderStore
from seawall.repository.store.location import FolderLocation, S3Credentials, parse_location
from seawall.repository.store.port import ObjectInfo, Store
from seawall.repository.writing.facts import WrittenPoint
from support.controller_agent import VM_ID, VM_NAME, ScriptedAgent, enrolled
from support.controller_application import Controller, configured, reason_of, running
from support.memory_disks import ModelDisk

SIZE = 1024 * 1024


@pytest.fixture
def controller(tmp_path: Path) -> Iterator[Controller]:
    with running(configured(tmp_path / "state")) as started:
        started.add_folder(tmp_path / "bucket")
        yield started


@pytest.fixture
def alpha(controller: Controller) -> ScriptedAgent:
    host = enrolled(controller, "alpha")
    host.inventory({"vda": SIZE})
    return host


def a_disk() -> ModelDisk:
    disk = ModelDisk(SIZE)
    disk.write(0, bytes(range(256)) * 1024)
    return disk


def refused(call: object, *arguments: object, **keywords: object) -> str:
    with pytest.raises(grpc.RpcError) as caught:
        call(*arguments, **keywords)  # type: ignore[operator]
    return reason_of(caught.value)


def report(
    host: ScriptedAgent, *vms: resources_pb2.Vm, revision: int = 1, page: int = 0, last: bool = True
) -> agent_pb2.ReportInventoryRequest:
    return agent_pb2.ReportInventoryRequest(
        session_id=host.session_id, revision=revision, page=page, last=last, vms=vms
    )


def a_vm(number: int, **fields: object) -> resources_pb2.Vm:
    return resources_pb2.Vm(vm_id=str(uuid.UUID(int=number)), name=f"vm-{number}", state="running", **fields)  # type: ignore[arg-type]


def vm_names(controller: Controller) -> list[str]:
    vms = controller.backups.ListVms(operator_pb2.ListVmsRequest()).vms
    return sorted(vm.name for vm in vms if vm.present)


def handed_in(controller: Controller, host: ScriptedAgent) -> tuple[agent_pb2.AttemptRef, WrittenPoint]:
    """Everything stored, nothing handed in."""
    assignment = host.next_assignment()
    grant = host.accept(assignment.attempt).backup
    return assignment.attempt, host.write(assignment.attempt, grant, {"vda": a_disk().source()})


def test_an_inventory_with_a_gap_is_not_believed(controller: Controller, alpha: ScriptedAgent) -> None:
    call = alpha.stub.ReportInventory
    call(report(alpha, a_vm(1), revision=2, last=False))
    assert refused(call, report(alpha, a_vm(3), revision=2, page=2)) == "INVENTORY_GAP"
    assert refused(call, report(alpha, a_vm(3), revision=3, page=1)) == "INVENTORY_GAP"
    assert vm_names(controller) == [VM_NAME]
    for _ in range(2):  # the answer was lost
        call(report(alpha, a_vm(2), revision=2, page=1, last=False))
    call(report(alpha, a_vm(3), revision=2, page=2))
    assert vm_names(controller) == ["vm-1", "vm-2", "vm-3"]


def test_ids_that_would_become_other_objects_names_are_refused(controller: Controller, alpha: ScriptedAgent) -> None:
    for vm_id in ("../../config", "", VM_ID.upper().replace("1", "A"), f"{VM_ID}/x"):
        vm = resources_pb2.Vm(vm_id=vm_id, name="x", state="running")
        assert refused(alpha.stub.ReportInventory, report(alpha, vm)) == "BAD_VM"
    assert vm_names(controller) == [VM_NAME]


def test_text_from_a_host_cannot_write_on_a_terminal(controller: Controller, alpha: ScriptedAgent) -> None:
    nasty = "\x1b[2Jok\n" + "x" * 4000
    report_of = resources_pb2.VmDisk(disk=nasty, size_bytes=1, format=nasty, source=nasty, device="disk")
    alpha.stub.ReportInventory(report(alpha, a_vm(1, disks=[report_of] * 300)))
    (vm,) = controller.backups.ListVms(operator_pb2.ListVmsRequest()).vms[:1]
    assert len(vm.disks) == 256
    run = controller.start_backup("vm-1")
    attempt = alpha.next_assignment().attempt
    alpha.accept(attempt)
    progress = resources_pb2.AttemptProgress(attempt_id=attempt.attempt_id, seq=1, phase=nasty, waiting_on=nasty)
    progress.state = 77  # type: ignore[assignment]
    alpha.beat(progress)
    failure = resources_pb2.Failure(reason=nasty, message=nasty, next_step=nasty)
    failure.kind = resources_pb2.FAILURE_KIND_PERMANENT
    alpha.fail(attempt, failure)
    shown = controller.run(run.run_id)
    assert shown.ByteSize() < 20_000
    for text in (vm.disks[0].source, shown.failure.message, shown.failure.reason, shown.attempts[0].progress.phase):
        assert text.isprintable()
        assert text.startswith("[2Jok")


def test_floods_are_refused(alpha: ScriptedAgent) -> None:
    many = [resources_pb2.AttemptProgress(attempt_id=str(number)) for number in range(1001)]
    assert refused(alpha.beat, *many) == "TOO_MANY_ATTEMPTS"
    refs = [agent_pb2.AttemptRef(attempt_id=str(number)) for number in range(1001)]
    assert refused(alpha.hello, refs) == "TOO_MANY_ATTEMPTS"


def test_a_stolen_vm_brings_neither_a_parent_nor_the_other_hosts_packs(
    controller: Controller, alpha: ScriptedAgent, tmp_path: Path
) -> None:
    first = controller.start_backup(VM_NAME)
    alpha.backup({"vda": a_disk().source()})
    names = [parse_pack_name(info.name) for info in FolderStore(tmp_path / "bucket").list("v1/p/")]
    theirs = [name.pack_id for name in names if name is not None]
    alpha.inventory({}, revision=2)
    mallory = enrolled(controller, "mallory")
    mallory.inventory({"vda": SIZE})
    controller.start_backup(VM_NAME)
    assignment = mallory.next_assignment()
    grant = mallory.accept(assignment.attempt).backup
    assert not grant.HasField("parent")
    assert grant.no_parent_reason.startswith(
        "Its newest point was taken on host alpha, and the host where it was has not said that it left by migration."
    )
    urls = agent_pb2.GetReadUrlsRequest(
        session_id=mallory.session_id, attempt=assignment.attempt, packs=[agent_pb2.PackRef(pack_id=theirs[0])]
    )
    assert refused(mallory.stub.GetReadUrls, urls) == "PACK_NOT_READABLE"
    written = mallory.write(assignment.attempt, grant, {"vda": a_disk().source()})
    refmap = Refmap()
    refmap.add(theirs[0], np.array([0], dtype=np.uint16))
    forged = replace(written, refmap=refmap.encode("default"))
    request = mallory.hand_in(assignment.attempt, forged)
    assert request.refmap_hash == blake3(forged.refmap).digest()
    answer = mallory.stub.CompleteAttempt(request)
    assert (answer.point_id, [slot.pack_id for slot in answer.missing_slots]) == ("", theirs[:1]), (
        "as if it were not there"
    )
    point = mallory.stub.CompleteAttempt(mallory.hand_in(assignment.attempt, written)).point_id
    assert point != first.run_id


def test_a_parent_that_cannot_be_read_is_named(controller: Controller, alpha: ScriptedAgent, tmp_path: Path) -> None:
    first = controller.start_backup(VM_NAME)
    alpha.backup({"vda": a_disk().source()})
    store = FolderStore(tmp_path / "bucket")
    store.put(manifest_name("default", VM_ID, first.run_id), b"scratched", create_only=False)
    controller.start_backup(VM_NAME)
    grant = alpha.accept(alpha.next_assignment().attempt).backup
    assert not grant.HasField("parent")
    assert grant.no_parent_reason.startswith("Its newest point cannot be read: ")


def test_a_point_in_the_far_future_is_refused(controller: Controller, alpha: ScriptedAgent) -> None:
    """No list could show it."""
    controller.start_backup(VM_NAME)
    attempt, written = handed_in(controller, alpha)
    request = alpha.hand_in(attempt, written)
    request.disks[0].size_bytes = 1 << 63
    assert refused(alpha.stub.CompleteAttempt, request) == "BAD_ROOT"
    request.disks[0].size_bytes = SIZE
    assert alpha.stub.CompleteAttempt(request).point_id
    assert len(controller.backups.ListPoints(operator_pb2.ListPointsRequest()).points) == 1


class ClosedPacks(FolderStore):
    """No pack can be looked at while a file `closed` lies beside the folder."""

    def head(self, name: str) -> ObjectInfo:
        if name.startswith("v1/p/") and (self._root.parent / "closed").exists():
            raise StoreRefused(f"{name}: not now")
        return super().head(name)


def closed_packs(url: str, credentials: S3Credentials | None, clock: Clock | None) -> Store:
    location = parse_location(url)
    assert isinstance(location, FolderLocation)
    return ClosedPacks(location.path, clock or SystemClock())


def test_an_opening_that_broke_off_is_no_roll_back(tmp_path: Path) -> None:
    """The epoch was announced, then the store refused: the next try must not fence everybody."""
    config = configured(tmp_path / "state")
    with running(config) as controller:
        repository = controller.add_folder(tmp_path / "bucket")
        host = enrolled(controller, "alpha")
        host.inventory({"vda": SIZE})
        controller.start_backup(VM_NAME)
        host.backup({"vda": a_disk().source()})
    for file in config.paths.index_of(repository.repository_id).iterdir():
        file.unlink()
    (tmp_path / "closed").touch()
    with running(config, open_store=closed_packs) as controller:
        host.connect()
        host.hello()
        controller.start_backup(VM_NAME)
        attempt = host.next_assignment().attempt
        for _ in range(2):
            assert refused(host.accept, attempt) == "BUCKET_REFUSED"
        (tmp_path / "closed").unlink()
        assert host.accept(attempt).backup.parent.point_id
    assert len(list(FolderStore(tmp_path / "bucket").list("v1/c/epoch/"))) == 2
