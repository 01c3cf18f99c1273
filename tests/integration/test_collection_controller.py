"""Collection by the real controller and its worker process: over a folder and over a bucket, while backups go on."""

import json
import os
import random
import shutil
import signal
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from seawall.controller.records.maintenance import JobState
from seawall.repository.store.folder import FolderStore
from seawall.repository.store.locate import open_store
from seawall.repository.store.location import S3Credentials
from seawall.repository.store.port import Store
from support.collecting import (
    TestedVm,
    awaited,
    canceled,
    collected,
    deleted,
    names,
    report_vms,
    restored,
    started,
    wake,
    worker_pids,
)
from support.controller_agent import ScriptedAgent, enrolled
from support.controller_application import BRISK, Controller, configured, running
from support.memory_disks import ModelDisk

MIB = 1 << 20
SIZE = 6 * MIB
AT_ONCE = replace(BRISK, collect_grace_seconds=0.0)


def a_vm(agent: ScriptedAgent, number: int) -> TestedVm:
    return TestedVm(agent, f"{number:08d}-1111-4111-8111-111111111111", f"vm-{number}", a_disk(number))


def a_disk(seed: int) -> ModelDisk:
    disk = ModelDisk(SIZE)
    disk.write(0, random.Random(seed).randbytes(4 * MIB))
    return disk


def test_what_no_point_needs_goes_and_the_rest_restores(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "bucket")
    with running(configured(tmp_path / "state"), AT_ONCE) as controller:
        controller.add_folder(tmp_path / "bucket")
        _collect_and_restore(controller, store)


@pytest.mark.slow
def test_the_same_in_a_bucket(tmp_path: Path, s3_url: str, s3_credentials: S3Credentials) -> None:
    with running(configured(tmp_path / "state"), AT_ONCE) as controller:
        controller.add_bucket(s3_url, s3_credentials.access_key, s3_credentials.secret_key)
        _collect_and_restore(controller, open_store(s3_url, s3_credentials))


