"""A real host under a bandwidth limit: its worker keeps to the share, says so, and goes on at full speed once the limit is gone."""

import asyncio
import random
import time
import uuid
from pathlib import Path

import pytest

from seawall.api.v1 import limits_pb2, limits_pb2_grpc, resources_pb2
from support.agent_file_joined import joined, known, web_image
from support.controller_application import Controller, configured, running

MIB = 2**20
DATA_BYTES = 6 * MIB


def limit(controller: Controller, bandwidth: int) -> None:
    stub = limits_pb2_grpc.LimitServiceStub(controller.channel)
    if bandwidth:
        stub.SetLimit(limits_pb2.SetLimitRequest(request_id=str(uuid.uuid4()), scope="global", bandwidth=bandwidth))
    else:
        stub.UnsetLimit(limits_pb2.UnsetLimitRequest(request_id=str(uuid.uuid4()), scope="global"))


def held_back(run: resources_pb2.Run) -> bool:
    return bool(run.attempts) and "share of the bandwidth limit" in run.attempts[-1].progress.waiting_on


async def backed_up(controller: Controller, unlimited_once_held: bool) -> float:
    """Seconds that a backup took."""
    begun = time.monotonic()
    run = await asyncio.to_thread(controller.start_backup, "web")
    if unlimited_once_held:
        await asyncio.to_thread(controller.watch, run.run_id, held_back)
        await asyncio.to_thread(limit, controller, 0)
    while True:
        run = await asyncio.to_thread(controller.run, run.run_id)
        if run.HasField("ended_at"):
            assert run.state == resources_pb2.RUN_STATE_SUCCEEDED, run
            return time.monotonic() - begun
        await asyncio.sleep(0.05)


@pytest.mark.slow
async def test_a_worker_keeps_to_its_hosts_share_until_the_limit_goes(tmp_path: Path) -> None:
    image = web_image(tmp_path, random.Random(1).randbytes(DATA_BYTES))
    with running(configured(tmp_path / "controller")) as controller:
        await asyncio.to_thread(controller.add_folder, tmp_path / "repository")
        await asyncio.to_thread(limit, controller, MIB // 2)
        async with (await joined(controller, tmp_path)).running():
            await known(controller)
            assert await backed_up(controller, unlimited_once_held=False) >= DATA_BYTES / (MIB // 2) - 2
            image.write_bytes(random.Random(2).randbytes(40 * MIB))
            assert await backed_up(controller, unlimited_once_held=True) < 40
