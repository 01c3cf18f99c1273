"""A real agent reads points whose packs were compacted meanwhile: through signed URLs, restoring and as a parent."""

import asyncio
import json
import random
import uuid
from dataclasses import replace
from pathlib import Path

import pytest

from seawall.api.v1 import operator_pb2, resources_pb2
from support.agent_file_joined import joined, known, web_image
from support.collecting import collected, deleted
from support.controller_application import BRISK, Controller, configured, running


@pytest.mark.slow
async def test_points_restore_after_their_packs_were_compacted(tmp_path: Path) -> None:
    noise = random.Random(3)
    image = web_image(tmp_path, noise.randbytes(2_000_000) + bytes(1_048_576))
    with running(configured(tmp_path / "controller"), replace(BRISK, collect_grace_seconds=0.0)) as controller:
        controller.add_folder(tmp_path / "repository")
        host = await joined(controller, tmp_path)
        async with host.running():
            await known(controller)
            first = await _run(controller, await asyncio.to_thread(controller.start_backup, "web"))
            with image.open("r+b") as file:
                file.write(noise.randbytes(1_000_000))
            second = await _run(controller, await asyncio.to_thread(controller.start_backup, "web"))
            content = image.read_bytes()
            await asyncio.to_thread(deleted, controller, first.run_id)
            job = await asyncio.to_thread(collected, controller)
            assert json.loads(job.result)["compacted"]["packs"] > 0, job
            with image.open("r+b") as file:
                file.seek(500_000)
                file.write(noise.randbytes(10_000))
            third = await _run(controller, await asyncio.to_thread(controller.start_backup, "web"))
            for point, expected in ((second, content), (third, image.read_bytes())):
                await _restored(controller, tmp_path, point.run_id, expected)


async def _run(controller: Controller, run: resources_pb2.Run) -> resources_pb2.Run:
    over = (resources_pb2.RUN_STATE_SUCCEEDED, resources_pb2.RUN_STATE_FAILED, resources_pb2.RUN_STATE_CANCELED)
    ended = await asyncio.to_thread(controller.watch, run.run_id, lambda seen: seen.state in over)
    assert ended.state == resources_pb2.RUN_STATE_SUCCEEDED, ended
    return ended


async def _restored(controller: Controller, tmp_path: Path, point_id: str, expected: bytes) -> None:
    name = f"web-{point_id[-4:]}"
    spec = resources_pb2.RestoreSpec(point_id=point_id, host_id="alpha", new_identity=True, vm_name=name)
    request = operator_pb2.StartRestoreRequest(request_id=str(uuid.uuid4()), spec=spec)
    known = set((tmp_path / "vms").iterdir())
    await _run(controller, (await asyncio.to_thread(controller.backups.StartRestore, request)).run)
    (fresh,) = set((tmp_path / "vms").iterdir()) - known
    assert (fresh / "vda.img").read_bytes() == expected
