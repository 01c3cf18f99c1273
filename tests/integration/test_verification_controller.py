"""Verification by the real controller and its worker process: damage found, marked, stored anew, healed; packs shared once verified."""

import json
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from seawall.api.v1 import agent_pb2, operator_pb2, resources_pb2
from seawall.controller.records.catalogue import Pack
from seawall.controller.records.maintenance import JobKind, JobState
from seawall.repository.crypto.chunk import chunk_hash, chunk_id
from seawall.repository.format.layout import pack_name
from seawall.repository.format.pack import PackBuilder
from seawall.repository.format.record import ChunkType, seal_record
from seawall.repository.store.folder import FolderStore
from seawall.repository.store.locate import open_store
from seawall.repository.store.location import S3Credentials
from support.collecting import TestedVm, awaited, deleted, in_database, report_vms, restored, started
from support.controller_agent import ScriptedAgent, enrolled, seal, stored
from support.controller_application import BRISK, Controller, configured, running
from support.memory_disks import ModelDisk
from support.stored_packs import stored_packs

MIB = 1 << 20
SIZE = 4 * MIB


def a_vm(agent: ScriptedAgent, number: int, seed: int = 1) -> TestedVm:
    disk = ModelDisk(SIZE)
    disk.write(0, random.Random(seed).randbytes(3 * MIB))
    vm = TestedVm(agent, f"{number:08d}-1111-4111-8111-111111111111", f"vm-{number}", disk)
    report_vms(agent, {vm.vm_id: (vm.name, SIZE)})
    return vm


def checked(controller: Controller, **request: Any) -> dict[str, Any]:
    """The result of a check that is over."""
    return _over(controller, started(controller, JobKind.CHECK, **request).id)


def _over(controller: Controller, job_id: str) -> dict[str, Any]:
    job = awaited(controller, job_id, lambda found: found.state.over)
    assert job.state is JobState.SUCCEEDED, job
    result: dict[str, Any] = json.loads(job.result)
    return result


def healed(controller: Controller, url: str) -> dict[str, Any]:
    return _over(controller, started(controller, JobKind.HEAL, source_url=url).id)


def packs(controller: Controller, *, meta: bool = False) -> list[Pack]:
    def all_stored(transaction: Any) -> list[Pack]:
        (record,) = transaction.repositories.repositories()
        return [pack for pack in stored_packs(transaction, record.id) if pack.meta == meta]

    return in_database(controller, all_stored)


def damage_shown(controller: Controller, point_id: str) -> str:
    return controller.backups.GetPoint(operator_pb2.GetPointRequest(point=point_id)).point.damage


def copied(store: FolderStore, to: Path) -> str:
    to.mkdir()
    copy = FolderStore(to)
    for info in list(store.list("")):
        copy.put(info.name, store.get(info.name))
    return to.as_uri()


def data_puts(agent: ScriptedAgent) -> int:
    """Packs that the agent sent since it was asked last; a meta pack is sent twice."""
    count = sum("/v1/p/" in url and ".1" not in url.rsplit("/", 1)[1] for url in agent.puts)
    agent.puts.clear()
    return count


@contextmanager
def serving(tmp_path: Path, **timings: float) -> Iterator[tuple[Controller, FolderStore]]:
    with running(configured(tmp_path / "state"), replace(BRISK, **timings)) as controller:  # type: ignore[arg-type]
        controller.add_folder(tmp_path / "bucket")
        yield controller, FolderStore(tmp_path / "bucket")


def test_packs_are_shared_between_hosts_once_they_were_read_back(tmp_path: Path) -> None:
    with serving(tmp_path) as (controller, _):
        _shared_once_verified(controller)


@pytest.mark.slow
def test_the_same_in_a_bucket(tmp_path: Path, s3_url: str, s3_credentials: S3Credentials) -> None:
    with running(configured(tmp_path / "state"), BRISK) as controller:
        controller.add_bucket(s3_url, s3_credentials.access_key, s3_credentials.secret_key)
        _shared_once_verified(controller)


