"""Damage in the repository, met by a controller and an agent that know nothing of it.

Backups go on without the parent, restores say what is damaged, the rest of the controller does its work.
"""

import asyncio
import random
import shutil
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import grpc
import pytest

from seawall.agent.config import AgentConfig
from seawall.agent.join import join_host
from seawall.api.v1 import operator_pb2, resources_pb2
from seawall.controller.config import ControllerConfig
from seawall.repository.clock import SystemClock
from support.agent_file_joined import FILE_WORKER, VM, web_image
from support.agent_host import FAST, AgentHost
from support.agent_memory_hypervisor import vm
from support.controller_agent import enrolled
from support.controller_application import Controller, configured, reason_of, running
from support.operator_words import Operator

SUCCEEDED = resources_pb2.RUN_STATE_SUCCEEDED
FAILED = resources_pb2.RUN_STATE_FAILED
OVER = (SUCCEEDED, resources_pb2.RUN_STATE_SUCCEEDED_WITH_WARNINGS, FAILED)


@dataclass(frozen=True)
class Site:
    """A controller, a real agent over file images, and the folder that is their repository."""

    config: ControllerConfig
    controller: Controller
    host: AgentHost
    root: Path

    @property
    def bucket(self) -> Path:
        return self.root / "repository"

    @property
    def image(self) -> Path:
        return self.root / "vms" / VM / "vda.img"

    def objects(self, place: str) -> list[Path]:
        """Files below one part of the repository."""
        return sorted(path for path in (self.bucket / "v1").glob(f"{place}/**/*") if path.is_file())

    async def ended(self, run: resources_pb2.Run) -> resources_pb2.Run:
        async with asyncio.timeout(120):
            while (run := await asyncio.to_thread(self.controller.run, run.run_id)).state not in OVER:
                await asyncio.sleep(0.05)
        return run

    async def back_up(self) -> resources_pb2.Run:
        return await self.ended(await asyncio.to_thread(self.controller.start_backup, "web"))

    async def restore(self, point_id: str) -> resources_pb2.Run:
        spec = resources_pb2.RestoreSpec(
            point_id=point_id, host_id="alpha", new_identity=True, vm_name=f"back-{uuid.uuid4().hex[:4]}"
        )
        request = operator_pb2.StartRestoreRequest(request_id=str(uuid.uuid4()), spec=spec)
        return await self.ended((await asyncio.to_thread(self.controller.backups.StartRestore, request)).run)

    async def point(self, run: resources_pb2.Run) -> resources_pb2.Point:
        request = operator_pb2.GetPointRequest(point=run.run_id)
        return (await asyncio.to_thread(self.controller.backups.GetPoint, request)).point

    def restored(self) -> list[Path]:
        return [path for path in (self.root / "vms").iterdir() if path.name != VM and not path.name.startswith(".")]


@asynccontextmanager
async def site(root: Path) -> AsyncIterator[Site]:
    web_image(root, random.Random(5).randbytes(1_500_000))
    agent = AgentConfig(
        state_dir=root / "agent",
        run_dir=root / "run",
        scratch_dir=root / "scratch",
        hypervisor=f"file://{root / 'vms'}",
        host_name="alpha",
    )
    config = configured(root / "controller")
    with running(config) as controller:
        await asyncio.to_thread(controller.add_folder, root / "repository")
        request = operator_pb2.CreateJoinTokenRequest(request_id=str(uuid.uuid4()))
        token = (await asyncio.to_thread(controller.admin.CreateJoinToken, request)).token
        await asyncio.to_thread(join_host, agent, token, force=False, clock=SystemClock())
        host = AgentHost(agent, worker=FILE_WORKER, timing=replace(FAST, cancel_grace=30.0, stop_grace=10.0))
        host.hypervisor.add(vm(VM, "web"))
        async with host.running():
            while not (await asyncio.to_thread(controller.backups.ListVms, operator_pb2.ListVmsRequest())).vms:
                await asyncio.sleep(0.02)
            yield Site(config, controller, host, root)


def flip(path: Path, place: float = 0.5) -> None:
    path.chmod(0o600)
    body = bytearray(path.read_bytes())
    body[int(len(body) * place)] ^= 1
    path.write_bytes(body)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def gone(path: Path) -> None:
    path.unlink()


def meta_packs(site: Site) -> list[Path]:
    """Both generations of the packs of manifest pages."""
    twice = {path.name[:-2] for path in site.objects("p") if path.name.endswith(".1")}
    return [path for path in site.objects("p") if path.name[:-2] in twice]


def data_packs(site: Site) -> list[Path]:
    return [path for path in site.objects("p") if path not in meta_packs(site)]


Where = Callable[[Site], list[Path]]
slow = pytest.mark.slow
POINTS = [
    pytest.param(lambda site: site.objects("m"), flip, id="manifest flipped", marks=slow),
    pytest.param(lambda site: site.objects("m"), cut, id="manifest cut", marks=slow),
    pytest.param(lambda site: site.objects("m"), gone, id="manifest gone", marks=slow),
    pytest.param(lambda site: site.objects("r"), flip, id="refmap flipped"),
    pytest.param(lambda site: site.objects("r"), gone, id="refmap gone", marks=slow),
]


