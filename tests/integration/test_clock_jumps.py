"""Clocks of controller and agent far ahead, far behind, and jumping: backups go on, or say that it is the clock; never wrong bytes."""

import asyncio
import random
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from seawall.agent.config import AgentConfig
from seawall.agent.join import join_host
from seawall.api.v1 import operator_pb2, resources_pb2
from seawall.repository.clock import SystemClock
from support.agent_file_joined import VM, web_image
from support.agent_host import FAST, AgentHost
from support.agent_memory_hypervisor import vm
from support.controller_application import Controller, configured, running
from support.operator_words import Operator
from support.shifted_clock import YEAR_SECONDS, ShiftedClock

SHIFTED_WORKER = str(Path(__file__).parents[1] / "support" / "agent_shifted_worker.py")
FAILED = resources_pb2.RUN_STATE_FAILED
GOOD = (resources_pb2.RUN_STATE_SUCCEEDED, resources_pb2.RUN_STATE_SUCCEEDED_WITH_WARNINGS)


@dataclass
class Site:
    """One host with one VM of image files; controllers come and go."""

    root: Path
    host: AgentHost | None = None

    @property
    def image(self) -> Path:
        return self.root / "vms" / VM / "vda.img"

    def write(self, offset: int, seed: int) -> bytes:
        """Changes the disk; all of it."""
        with self.image.open("r+b") as file:
            file.seek(offset)
            file.write(random.Random(seed).randbytes(200_000))
        return self.image.read_bytes()

    async def run(self, controller: Controller, request: operator_pb2.StartRestoreRequest | None) -> resources_pb2.Run:
        """A backup, or a restore, to its end."""
        if request is None:
            run = await asyncio.to_thread(controller.start_backup, "web")
        else:
            run = (await asyncio.to_thread(controller.backups.StartRestore, request)).run
        async with asyncio.timeout(120):
            while (run := await asyncio.to_thread(controller.run, run.run_id)).state not in (*GOOD, FAILED):
                await asyncio.sleep(0.05)
        return run

    async def back_up(self, controller: Controller) -> resources_pb2.Run:
        return await self.run(controller, None)

    async def parent_of(self, controller: Controller, point_id: str) -> str:
        answer = await asyncio.to_thread(controller.backups.GetPoint, operator_pb2.GetPointRequest(point=point_id))
        return answer.point.parent_point_id

    async def restored(self, controller: Controller, point_id: str) -> bytes:
        name = f"back-{uuid.uuid4().hex[:6]}"
        spec = resources_pb2.RestoreSpec(point_id=point_id, host_id="alpha", new_identity=True, vm_name=name)
        before = set((self.root / "vms").iterdir())
        run = await self.run(controller, operator_pb2.StartRestoreRequest(request_id=str(uuid.uuid4()), spec=spec))
        assert run.state in GOOD, run
        (made,) = set((self.root / "vms").iterdir()) - before
        return (made / "vda.img").read_bytes()

    @asynccontextmanager
    async def joined(self, controller: Controller, worker_seconds: int = 0) -> AsyncIterator[AgentHost]:
        """The agent, enrolled once, until the block ends; its workers' clock is off by so much."""
        if self.host is None:
            agent = AgentConfig(
                state_dir=self.root / "agent",
                run_dir=self.root / "run",
                scratch_dir=self.root / "scratch",
                hypervisor=f"file://{self.root / 'vms'}",
                host_name="alpha",
            )
            request = operator_pb2.CreateJoinTokenRequest(request_id=str(uuid.uuid4()))
            token = (await asyncio.to_thread(controller.admin.CreateJoinToken, request)).token
            await asyncio.to_thread(join_host, agent, token, force=False, clock=SystemClock())
            self.host = AgentHost(agent, timing=replace(FAST, cancel_grace=30.0, stop_grace=10.0))
            self.host.hypervisor.add(vm(VM, "web"))
        host = replace(self.host, worker=(sys.executable, SHIFTED_WORKER, str(worker_seconds)))
        async with host.running():
            while not (await asyncio.to_thread(controller.backups.ListVms, operator_pb2.ListVmsRequest())).vms:
                await asyncio.sleep(0.02)
            yield host


@pytest.fixture
def site(tmp_path: Path) -> Site:
    web_image(tmp_path, random.Random(5).randbytes(1_500_000))
    return Site(tmp_path)


@pytest.mark.slow
async def test_a_controller_whose_clock_jumps_between_backups(site: Site, tmp_path: Path) -> None:
    """Back by twenty years and forth again, over restarts and while it runs: each point is on top of the one before, and right."""
    config = configured(tmp_path / "controller")
    points: list[tuple[str, bytes]] = []
    for number, seconds in enumerate((0, -20 * YEAR_SECONDS, 0)):
        clock = ShiftedClock(seconds)
        with running(config, clock=clock) as controller:
            if number == 0:
                await asyncio.to_thread(controller.add_folder, tmp_path / "repository")
            # The URLs of a folder end by the agent's clock: it must be as far off.
            async with site.joined(controller, seconds):
                content = site.write(300_000 * number, number)
                run = await site.back_up(controller)
                assert run.state in GOOD, run
                assert await site.parent_of(controller, run.run_id) == (points[-1][0] if points else "")
                points.append((run.run_id, content))
                clock.seconds += YEAR_SECONDS // 30  # less than makes a certificate old
                for point_id, before in points:
                    assert await site.restored(controller, point_id) == before


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [2 * YEAR_SECONDS, -2 * YEAR_SECONDS])
async def test_a_host_whose_clock_is_wrong(site: Site, tmp_path: Path, seconds: int) -> None:
    """Ahead, the URLs of a folder are over before they are used, which the run says; behind, all goes on. Set right, all goes on."""
    config = configured(tmp_path / "controller")
    with running(config) as controller:
        await asyncio.to_thread(controller.add_folder, tmp_path / "repository")
        async with site.joined(controller, seconds):
            content = site.write(0, 1)
            run = await site.back_up(controller)
            if seconds > 0:
                assert run.state == FAILED
                assert "clock" in run.failure.message and run.failure.next_step
            else:
                assert run.state in GOOD, run
                assert await site.restored(controller, run.run_id) == content
        async with site.joined(controller):
            run = await site.back_up(controller)
            assert run.state in GOOD, run
            assert await site.restored(controller, run.run_id) == content


@pytest.mark.parametrize("seconds", [6 * YEAR_SECONDS, -20 * YEAR_SECONDS])
def test_a_controller_whose_clock_is_wrong_when_it_starts_and_set_right_later(tmp_path: Path, seconds: int) -> None:
    """Its certificate serves whoever has the right time, whenever it was made."""
    config = configured(tmp_path / "state")
    operator = Operator(config.operator_toml)
    for clock in (ShiftedClock(0), ShiftedClock(seconds), ShiftedClock(0)):
        with running(config, clock=clock):
            assert operator("status").code == 0


def test_a_controller_whose_clock_jumps_ahead_and_back_while_it_runs(tmp_path: Path) -> None:
    """Past the end of its authority each certificate is old at once: it is made anew once, not at each handshake."""
    config = configured(tmp_path / "state")
    clock = ShiftedClock(0)
    operator = Operator(config.operator_toml)
    with running(config, clock=clock):
        written = []
        for seconds in (6 * YEAR_SECONDS, 6 * YEAR_SECONDS, 0, -20 * YEAR_SECONDS):
            clock.seconds = seconds
            assert operator("status").code == 0
            written.append(config.paths.server_certificate.stat().st_mtime_ns)
    assert written[0] == written[1]
