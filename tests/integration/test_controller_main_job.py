"""The controller over real gRPC with a scripted agent: the main job, and what may go wrong in it."""

import json
import os
import random
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import grpc
import pytest

from seawall.api.v1 import agent_pb2, operator_pb2, resources_pb2
from seawall.repository.format.refmap import decode_refmap
from seawall.repository.reading.restore import restore_disk
from seawall.repository.store.folder import FolderStore
from support.controller_agent import VM_ID, ScriptedAgent, enrolled
from support.controller_application import Controller, configured, reason_of, running
from support.memory_disks import MemorySink, ModelDisk

SIZE = 3 * 1024 * 1024


@pytest.fixture
def controller(tmp_path: Path) -> Iterator[Controller]:
    with running(configured(tmp_path / "state")) as started:
        started.add_folder(tmp_path / "bucket")
        yield started


def a_disk(seed: int) -> ModelDisk:
    disk = ModelDisk(SIZE)
    disk.write(64 * 1024, random.Random(seed).randbytes(1024 * 1024))
    return disk


def refused(call: object, *arguments: object, **keywords: object) -> str:
    with pytest.raises(grpc.RpcError) as caught:
        call(*arguments, **keywords)  # type: ignore[operator]
    return reason_of(caught.value)


def succeeded(run: resources_pb2.Run) -> bool:
    return run.state == resources_pb2.RUN_STATE_SUCCEEDED


def succeeded_with_warnings(run: resources_pb2.Run) -> bool:
    return run.state == resources_pb2.RUN_STATE_SUCCEEDED_WITH_WARNINGS


def test_backup_incremental_and_restore_elsewhere(controller: Controller, tmp_path: Path) -> None:
    alpha, beta = enrolled(controller, "alpha"), enrolled(controller, "beta")
    disk = a_disk(1)
    alpha.inventory({"vda": SIZE})
    first = controller.start_backup("db-1")
    assert alpha.backup({"vda": disk.source()}).point_id == first.run_id
    assert controller.watch(first.run_id, succeeded).attempts[0].host_name == "alpha"

    disk.forget_changes()
    disk.write(2 * 1024 * 1024, b"changed" * 1000)
    second = controller.start_backup(VM_ID)
    assignment = alpha.next_assignment()
    grant = alpha.accept(assignment.attempt).backup
    assert grant.parent.point_id == first.run_id
    written = alpha.write(assignment.attempt, grant, {"vda": disk.source()}, "bitmap")
    assert written.disks[0].how == "bitmap"
    assert written.disks[0].read_bytes < 1024 * 1024
    alpha.stub.CompleteAttempt(alpha.hand_in(assignment.attempt, written))

    points = controller.backups.ListPoints(operator_pb2.ListPointsRequest(vm="db-1")).points
    assert [point.point_id for point in points] == [second.run_id, first.run_id]
    assert (points[0].incremental, points[1].incremental) == (True, False)
    assert points[0].parent_point_id == first.run_id

    spec = resources_pb2.RestoreSpec(point_id=second.run_id, host_id="beta")
    run = controller.backups.StartRestore(operator_pb2.StartRestoreRequest(request_id=str(uuid.uuid4()), spec=spec)).run
    given = beta.next_assignment()
    restore = beta.accept(given.attempt).restore
    assert restore.spec.host_id == beta.agent_id
    reader = beta.reader(given.attempt, restore.lineage_id, restore.k_dedup, restore.point, restore.signing_public_key)
    manifest = reader.disk("vda")
    assert manifest is not None
    sink = MemorySink(SIZE)
    restore_disk(reader, manifest, sink)
    assert sink.content() == disk.blocks
    done = agent_pb2.CompleteAttemptRequest(session_id=beta.session_id, attempt=given.attempt, restored_vm_id=VM_ID)
    assert beta.stub.CompleteAttempt(done).point_id == second.run_id
    ended = controller.watch(run.run_id, succeeded_with_warnings)
    assert ended.point_id == second.run_id
    assert [warning.reason for warning in ended.warnings] == ["VM_ALSO_ELSEWHERE"]  # alpha runs it still

    status = controller.backups.GetStatus(operator_pb2.GetStatusRequest())
    assert (status.hosts_online, status.vms_protected, status.points_total) == (2, 1, 2)
    stored = FolderStore(tmp_path / "bucket")
    assert len(list(stored.list("v1/m/"))) == len(list(stored.list("v1/r/"))) == 2
    assert len(list(stored.list("v1/c/epoch/"))) == 1