@pytest.mark.parametrize(("where", "damage"), POINTS)
async def test_a_damaged_point_is_no_parent_and_no_restore(
    tmp_path: Path, where: Where, damage: Callable[[Path], None]
) -> None:
    async with site(tmp_path) as made:
        first = await made.back_up()
        assert first.state == SUCCEEDED
        for path in where(made):
            damage(path)
        made.controller.application._repositories._opened.clear()  # as after a start: nothing of the point is remembered
        back = await made.restore(first.run_id)
        assert (back.state, back.failure.reason, len(back.attempts)) == (FAILED, "POINT_DAMAGED", 1)
        assert first.run_id in back.failure.message and "another point" in back.failure.next_step
        assert made.restored() == []
        shown = await asyncio.to_thread(Operator(made.config.operator_toml), "run", "show", back.run_id)
        assert "POINT_DAMAGED" in shown.out
        assert (await asyncio.to_thread(Operator(made.config.operator_toml), "repo", "show", "main")).code == 0
        second = await made.back_up()
        assert second.state in OVER[:2], second
        point = await made.point(second)
        assert point.disks[0].how == resources_pb2.READ_METHOD_FULL
        assert (await made.restore(second.run_id)).state == SUCCEEDED
        (folder,) = made.restored()
        assert (folder / "vda.img").read_bytes() == made.image.read_bytes()


DATA = [
    pytest.param(lambda site: data_packs(site), flip, "DATA_DAMAGED", id="data flipped"),
    pytest.param(lambda site: data_packs(site), gone, "OBJECT_MISSING", id="data gone", marks=slow),
    pytest.param(
        lambda site: meta_packs(site), flip, "DATA_DAMAGED", id="both copies of the pages flipped", marks=slow
    ),
    pytest.param(lambda site: meta_packs(site)[:1], flip, "", id="one copy of the pages flipped", marks=slow),
]


@pytest.mark.parametrize(("where", "damage", "reason"), DATA)
async def test_damaged_packs_in_a_restore(
    tmp_path: Path, where: Where, damage: Callable[[Path], None], reason: str
) -> None:
    async with site(tmp_path) as made:
        first = await made.back_up()
        for path in where(made):
            damage(path)
        back = await made.restore(first.run_id)
        assert (back.failure.reason, back.state == SUCCEEDED) == (reason, not reason)
        if reason:
            assert "disk vda" in back.failure.message and "another point" in back.failure.next_step
            assert made.restored() == [], "what could not be completed is not left behind"


CONFIGS = [
    pytest.param("config*", flip, "FOREIGN_REPOSITORY|OBJECT_DAMAGED", id="every config flipped"),
    pytest.param("keys/**/*", flip, "FOREIGN_REPOSITORY|OBJECT_DAMAGED", id="every key flipped"),
    pytest.param("config*", gone, "OBJECT_MISSING", id="every config gone", marks=slow),
]


@pytest.mark.parametrize(("where", "damage", "reason"), CONFIGS)
def test_a_repository_that_cannot_be_opened(
    tmp_path: Path, where: str, damage: Callable[[Path], None], reason: str
) -> None:
    """The controller starts, shows it, and says to each attempt why it cannot begin; whole again, it goes on."""
    config = configured(tmp_path / "state")
    with running(config) as controller:
        controller.add_folder(tmp_path / "bucket")
        host = enrolled(controller, "alpha")
        host.inventory({"vda": 1024 * 1024}, vm_id=VM, vm_name="web")
    shutil.copytree(tmp_path / "bucket", tmp_path / "whole")
    touched = [path for path in (tmp_path / "bucket" / "v1").glob(where) if path.is_file()]
    assert touched
    for path in touched:
        damage(path)
    operator = Operator(config.operator_toml)
    with running(config) as controller:
        for words in (("repo", "list"), ("repo", "show", "main"), ("repo", "keys", "main"), ("status",)):
            assert operator(*words).code == 0
        host.connect()
        host.hello()
        controller.start_backup("web")
        attempt = host.next_assignment().attempt
        with pytest.raises(grpc.RpcError) as caught:
            host.accept(attempt)
        assert reason_of(caught.value) in reason.split("|"), caught.value
        shutil.rmtree(tmp_path / "bucket")
        (tmp_path / "whole").rename(tmp_path / "bucket")
        assert host.accept(attempt).backup.tenant == "default"


def test_one_damaged_copy_of_config_is_no_trouble(tmp_path: Path) -> None:
    config = configured(tmp_path / "state")
    with running(config) as controller:
        controller.add_folder(tmp_path / "bucket")
    flip(tmp_path / "bucket" / "v1" / "config")
    with running(config) as controller:
        host = enrolled(controller, "alpha")
        host.inventory({"vda": 1024 * 1024}, vm_id=VM, vm_name="web")
        controller.start_backup("web")
        assert host.accept(host.next_assignment().attempt).backup.tenant == "default"
