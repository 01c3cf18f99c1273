"""Agent and controller, both real, over loopback: join, back up twice, restore, cancel, and a controller that restarts in between."""

import asyncio
import json
import random
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from seawall.api.v1 import operator_pb2, resources_pb2
from seawall.controller.config import ControllerConfig
from seawall.controller.records.maintenance import JobKind
from seawall.repository.store.folder import FolderStore
from support.agent_file_joined import VM, joined, known, web_image
from support.agent_host import AgentHost
from support.collecting import awaited, started
from support.controller_application import Controller, configured, running

OVER = (
    resources_pb2.RUN_STATE_SUCCEEDED,
    resources_pb2.RUN_STATE_SUCCEEDED_WITH_WARNINGS,
    resources_pb2.RUN_STATE_FAILED,
    resources_pb2.RUN_STATE_CANCELED,
)


@pytest.fixture
def config(tmp_path: Path) -> ControllerConfig:
    return configured(tmp_path / "controller")


@pytest.fixture
def controller(config: ControllerConfig, tmp_path: Path) -> Iterator[Controller]:
    with running(config) as controller:
        controller.add_folder(tmp_path / "repository")
        yield controller


@pytest.fixture
async def host(controller: Controller, tmp_path: Path) -> AsyncIterator[AgentHost]:
    """Joined by token, running, its VM known to the controller."""
    images(tmp_path)
    host = await joined(controller, tmp_path)
    async with host.running():
        await known(controller)
        yield host


def images(tmp_path: Path) -> None:
    web_image(tmp_path, random.Random(3).randbytes(2_000_000) + bytes(1_048_576))


def transferring(run: resources_pb2.Run) -> bool:
    return bool(run.attempts) and run.attempts[-1].state == resources_pb2.ATTEMPT_STATE_TRANSFERRING


async def until(
    controller: Controller, run: resources_pb2.Run, fits: Callable[[resources_pb2.Run], bool]
) -> resources_pb2.Run:
    return await asyncio.to_thread(controller.watch, run.run_id, fits)


def over(run: resources_pb2.Run) -> bool:
    return run.state in OVER


async def back_up(controller: Controller) -> resources_pb2.Point:
    run = await asyncio.to_thread(controller.start_backup, "web")
    ended = await until(controller, run, over)
    assert ended.state == resources_pb2.RUN_STATE_SUCCEEDED, ended
    return (await asyncio.to_thread(controller.backups.GetPoint, operator_pb2.GetPointRequest(point=run.run_id))).point


async def restore(controller: Controller, point: resources_pb2.Point) -> resources_pb2.Run:
    spec = resources_pb2.RestoreSpec(point_id=point.point_id, host_id="alpha", new_identity=True, vm_name="web2")
    request = operator_pb2.StartRestoreRequest(request_id=str(uuid.uuid4()), spec=spec)
    run = (await asyncio.to_thread(controller.backups.StartRestore, request)).run
    return await until(controller, run, over)


def restored_images(host: AgentHost) -> list[bytes]:
    vms = Path(host.config.hypervisor.removeprefix("file://"))
    return [(path / "vda.img").read_bytes() for path in vms.iterdir() if path.name != VM]


async def test_two_backups_and_both_restored(controller: Controller, host: AgentHost) -> None:
    image = Path(host.config.hypervisor.removeprefix("file://")) / VM / "vda.img"
    full, first = await back_up(controller), image.read_bytes()
    with image.open("r+b") as file:
        file.seek(300_000)
        file.write(b"changed" * 1000)
    incremental, second = await back_up(controller), image.read_bytes()
    assert [full.disks[0].how, incremental.disks[0].how] == [
        resources_pb2.READ_METHOD_FULL,
        resources_pb2.READ_METHOD_BITMAP,
    ]
    assert incremental.incremental and incremental.parent_point_id == full.point_id
    assert 0 < incremental.disks[0].read_bytes < full.disks[0].read_bytes
    for point in (full, incremental):
        assert (await restore(controller, point)).state == resources_pb2.RUN_STATE_SUCCEEDED
    assert sorted(restored_images(host)) == sorted([first, second])


async def test_what_verification_found_damaged_is_stored_anew(
    controller: Controller, host: AgentHost, tmp_path: Path
) -> None:
    """The agent is told when its attempt begins: it reads those places although nothing there changed, and stores nothing else."""
    image = Path(host.config.hypervisor.removeprefix("file://")) / VM / "vda.img"
    await back_up(controller)
    store = FolderStore(tmp_path / "repository")
    name = max((info.size_bytes, info.name) for info in store.list("v1/p/"))[1]
    body = bytearray(store.get(name))
    body[len(body) // 2] ^= 1
    store.put(name, bytes(body), create_only=False)
    job = await asyncio.to_thread(started, controller, JobKind.CHECK, read_data_percent=100)
    done = await asyncio.to_thread(awaited, controller, job.id, lambda found: found.state.over)
    assert json.loads(done.result)["bad_slots"] == 1, done
    point, expected = await back_up(controller), image.read_bytes()
    assert point.disks[0].how == resources_pb2.READ_METHOD_BITMAP
    assert 0 < point.disks[0].new_bytes <= 1 << 18
    assert point.damage == ""
    await restore(controller, point)
    assert restored_images(host) == [expected]


async def test_a_run_canceled_in_mid_transfer_is_canceled(controller: Controller, host: AgentHost) -> None:
    folder = Path(host.config.hypervisor.removeprefix("file://")) / VM
    (folder / "slow").touch()
    run = await asyncio.to_thread(controller.start_backup, "web")
    await until(controller, run, transferring)
    request = operator_pb2.CancelRunRequest(request_id=str(uuid.uuid4()), run=run.run_id)
    await asyncio.to_thread(controller.backups.CancelRun, request)
    assert (await until(controller, run, over)).state == resources_pb2.RUN_STATE_CANCELED
    assert list((folder / "checkpoints").iterdir()) == []


async def test_a_vm_that_vanished_is_said_so(controller: Controller, host: AgentHost) -> None:
    folder = Path(host.config.hypervisor.removeprefix("file://")) / VM
    folder.rename(folder.with_name("elsewhere"))
    run = await asyncio.to_thread(controller.start_backup, "web")
    seen = await until(controller, run, lambda it: any(attempt.failure.reason for attempt in it.attempts))
    assert seen.attempts[0].failure.reason == "VM_NOT_FOUND" and seen.attempts[0].failure.next_step


async def test_a_backup_outlives_a_restart_of_the_controller(config: ControllerConfig, tmp_path: Path) -> None:
    """The same attempt goes on: its worker asks again until the new controller answers."""
    before = running(config)
    controller = await asyncio.to_thread(before.__enter__)
    await asyncio.to_thread(controller.add_folder, tmp_path / "repository")
    images(tmp_path)
    host = await joined(controller, tmp_path)
    (tmp_path / "vms" / VM / "slow").touch()
    async with host.running():
        await known(controller)
        run = await asyncio.to_thread(controller.start_backup, "web")
        await until(controller, run, transferring)
        await asyncio.to_thread(before.__exit__, None, None, None)
        after = running(config)
        controller = await asyncio.to_thread(after.__enter__)
        try:
            ended = await until(controller, run, over)
        finally:
            await asyncio.to_thread(after.__exit__, None, None, None)
    assert ended.state == resources_pb2.RUN_STATE_SUCCEEDED
    assert len(ended.attempts) == 1