def _shared_once_verified(controller: Controller) -> None:
    alpha, beta, gamma = (enrolled(controller, name) for name in ("alpha", "beta", "gamma"))
    a_vm(alpha, 1).backup(controller)
    before = data_puts(alpha)
    a_vm(beta, 2).backup(controller)
    assert data_puts(beta) == before, "what alpha stored may be anything"
    result = checked(controller, read_data_percent=100)
    assert (result["findings_total"], result["bad_slots"], result["damaged_points"]) == (0, 0, 0)
    assert all(pack.verified for pack in packs(controller) + packs(controller, meta=True))
    vm = a_vm(gamma, 3)
    point_id = vm.backup(controller)
    assert data_puts(gamma) < before, "the data lie there, proven"
    assert {pack.host_id for pack in packs(controller)} == {alpha.agent_id, beta.agent_id}
    assert restored(controller, gamma, point_id) == vm.points[point_id]
    vm.disk.write(MIB, b"changed" * 9999)
    second = vm.backup(controller, "bitmap")
    assert restored(controller, gamma, second) == vm.points[second]


def test_damage_is_found_stored_anew_by_the_next_backup_and_healed(tmp_path: Path) -> None:
    with serving(tmp_path) as (controller, store):
        agent = enrolled(controller, "alpha")
        vm = a_vm(agent, 1)
        first = vm.backup(controller)
        second = vm.backup(controller, "bitmap")
        copy = copied(store, tmp_path / "copy")
        (pack,) = packs(controller)
        name = pack_name("default", pack.id, 0)
        body = bytearray(store.get(name))
        body[len(body) // 3] ^= 1
        store.put(name, bytes(body), create_only=False)
        assert checked(controller, read_data_percent=0)["findings_total"] == 0, "the structure is whole"
        result = checked(controller, read_data_percent=100)
        (finding,) = result["findings"]
        assert (finding["reason"], finding["object"]) == ("CHUNKS_DAMAGED", name)
        assert (result["bad_slots"], result["damaged_points"]) == (1, 2)
        assert set(finding["points"]) == {first, second}
        assert finding["next_step"]
        assert damage_shown(controller, second)
        (hurt,) = packs(controller)
        assert (len(hurt.bad), hurt.verified) == (1, False)
        third = vm.backup(controller, "bitmap")  # nothing changed: only what is bad is read and stored
        assert len(packs(controller)) == 2
        assert damage_shown(controller, third) == ""
        assert restored(controller, agent, third) == vm.points[third]
        result = healed(controller, copy)
        assert (result["healed_packs"], result["healed_slots"], result["damaged_points"]) == (1, 1, 0)
        assert damage_shown(controller, first) == ""
        for point_id, blocks in vm.points.items():
            assert restored(controller, agent, point_id) == blocks
        assert not store_has(store, name)
        assert checked(controller, read_data_percent=100)["findings_total"] == 0


@pytest.mark.slow
def test_a_copy_in_a_bucket_heals_with_keys_of_its_own(
    tmp_path: Path, s3_url: str, s3_credentials: S3Credentials
) -> None:
    with serving(tmp_path) as (controller, store):
        vm = a_vm(enrolled(controller, "alpha"), 1)
        point_id = vm.backup(controller)
        copy = open_store(s3_url, s3_credentials)
        for info in list(store.list("")):
            copy.put(info.name, store.get(info.name))
        for pack in packs(controller) + packs(controller, meta=True):
            for generation in pack.generations:
                store.delete(pack_name("default", pack.id, generation))
        assert checked(controller, read_data_percent=0)["damaged_points"] == 1
        request = operator_pb2.StartJobRequest(
            request_id=str(uuid.uuid4()),
            repository="main",
            kind=resources_pb2.JOB_KIND_HEAL,
            spec=resources_pb2.JobSpec(source_url=s3_url),
            access_key=s3_credentials.access_key,
            secret_key=s3_credentials.secret_key,
        )
        result = _over(controller, controller.backups.StartJob(request).job.job_id)
        assert (result["still_bad_packs"], result["damaged_points"]) == (0, 0)
        assert restored(controller, vm.agent, point_id) == vm.points[point_id]
        kept = in_database(controller, lambda transaction: [job.request for job in transaction.jobs.jobs()])
        assert not any(s3_credentials.secret_key in request for request in kept)


def store_has(store: FolderStore, name: str) -> bool:
    return any(info.name == name for info in store.list(name))


def test_a_hostile_agents_rubbish_under_a_victims_id_reaches_nobody(tmp_path: Path) -> None:
    with serving(tmp_path) as (controller, _):
        mallory, victim = enrolled(controller, "mallory"), enrolled(controller, "victim")
        wanted = a_vm(victim, 1, seed=5)
        theirs = a_vm(mallory, 2, seed=6)
        run = controller.start_backup(theirs.vm_id)
        given = mallory.next_assignment()
        grant = mallory.accept(given.attempt).backup
        h = chunk_hash(grant.k_dedup, b"the victim's plaintext" * 500)
        builder = PackBuilder(grant.lineage_id, grant.repository_public_key, meta=False)
        builder.add(seal_record(grant.lineage_id, h, b"rubbish" * 500, ChunkType.DATA, 1))
        pack = builder.seal()
        for target in seal(mallory, given.attempt, pack).targets:
            mallory.put(target, pack.body)
        stored(mallory, given.attempt, pack.pack_id)
        assert _found(mallory, given.attempt, h) == [pack.pack_id], "its own host may use it at once"
        result = checked(controller, read_data_percent=100)
        (finding,) = result["findings"]
        assert (finding["reason"], result["bad_slots"]) == ("CHUNKS_FALSE", 1)
        assert _found(mallory, given.attempt, h) == []
        mallory.stub.CompleteAttempt(
            mallory.hand_in(given.attempt, mallory.write(given.attempt, grant, {"vda": theirs.disk.source()}))
        )
        assert controller.run(run.run_id)
        controller.start_backup(wanted.vm_id)
        asked = victim.next_assignment()
        victim.accept(asked.attempt)
        assert _found(victim, asked.attempt, h) == []


def _found(agent: ScriptedAgent, attempt: agent_pb2.AttemptRef, h: bytes) -> list[bytes]:
    request = agent_pb2.LookupRequest(session_id=agent.session_id, attempt=attempt, chunk_ids=chunk_id(h))
    return [found.pack_id for found in agent.stub.Lookup(request).found]


def test_new_packs_are_verified_by_themselves_and_old_ones_again(tmp_path: Path) -> None:
    with serving(tmp_path, verify_new_seconds=0.1, verify_period_seconds=2.0) as (controller, store):
        agent = enrolled(controller, "alpha")
        vm = a_vm(agent, 1)
        point_id = vm.backup(controller)
        awaited_packs(controller, lambda pack: pack.verified)
        (pack,) = packs(controller)
        store.delete(pack_name("default", pack.id, 0))
        awaited_packs(controller, lambda pack: len(pack.bad) == pack.slots)
        _until(lambda: damage_shown(controller, point_id) != "")
        jobs = in_database(controller, lambda transaction: transaction.jobs.jobs())
        assert {json.loads(job.request)["because"] for job in jobs} == {"new", "rolling"}


def awaited_packs(controller: Controller, fits: Callable[[Pack], bool]) -> None:
    _until(lambda: bool(packs(controller)) and all(fits(pack) for pack in packs(controller)))


def _until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_what_verification_found_survives_a_restart(tmp_path: Path) -> None:
    config = configured(tmp_path / "state")
    with running(config, BRISK) as controller:
        controller.add_folder(tmp_path / "bucket")
        store = FolderStore(tmp_path / "bucket")
        alpha = enrolled(controller, "alpha")
        vm = a_vm(alpha, 1)
        vm.backup(controller)
        (pack,) = packs(controller)
        name = pack_name("default", pack.id, 0)
        body = bytearray(store.get(name))
        body[len(body) // 3] ^= 1
        store.put(name, bytes(body), create_only=False)
        checked(controller, read_data_percent=100)
    with running(config, BRISK) as controller:
        alpha.connect()
        alpha.hello()
        point_id = vm.backup(controller, "bitmap")
        assert len(packs(controller)) == 2
        assert restored(controller, alpha, point_id) == vm.points[point_id]
        checked(controller, read_data_percent=100)
        beta = enrolled(controller, "beta")
        a_vm(beta, 2).backup(controller)
        (hurt,) = [pack for pack in packs(controller) if pack.bad]
        assert not hurt.verified, "it holds false chunks: nothing of it is shared"
    with running(config, BRISK) as controller:
        gamma = enrolled(controller, "gamma")
        data_puts(gamma)
        before = len(packs(controller))
        a_vm(gamma, 3).backup(controller)
        assert len(packs(controller)) == before + 1, "only what nobody proved is stored again"


def states(controller: Controller, result: dict[str, Any]) -> dict[str, str]:
    """Of the points that a check's findings name."""
    named = {point_id for finding in result.get("findings", ()) for point_id in finding["points"]}
    found = in_database(controller, lambda all: [all.points.point(point_id) for point_id in sorted(named)])
    return {point.id: f"{point.state} seq {point.seq}" for point in found if point is not None}


def fewest_jobs(controller: Controller) -> int:
    """How many checks or collections there were, whichever are fewer."""
    jobs = in_database(controller, lambda transaction: transaction.jobs.jobs())
    return min(sum(job.kind is kind for job in jobs) for kind in (JobKind.CHECK, JobKind.COLLECT))


@pytest.mark.slow
def test_checks_cry_no_wolf_while_points_come_and_go_and_packs_are_collected(tmp_path: Path) -> None:
    with serving(tmp_path, collect_grace_seconds=0.0) as (controller, _):
        vm = a_vm(enrolled(controller, "alpha"), 1)
        vm.backup(controller)
        over = threading.Event()
        failures: list[str] = []

        def again(kind: JobKind, **request: Any) -> None:
            while not over.is_set():
                job = awaited(controller, started(controller, kind, **request).id, lambda found: found.state.over)
                result = json.loads(job.result or "{}")
                if job.state is not JobState.SUCCEEDED or result.get("findings_total"):
                    failures.append(f"{job.kind} {job.result} {job.failure}; points now: {states(controller, result)}")

        others = [
            threading.Thread(target=again, args=(JobKind.CHECK,), kwargs={"read_data_percent": 100}),
            threading.Thread(target=again, args=(JobKind.COLLECT,)),
        ]
        for thread in others:
            thread.start()
        try:
            rng = random.Random(9)
            for number in range(200):
                if number >= 14 and fewest_jobs(controller) >= 3:
                    break  # on a busy machine the workers take their time to start
                vm.disk.write(rng.randrange(3) * MIB, rng.randbytes(700 * 1024))
                vm.agent.beat()  # however long it takes: a host that is not heard of for a minute is given nothing to do
                vm.backup(controller, "bitmap")
                if len(vm.points) > 2:
                    oldest = next(iter(vm.points))
                    deleted(controller, oldest)
                    del vm.points[oldest]
        finally:
            over.set()
            for thread in others:
                thread.join()
        assert not failures, failures[0]
        assert fewest_jobs(controller) >= 3
        assert checked(controller, read_data_percent=100)["findings_total"] == 0
        for point_id, blocks in vm.points.items():
            assert restored(controller, vm.agent, point_id) == blocks