def test_a_lost_ack_gets_the_same_answer(controller: Controller) -> None:
    alpha = enrolled(controller, "alpha")
    alpha.inventory({"vda": SIZE})
    controller.start_backup("db-1")
    assignment = alpha.next_assignment()
    grant = alpha.accept(assignment.attempt).backup
    assert alpha.accept(assignment.attempt).backup == grant  # a lost answer to Accept, too
    request = alpha.hand_in(assignment.attempt, alpha.write(assignment.attempt, grant, {"vda": a_disk(2).source()}))
    assert alpha.stub.CompleteAttempt(request) == alpha.stub.CompleteAttempt(request)
    assert len(controller.backups.ListPoints(operator_pb2.ListPointsRequest()).points) == 1
    other = agent_pb2.CompleteAttemptRequest()
    other.CopyFrom(request)
    other.root_hash = bytes(32)
    assert refused(alpha.stub.CompleteAttempt, other) == "FENCED"


def test_a_late_attempt_is_fenced_and_its_successor_wins(controller: Controller) -> None:
    alpha = enrolled(controller, "alpha")
    alpha.inventory({"vda": SIZE})
    run = controller.start_backup("db-1")
    late = alpha.next_assignment()
    grant = alpha.accept(late.attempt).backup
    written = alpha.write(late.attempt, grant, {"vda": a_disk(3).source()})
    request = alpha.hand_in(late.attempt, written)
    assert alpha.hello(over=[late.attempt]) == [late.attempt.attempt_id]
    request.session_id = alpha.session_id
    assert refused(alpha.stub.CompleteAttempt, request) == "FENCED"

    puts = len(alpha.puts)
    assert alpha.backup({"vda": a_disk(3).source()}).point_id == run.run_id
    names = [url.partition("?")[0] for url in alpha.puts[puts:] if "/v1/p/" in url]
    twice = {name[:-2] for name in names if name.endswith(".1")}
    assert {name[:-2] for name in names} == twice, "only manifests are new: Lookup found the data of the first attempt"
    states = [attempt.state for attempt in controller.run(run.run_id).attempts]
    assert states == [resources_pb2.ATTEMPT_STATE_FAILED, resources_pb2.ATTEMPT_STATE_SUCCEEDED]


def test_a_running_worker_is_adopted_by_the_next_session(controller: Controller) -> None:
    alpha = enrolled(controller, "alpha")
    alpha.inventory({"vda": SIZE})
    run = controller.start_backup("db-1")
    assignment = alpha.next_assignment()
    grant = alpha.accept(assignment.attempt).backup
    assert alpha.hello(running=[assignment.attempt]) == []
    written = alpha.write(assignment.attempt, grant, {"vda": a_disk(4).source()})
    assert alpha.stub.CompleteAttempt(alpha.hand_in(assignment.attempt, written)).point_id == run.run_id


def test_cancel_reaches_the_agent_and_ends_when_it_says_so(controller: Controller) -> None:
    alpha = enrolled(controller, "alpha")
    alpha.inventory({"vda": SIZE})
    run = controller.start_backup("db-1")
    assignment = alpha.next_assignment()
    alpha.accept(assignment.attempt)
    request = operator_pb2.CancelRunRequest(request_id=str(uuid.uuid4()), run=run.run_id)
    assert controller.backups.CancelRun(request).run.cancel_requested
    assert alpha.next_assignment().cancel
    beat = alpha.beat(resources_pb2.AttemptProgress(attempt_id=assignment.attempt.attempt_id, seq=1))
    assert list(beat.cancel_attempt_ids) == [assignment.attempt.attempt_id]
    stopped = resources_pb2.Failure(reason="CANCELED", message="stopped")
    alpha.fail(assignment.attempt, stopped, canceled=True)
    alpha.fail(assignment.attempt, stopped, canceled=True)
    over = controller.watch(run.run_id, lambda each: each.state == resources_pb2.RUN_STATE_CANCELED)
    assert over.attempts[0].state == resources_pb2.ATTEMPT_STATE_CANCELED
    again = operator_pb2.CancelRunRequest(request_id=str(uuid.uuid4()), run=run.run_id)
    assert refused(controller.backups.CancelRun, again) == "RUN_OVER"
    assert controller.backups.CancelRun(request).run.run_id == run.run_id  # the same request id: the same answer


