"""A real agent whose VMs are folders of image files: joined to a controller by token, its worker reading and writing those files."""

import asyncio
import random
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from seawall.agent.config import AgentConfig
from seawall.agent.join import join_host
from seawall.api.v1 import operator_pb2
from seawall.repository.clock import SystemClock
from support.agent_host import FAST, AgentHost
from support.agent_memory_hypervisor import vm
from support.controller_application import Controller

FILE_WORKER = (sys.executable, str(Path(__file__).with_name("agent_file_worker.py")))
VM = "33333333-3333-4333-8333-333333333333"
"""Its files lie in `vms/<VM>` below the test's folder; its name is web."""


async def joined(controller: Controller, tmp_path: Path) -> AgentHost:
    """The host, not running yet."""
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
    host = AgentHost(
        config, worker=FILE_WORKER, timing=replace(FAST, cancel_grace=30.0, stop_grace=10.0, settling_grace=120.0)
    )
    host.hypervisor.add(vm(VM, "web"))
    return host


def web_image(tmp_path: Path, body: bytes) -> Path:
    """The file of the VM's one disk, with these bytes."""
    folder = tmp_path / "vms" / VM
    folder.mkdir(parents=True)
    (folder / "domain.xml").write_text("<domain><name>web</name></domain>")
    image = folder / "vda.img"
    image.write_bytes(body)
    return image


@asynccontextmanager
async def serving_web(controller: Controller, tmp_path: Path) -> AsyncIterator[AgentHost]:
    """The host runs inside, with 300 kB on the VM's one disk, and the controller has heard of it."""
    web_image(tmp_path, random.Random(3).randbytes(300_000))
    host = await joined(controller, tmp_path)
    async with host.running():
        await known(controller)
        yield host


async def known(controller: Controller) -> None:
    """Returns once the controller has heard of the VM."""
    while not (await asyncio.to_thread(controller.backups.ListVms, operator_pb2.ListVmsRequest())).vms:
        await asyncio.sleep(0.02)
