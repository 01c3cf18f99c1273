"""Workers end to end: real processes, real gRPC and mTLS, a real folder repository; image files stand in for libvirt."""

import asyncio
import os
import random
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import grpc
import pytest

from seawall.agent.capture.names import places
from seawall.api.v1 import agent_pb2 as wire
from seawall.api.v1 import resources_pb2 as resources
from support.agent_host import AgentHost, enrolled_host
from support.agent_repository import ScriptedRepository
from support.scripted_controller import ScriptedController

FILE_WORKER = (sys.executable, str(Path(__file__).parents[1] / "support" / "agent_file_worker.py"))
VM = "22222222-2222-4222-8222-222222222222"
SIZE = 3 * 1024 * 1024 + 512


@dataclass
class World:
    controller: ScriptedController
    repository: ScriptedRepository
    host: AgentHost
    vms: Path

    @property
    def vm(self) -> Path:
        return self.vms / VM

    @property
    def checkpoints(self) -> list[str]:
        return sorted(path.name for path in (self.vm / "checkpoints").glob("*"))

    def backup(self) -> str:
        attempt = self.controller.assign("web", vm_id=VM)
        self.repository.runs[attempt] = (self.controller.desired[attempt].run_id, VM)
        return attempt

    def restore(self, point_id: str) -> str:
        attempt = self.controller.assign("web", kind=resources.RUN_KIND_RESTORE, vm_id=VM)
        self.repository.restores[attempt] = point_id
        return attempt

    async def completed(self, attempt: str) -> wire.CompleteAttemptRequest:
        """Until the worker is through, its tidying up included."""
        await self.controller.until(lambda: bool(self._completion(attempt) or self.controller.failure_of(attempt)))
        completion = self._completion(attempt)
        assert completion is not None, self.controller.failures
        while self.journalled_open(attempt):
            await asyncio.sleep(0.02)
        return completion

    async def failed(self, attempt: str) -> wire.FailAttemptRequest:
        await self.controller.until(lambda: self.controller.failure_of(attempt) is not None)
        failure = self.controller.failure_of(attempt)
        assert failure is not None
        return failure

    async def transferring(self, attempt: str) -> int:
        """Its worker's pid, once bytes move."""

        def moves() -> bool:
            report = self.controller.progress.get(attempt)
            return report is not None and any(disk.read_bytes for disk in report.disks)

        await self.controller.until(moves)
        journal = self.host.journal()
        pid = next(item.pid for item in journal.open_attempts() if item.ref.attempt_id == attempt)
        journal.close()
        return pid

    def journalled(self) -> dict[str, str]:
        journal = self.host.journal()
        try:
            return journal.checkpoints()
        finally:
            journal.close()

    def nothing_left_of(self, attempt: str) -> bool:
        where = places(self.host.config.run_dir, self.host.config.scratch_dir, attempt)
        return not where.run.exists() and not where.scratch.exists()

    def _completion(self, attempt: str) -> wire.CompleteAttemptRequest | None:
        return next((item for item in self.controller.completions if item.attempt.attempt_id == attempt), None)

    def journalled_open(self, attempt: str) -> bool:
        journal = self.host.journal()
        try:
            return any(item.ref.attempt_id == attempt for item in journal.open_attempts())
        finally:
            journal.close()