def test_another_host_may_neither_take_nor_read_nor_reuse(controller: Controller) -> None:
    alpha, beta = enrolled(controller, "alpha"), enrolled(controller, "beta")
    alpha.inventory({"vda": SIZE})
    controller.start_backup("db-1")
    assignment = alpha.next_assignment()
    assert refused(beta.accept, assignment.attempt) == "NOT_YOUR_ATTEMPT"
    grant = alpha.accept(assignment.attempt).backup
    written = alpha.write(assignment.attempt, grant, {"vda": a_disk(5).source()})
    alpha.stub.CompleteAttempt(alpha.hand_in(assignment.attempt, written))
    assert refused(alpha.write, assignment.attempt, grant, {"vda": a_disk(6).source()}) == "FENCED"

    beta.inventory({"vda": SIZE}, vm_id=str(uuid.UUID(int=7)), vm_name="copy")
    controller.start_backup("copy")
    copy = beta.next_assignment()
    beta.accept(copy.attempt)
    pack = next(iter(written.root.disks[0].nodes)).chunk
    assert pack is not None
    urls = agent_pb2.GetReadUrlsRequest(
        session_id=beta.session_id, attempt=copy.attempt, packs=[agent_pb2.PackRef(pack_id=pack.pack_id)]
    )
    assert refused(beta.stub.GetReadUrls, urls) == "PACK_NOT_READABLE"
    seal = agent_pb2.SealPackRequest(
        session_id=beta.session_id,
        attempt=copy.attempt,
        pack_id=pack.pack_id,
        length_bytes=100,
        content_md5=bytes(16),
    )
    assert refused(beta.stub.SealPack, seal) == "PACK_FOREIGN"


def test_slots_that_are_not_stored_are_named(controller: Controller) -> None:
    alpha = enrolled(controller, "alpha")
    alpha.inventory({"vda": SIZE})
    run = controller.start_backup("db-1")
    assignment = alpha.next_assignment()
    grant = alpha.accept(assignment.attempt).backup
    written = alpha.write(assignment.attempt, grant, {"vda": a_disk(8).source()})
    tenant, refmap = decode_refmap(written.refmap)
    unknown = b"u" * 16
    refmap.add(unknown, [3])
    request = alpha.hand_in(assignment.attempt, replace(written, refmap=refmap.encode(tenant)))
    answer = alpha.stub.CompleteAttempt(request)
    assert [(slot.pack_id, slot.slot) for slot in answer.missing_slots] == [(unknown, 3)]
    assert answer.point_id == ""
    assert controller.run(run.run_id).state == resources_pb2.RUN_STATE_ACTIVE
    assert alpha.stub.CompleteAttempt(alpha.hand_in(assignment.attempt, written)).point_id == run.run_id


def test_a_waiting_run_says_for_what(controller: Controller) -> None:
    alpha = enrolled(controller, "alpha")
    alpha.inventory({"vda": SIZE})
    alpha.inventory({}, revision=2)
    run = controller.start_backup("db-1")
    waiting = controller.watch(run.run_id, lambda each: "not reported" in each.blocked_on)
    assert waiting.blocked_on == "VM db-1 is not reported by any host"
    assert controller.start_backup("db-1").run_id == run.run_id  # an open run is returned, not a second one
    assert refused(controller.start_backup, "nobody") == "VM_UNKNOWN"