def _collect_and_restore(controller: Controller, store: Store) -> None:
    agent = enrolled(controller, "alpha")
    vms = [a_vm(agent, number) for number in (1, 2, 3)]
    report_vms(agent, {vm.vm_id: (vm.name, SIZE) for vm in vms})
    rng = random.Random(7)
    for round_ in range(3):
        for vm in vms:
            if round_:
                vm.disk.write((round_ - 1) * 2 * MIB, rng.randbytes(3 * MIB // 2))
            vm.backup(controller, "bitmap" if round_ else "full")
    for vm in vms[1:]:
        for point_id in list(vm.points)[: 3 if vm is vms[1] else 2]:
            deleted(controller, point_id)
            del vm.points[point_id]
    plan = collected(controller, plan_only=True)
    before = {info.name: info.size_bytes for info in store.list("v1/p/")}
    assert plan.state is JobState.SUCCEEDED, plan
    planned = json.loads(plan.result)
    assert {line["reason"] for line in planned["goes_later"]} >= {"CONDEMN_ALL", "CONDEMN_SOME"}
    done = collected(controller)
    assert done.state is JobState.SUCCEEDED, done
    result = json.loads(done.result)
    after = {info.name: info.size_bytes for info in store.list("v1/p/")}
    assert sum(before.values()) - sum(after.values()) == result["deleted"]["bytes"] + result["compacted"]["bytes"] > 0
    assert result["compacted"]["packs"] and result["deleted"]["packs"] and not result["kept_back"]["objects"]
    assert names(store, "v1/a/") == []
    for vm in vms:
        for point_id, blocks in vm.points.items():
            assert restored(controller, agent, point_id) == blocks
    again = json.loads(collected(controller).result)
    assert (again["bytes_back"], again["condemned_slots"]) == (0, 0), again


def test_backups_go_on_while_collections_run(tmp_path: Path) -> None:
    with running(configured(tmp_path / "state"), AT_ONCE) as controller:
        controller.add_folder(tmp_path / "bucket")
        agent = enrolled(controller, "alpha")
        vm = a_vm(agent, 1)
        report_vms(agent, {vm.vm_id: (vm.name, SIZE)})
        vm.backup(controller)
        over = threading.Event()
        failures: list[object] = []

        def collect() -> None:
            while not over.is_set():
                job = collected(controller)
                if job.state is not JobState.SUCCEEDED:
                    failures.append(job)

        collector = threading.Thread(target=collect)
        collector.start()
        try:
            rng = random.Random(3)
            old = rng.randbytes(512 * 1024)
            for round_ in range(8):
                # The same data comes and goes: what was just condemned is wanted again.
                vm.disk.write(rng.randrange(4) * MIB, old if round_ % 2 else rng.randbytes(512 * 1024))
                vm.backup(controller, "bitmap")
                if len(vm.points) > 2:
                    point_id = next(iter(vm.points))
                    deleted(controller, point_id)
                    del vm.points[point_id]
        finally:
            over.set()
            collector.join(60)
        assert not failures
        for point_id, blocks in vm.points.items():
            assert restored(controller, agent, point_id) == blocks


def test_a_worker_that_is_killed_is_begun_again_and_a_restart_takes_over(tmp_path: Path) -> None:
    config = configured(tmp_path / "state")
    with running(config, AT_ONCE) as controller:
        controller.add_folder(tmp_path / "bucket")
        agent = enrolled(controller, "alpha")
        vm = a_vm(agent, 1)
        report_vms(agent, {vm.vm_id: (vm.name, SIZE)})
        deleted(controller, vm.backup(controller))
        begun = started(controller)
        awaited(controller, begun.id, lambda job: job.tries == 1)
        for pid in _worker_begun():
            os.kill(pid, signal.SIGKILL)
        done = awaited(controller, begun.id, lambda job: job.state.over)
        assert (done.state, done.tries, done.failure) == (JobState.SUCCEEDED, 2, ""), done
        interrupted = started(controller)
        awaited(controller, interrupted.id, lambda job: job.state is JobState.ACTIVE)
    assert worker_pids() == []
    with running(config, AT_ONCE) as controller:
        assert awaited(controller, interrupted.id, lambda job: job.state.over).state is JobState.SUCCEEDED
    assert names(FolderStore(tmp_path / "bucket"), "v1/p/") == []


def _worker_begun() -> list[int]:
    for _ in range(1000):
        if pids := worker_pids():
            return pids
        threading.Event().wait(0.005)
    raise AssertionError("no worker was begun")


def test_a_job_is_cancelled_before_and_while_it_runs(tmp_path: Path) -> None:
    with running(configured(tmp_path / "state"), replace(AT_ONCE, cancel_soft_seconds=0.1)) as controller:
        controller.add_folder(tmp_path / "bucket")
        begun = started(controller)
        for pid in _worker_begun():
            os.kill(pid, signal.SIGSTOP)  # it hears nothing: the supervisor must end it
        canceled(controller, begun.id)
        wake(controller)
        assert awaited(controller, begun.id, lambda job: job.state.over).state is JobState.CANCELED
        assert worker_pids() == []


@pytest.mark.slow
def test_a_manifest_that_nobody_knows_stops_the_collection(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "bucket")
    with running(configured(tmp_path / "state"), AT_ONCE) as controller:
        controller.add_folder(tmp_path / "bucket")
        agent = enrolled(controller, "alpha")
        vm = a_vm(agent, 1)
        report_vms(agent, {vm.vm_id: (vm.name, SIZE)})
        deleted(controller, vm.backup(controller))
        before = names(store, "v1/p/")
        strange = f"v1/m/default/{vm.vm_id}/99999999-1111-4111-8111-111111111111"
        store.put(strange, b"whose?")
        stopped = collected(controller)
        failure = json.loads(stopped.failure)
        assert (stopped.state, failure["reason"]) == (JobState.FAILED, "MANIFEST_UNKNOWN")
        assert strange in failure["message"]
        assert names(store, "v1/p/") == before


@pytest.mark.slow
def test_condemned_chunks_are_stored_anew_and_go_after_the_grace_period(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "bucket")
    config = configured(tmp_path / "state")
    with running(config, BRISK) as controller:
        controller.add_folder(tmp_path / "bucket")
        agent = enrolled(controller, "alpha")
        vm = a_vm(agent, 1)
        report_vms(agent, {vm.vm_id: (vm.name, SIZE)})
        first = vm.backup(controller)
        old = names(store, "v1/p/")
        deleted(controller, first)
        del vm.points[first]
        waiting = json.loads(collected(controller).result)
        assert waiting["condemned_slots"] > 0
        assert waiting["bytes_back"] == 0
        assert names(store, "v1/p/") == old
        vm.backup(controller)
        assert len(names(store, "v1/p/")) == 2 * len(old), "no condemned slot was named again"
    with running(config, AT_ONCE) as controller:
        agent.hello()
        collected(controller)
        assert not set(old) & set(names(store, "v1/p/"))
        for point_id, blocks in vm.points.items():
            assert restored(controller, agent, point_id) == blocks


def test_a_database_from_before_a_collection_learns_what_left(tmp_path: Path) -> None:
    """The index and the packs' rows of the older copy name chunks that are gone: the condemn log keeps them from being used."""
    config, kept = configured(tmp_path / "state"), tmp_path / "kept"
    with running(config, AT_ONCE) as controller:
        controller.add_folder(tmp_path / "bucket")
        agent = enrolled(controller, "alpha")
        vm = a_vm(agent, 1)
        report_vms(agent, {vm.vm_id: (vm.name, SIZE)})
        gone = [vm.backup(controller)]
        vm.disk.write(0, random.Random(5).randbytes(2 * MIB))
        kept_point = vm.backup(controller, "bitmap")
        vm.disk.write(0, random.Random(6).randbytes(4 * MIB))
        gone.append(vm.backup(controller, "bitmap"))
        for point_id in gone:
            deleted(controller, point_id)
            del vm.points[point_id]
        vm.disk = a_disk(1)
    shutil.copytree(config.state_dir, kept)
    with running(config, AT_ONCE) as controller:
        agent.hello()
        result = json.loads(collected(controller).result)
        assert result["deleted"]["packs"] and result["compacted"]["packs"], result
    shutil.rmtree(config.state_dir)
    shutil.copytree(kept, config.state_dir)
    with running(config, AT_ONCE) as controller:
        agent.hello()
        report_vms(agent, {vm.vm_id: (vm.name, SIZE)})
        point_id = vm.backup(controller)
        assert json.loads(collected(controller).result)["kept_back"]["objects"] == 0
        for each in (point_id, kept_point):
            assert restored(controller, agent, each) == vm.points[each]
