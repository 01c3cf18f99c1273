"""A real agent reads points whose packs were compacted meanwhile: through signed URLs, restoring and as a parent."""

import asyncio
import json
import random
import sys
import uuid
from dataclasses import replace
from pathlib import Path

from seawall.agent.config import AgentConfig
from seawall.agent.join import join_host
from seawall.api.v1 import operator_pb2, resources_pb2
from seawall.repository.clock import SystemClock
from support.agent_host import FAST, AgentHost
from support.agent_memory_hypervisor import vm
from support.collecting import collected, deleted
from support.controller_application import BRISK, Controller, configured, running

FILE_WORKER = (sys.executable, str(Path(__file__).parents[1] / "support" / "agent_file_worker.py"))
VM = "33333333-3333-4333-8333-333333333333"


async def test_points_restore_after_their_packs_were_compacted(tmp_path: Path) -> None:
    image = tmp_path / "vms" / VM / "vda.img"
    image.parent.mkdir(parents=True)
    (image.parent / "domain.xml").write_text("<domain><name>web</name></domain>")
    noise = random.Random(3)
    image.write_bytes(noise.randbytes(2_000_000) + bytes(1_048_576))
    with running(configured(tmp_path / "controller"), replace(BRISK, collect_grace_seconds=0.0)) as controller:
        controller.add_folder(tmp_path / "repository")
        host = await _joined(controller, tmp_path)
        async with host.running():
            while not (await asyncio.to_thread(controller.backups.ListVms, operator_pb2.ListVmsRequest())).vms:
                await asyncio.sleep(0.02)
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


async def _joined(controller: Controller, tmp_path: Path) -> AgentHost:
    config = AgentConfig(
        state_dir=tmp_path / "state",
        run_dir=tmp_path / "run",
        scratch_dir=tmp_path / "scratch",
        hypervisor=f"file://{tmp_path / 'vms'}",
        host_name="alpha",
    )
    request = operator_pb2.CreateJoinTokenRequest(request_id=str(uuid.uuid4()))
    token = (await asyncio.to_thread(controller.admin.CreateJoinToken, request)).token
    await asyncio.to_thread(join_host, config, token, force=False, clock=SystemClock())
    host = AgentHost(config, worker=FILE_WORKER, timing=replace(FAST, cancel_grace=30.0, stop_grace=10.0))
    host.hypervisor.add(vm(VM, "web"))
    return host


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