def test_restart_in_the_middle_goes_on(tmp_path: Path) -> None:
    config = configured(tmp_path / "state")
    disk = a_disk(9)
    with running(config) as controller:
        controller.add_folder(tmp_path / "bucket")
        alpha = enrolled(controller, "alpha")
        alpha.inventory({"vda": SIZE})
        run = controller.start_backup("db-1")
        assignment = alpha.next_assignment()
        grant = alpha.accept(assignment.attempt).backup
        written = alpha.write(assignment.attempt, grant, {"vda": disk.source()})
        request = alpha.hand_in(assignment.attempt, written)
    with running(config) as controller:
        answer = alpha.stub.CompleteAttempt(request, wait_for_ready=True, timeout=20)
        assert answer.point_id == run.run_id
        assert succeeded(controller.run(run.run_id))
        repository = controller.backups.ListRepositories(operator_pb2.ListRepositoriesRequest()).repositories[0]
        assert (repository.point_count, repository.pack_count > 0) == (1, True)
    assert len(list(FolderStore(tmp_path / "bucket").list("v1/c/epoch/"))) == 2


def test_open_polls_end_at_once_when_it_stops(tmp_path: Path) -> None:
    config = configured(tmp_path / "state")
    with running(config) as controller:
        alpha = enrolled(controller, "alpha")
        generation = alpha.poll(0).generation
        request = agent_pb2.PollRequest(session_id=alpha.session_id, known_generation=generation)
        request.wait.seconds = 25
        polls = [alpha.stub.Poll.future(request, timeout=30) for _ in range(20)]
        alpha.beat()
        assert not any(poll.done() for poll in polls)
        began = time.monotonic()
    assert time.monotonic() - began < 10
    assert [poll.code() for poll in polls] == [grpc.StatusCode.OK] * 20
    assert {poll.result().generation for poll in polls} == {generation}


def test_repositories_are_refused_for_a_reason(controller: Controller, tmp_path: Path) -> None:
    def add(**fields: object) -> operator_pb2.AddRepositoryRequest:
        values = {"name": "second", "url": (tmp_path / "none").as_uri(), "recovery_public_key": bytes(31) + b"\1"}
        return operator_pb2.AddRepositoryRequest(request_id=str(uuid.uuid4()), **(values | fields))  # type: ignore[arg-type]

    call = controller.backups.AddRepository
    bucket = (tmp_path / "bucket").as_uri()
    assert refused(call, add()) == "BUCKET_MISSING"
    assert refused(call, add(url="ftp://x")) == "BAD_URL"
    assert refused(call, add(recovery_public_key=b"short")) == "BAD_RECOVERY_KEY"
    assert refused(call, add(chunk_nominal_bytes=5000)) == "BAD_CHUNK_SIZE"
    assert refused(call, add(name="main")) == "NAME_TAKEN"
    assert refused(call, add(url=bucket)) == "NAME_TAKEN"
    (tmp_path / "full" / "v1").mkdir(parents=True)
    (tmp_path / "full" / "v1" / "config").write_bytes(b"something else")
    assert refused(call, add(url=(tmp_path / "full").as_uri())) == "FOREIGN_REPOSITORY"


def test_a_session_that_is_over_is_told_so(controller: Controller) -> None:
    alpha: ScriptedAgent = enrolled(controller, "alpha")
    old = alpha.session_id
    alpha.hello()
    request = agent_pb2.HeartbeatRequest(session_id=old)
    assert refused(alpha.stub.Heartbeat, request) == "SESSION_UNKNOWN"


def test_the_process_starts_serves_and_ends_on_sigterm(tmp_path: Path) -> None:
    config = configured(tmp_path / "state")
    program = (
        "import sys; from pathlib import Path; from seawall.controller.app import run;"
        "from seawall.controller.config import ControllerConfig;"
        "sys.exit(run(ControllerConfig(state_dir=Path(sys.argv[1]), agent_listen=sys.argv[2], operator_listen=sys.argv[3])))"
    )
    command = [sys.executable, "-c", program, str(config.state_dir), config.agent_listen, config.operator_listen]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stderr is not None
        events = []
        for line in process.stderr:
            events.append(json.loads(line)["event"])
            if events[-1] == "controller.started":
                began = time.monotonic()
                process.terminate()
        assert process.wait(10) == 0
    assert time.monotonic() - began < 8
    assert events[-1] == "controller.stopped"