def write_vm(folder: Path) -> None:
    folder.mkdir(parents=True)
    noise = random.Random(7)
    (folder / "vda.img").write_bytes(noise.randbytes(SIZE // 3) + bytes(SIZE // 3) + noise.randbytes(SIZE // 3))
    (folder / "vdb.img").write_bytes(b"all the same " * 40_000)
    (folder / "domain.xml").write_text("<domain><name>web</name></domain>")


def overwrite(image: Path, offset: int, data: bytes) -> None:
    with image.open("r+b") as file:
        file.seek(offset)
        file.write(data)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    repository = ScriptedRepository(tmp_path / "repository")
    async with ScriptedController(data=repository).serving() as controller:
        host = enrolled_host(tmp_path, controller)
        vms = tmp_path / "vms"
        write_vm(vms / VM)
        config = replace(host.config, hypervisor=f"file://{vms}")
        slow_stop = replace(host.timing, cancel_grace=30.0, stop_grace=10.0)
        host = replace(host, config=config, worker=FILE_WORKER, timing=slow_stop)
        async with host.running():
            yield World(controller, repository, host, vms)


async def test_full_then_incremental_then_both_restored(world: World) -> None:
    full = await world.completed(world.backup())
    first = {path.name: path.read_bytes() for path in world.vm.glob("*.img")}
    assert [(disk.disk, disk.how) for disk in full.disks] == [
        ("vda", resources.READ_METHOD_FULL),
        ("vdb", resources.READ_METHOD_FULL),
    ]
    assert full.instant.ToMicroseconds() > 0 and full.disks[0].new_bytes > SIZE // 2

    overwrite(world.vm / "vda.img", 100_000, b"fresh" * 100)
    overwrite(world.vm / "vda.img", 4096, bytes(65_536))
    incremental = await world.completed(world.backup())
    assert [disk.how for disk in incremental.disks] == [resources.READ_METHOD_BITMAP] * 2
    assert 0 < incremental.disks[0].read_bytes < SIZE // 2 and incremental.disks[1].read_bytes == 0
    assert set(world.journalled().values()) == {"committed"} and len(world.checkpoints) == 2

    second = {path.name: path.read_bytes() for path in world.vm.glob("*.img")}
    for point, truth in zip(world.repository.points, (first, second), strict=True):
        done = await world.completed(world.restore(point))
        restored = world.vms / done.restored_vm_id
        assert {path.name: path.read_bytes() for path in restored.glob("*.img")} == truth
        assert (restored / "domain.xml").read_text() == "<domain><name>web</name></domain>"


async def test_three_backups_keep_two_checkpoints(world: World) -> None:
    for number in range(3):
        overwrite(world.vm / "vda.img", 8192 * number, b"x" * 512)
        await world.completed(world.backup())
    assert len(world.checkpoints) == 2
    assert world.checkpoints == sorted(world.journalled())


async def test_progress_goes_through_the_states(world: World) -> None:
    (world.vm / "slow").touch()
    attempt = world.backup()
    await world.transferring(attempt)
    (world.vm / "slow").unlink()
    await world.completed(attempt)
    states = list(dict.fromkeys(world.controller.states[attempt]))
    assert states[-1] == resources.ATTEMPT_STATE_TRANSFERRING
    assert states in (
        [resources.ATTEMPT_STATE_PREPARING, resources.ATTEMPT_STATE_TRANSFERRING],
        [resources.ATTEMPT_STATE_TRANSFERRING],
    )


async def test_a_lost_answer_to_the_hand_in_is_asked_for_again(world: World) -> None:
    world.controller.lose_answers["CompleteAttempt"] = 2
    attempt = world.backup()
    await world.completed(attempt)
    assert len(world.repository.points) == 1
    assert list(world.journalled().values()) == ["committed"]
    assert world.controller.failures == []


async def test_a_refusal_after_a_lost_answer_leaves_the_outcome_unknown(world: World) -> None:
    world.controller.lose_answers["CompleteAttempt"] = 1
    world.controller.refuse["CompleteAttempt"] = (grpc.StatusCode.PERMISSION_DENIED, "AGENT_REVOKED")
    attempt = world.backup()
    await world.controller.until(lambda: bool(world.controller.completions))
    while world.journalled_open(attempt):
        await asyncio.sleep(0.02)
    assert len(world.repository.points) == 1
    assert list(world.journalled().values()) == ["unknown"] and len(world.checkpoints) == 1


async def test_a_plain_refusal_of_the_hand_in_commits_nothing(world: World) -> None:
    world.controller.refuse["CompleteAttempt"] = (grpc.StatusCode.FAILED_PRECONDITION, "PACK_VOID")
    assert (await world.failed(world.backup())).failure.reason == "PACK_VOID"
    assert world.checkpoints == []


async def test_missing_slots_are_stored_anew_and_the_point_restores(world: World) -> None:
    await world.completed(world.backup())
    world.repository.condemn_on_complete = 3
    overwrite(world.vm / "vda.img", 0, b"changed")
    packs = len(world.repository.stored)
    await world.completed(world.backup())
    assert len(world.repository.condemned) == 3 and len(world.repository.stored) > packs + 1
    for pack, _ in world.repository.condemned:
        (path,) = world.repository.folder.rglob(f"{pack.hex()}.0")
        shutil.copy(path, path.with_suffix(".kept"))
    done = await world.completed(world.restore(list(world.repository.points)[-1]))
    assert (world.vms / done.restored_vm_id / "vda.img").read_bytes() == (world.vm / "vda.img").read_bytes()


async def test_a_cancel_in_mid_backup_cleans_up_and_says_so(world: World) -> None:
    (world.vm / "slow").touch()
    attempt = world.backup()
    await world.transferring(attempt)
    world.controller.cancel(attempt)
    failure = await world.failed(attempt)
    assert failure.canceled and failure.failure.reason == "CANCELED"
    assert world.checkpoints == [] and world.nothing_left_of(attempt)


async def test_a_killed_worker_is_swept_and_the_next_attempt_reuses_its_packs(world: World) -> None:
    (world.vm / "slow").touch()
    attempt = world.backup()
    os.kill(await world.transferring(attempt), signal.SIGKILL)
    failure = await world.failed(attempt)
    assert failure.failure.reason == "WORKER_EXITED" and "SIGKILL" in failure.failure.message
    (world.vm / "slow").unlink()
    await world.completed(world.backup())
    assert world.nothing_left_of(attempt)


async def test_a_session_lost_in_mid_backup_does_not_end_it(world: World) -> None:
    (world.vm / "slow").touch()
    attempt = world.backup()
    await world.transferring(attempt)
    world.controller.lose_session()
    await world.controller.until(lambda: len(world.controller.hellos) == 2)
    (world.vm / "slow").unlink()
    await world.completed(attempt)
    assert len(world.controller.hellos) == 2 and world.controller.failures == []


async def test_a_damaged_parent_costs_time_but_not_the_backup(world: World) -> None:
    first = await world.completed(world.backup())
    assert first.disks
    (manifest,) = (world.repository.folder / "v1" / "m").rglob(next(iter(world.repository.points)))
    manifest.chmod(0o600)
    manifest.write_bytes(manifest.read_bytes()[:-1] + b"\0\0")
    second = await world.completed(world.backup())
    assert [warning.reason for warning in second.warnings] == ["PARENT_NOT_READABLE"]
    assert [disk.how for disk in second.disks] == [resources.READ_METHOD_FULL] * 2


async def test_a_damaged_pack_fails_the_restore_and_leaves_nothing(world: World) -> None:
    await world.completed(world.backup())
    for pack in (world.repository.folder / "v1" / "p").rglob("*.[01]"):
        pack.chmod(0o600)
        body = bytearray(pack.read_bytes())
        body[len(body) // 3] ^= 1
        pack.write_bytes(bytes(body))
    failure = await world.failed(world.restore(next(iter(world.repository.points))))
    assert failure.failure.reason == "DATA_DAMAGED" and failure.failure.kind == resources.FAILURE_KIND_PERMANENT
    assert [path.name for path in world.vms.iterdir()] == [VM]


async def test_a_vm_that_is_gone_is_a_conflict(world: World) -> None:
    shutil.rmtree(world.vm)
    failure = await world.failed(world.backup())
    assert failure.failure.reason == "VM_NOT_FOUND" and failure.failure.kind == resources.FAILURE_KIND_CONFLICT
    assert failure.failure.next_step


async def test_secrets_stay_out_of_logs_and_journal(world: World) -> None:
    await world.completed(world.backup())
    secrets = [world.repository.secrets.k_dedup("default", 1), world.repository.secrets.cut_key]
    for path in world.host.config.state_dir.rglob("*"):
        if path.is_file() and path.name != "identity.json":
            body = path.read_bytes()
            assert all(secret not in body and secret.hex().encode() not in body for secret in secrets), path
            assert b"expires_us" not in body, path  # a signed URL
