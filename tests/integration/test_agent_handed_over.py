"""A store that goes away between a point's hand-in and its commit holds up the point, not its VM: others back it up meanwhile."""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from seawall.api.v1 import operator_pb2, resources_pb2
from seawall.repository.clock import Clock
from seawall.repository.errors import BucketMissing
from seawall.repository.format.layout import MANIFESTS_PREFIX
from seawall.repository.store.folder import FolderStore
from seawall.repository.store.location import S3Credentials
from support.agent_file_joined import VM, serving_web
from support.controller_application import BRISK, Controller, configured, running


class Gated(FolderStore):
    """Takes no manifest while its gate is shut."""

    def __init__(self, folder: Path, shut: threading.Event) -> None:
        super().__init__(folder)
        self._shut = shut

    def put(self, name: str, body: bytes | memoryview, *, create_only: bool = True) -> None:
        if name.startswith(MANIFESTS_PREFIX) and self._shut.is_set():
            raise BucketMissing("the folder is not there")
        super().put(name, body, create_only=create_only)


async def until(controller: Controller, run_id: str, fits: Callable[[resources_pb2.Run], bool]) -> resources_pb2.Run:
    async with asyncio.timeout(60):
        while not fits(run := await asyncio.to_thread(controller.run, run_id)):
            assert not run.HasField("ended_at"), run
            await asyncio.sleep(0.05)
    return run


def succeeded(run: resources_pb2.Run) -> bool:
    return run.state == resources_pb2.RUN_STATE_SUCCEEDED


def points(controller: Controller) -> dict[str, resources_pb2.Point]:
    found = controller.backups.ListPoints(operator_pb2.ListPointsRequest()).points
    return {point.point_id: point for point in found if point.state == resources_pb2.POINT_STATE_AVAILABLE}


@pytest.mark.slow
async def test_a_vm_whose_point_waits_for_its_store_is_backed_up_elsewhere_meanwhile(tmp_path: Path) -> None:
    away, never = threading.Event(), threading.Event()

    def opened(url: str, credentials: S3Credentials | None, clock: Clock | None) -> FolderStore:
        folder = Path(urlsplit(url).path)
        return Gated(folder, away if folder.name == "first" else never)

    disk = tmp_path / "vms" / VM / "vda.img"
    with running(configured(tmp_path / "controller"), BRISK, open_store=opened) as controller:
        for name in ("first", "second"):
            await asyncio.to_thread(controller.add_folder, tmp_path / name, name)
        async with serving_web(controller, tmp_path):
            away.set()
            waits = await asyncio.to_thread(controller.start_backup, "web", repository="first")
            await until(controller, waits.run_id, lambda run: "BUCKET_MISSING" in run.blocked_on)
            other = await asyncio.to_thread(controller.start_backup, "web", repository="second")
            await until(controller, other.run_id, succeeded)
            held_up = await asyncio.to_thread(controller.run, waits.run_id)
            assert held_up.state == resources_pb2.RUN_STATE_ACTIVE
            assert [each.state for each in held_up.attempts] == [resources_pb2.ATTEMPT_STATE_PUBLISHING]
            assert list(points(controller)) == [other.run_id]

            away.clear()
            await until(controller, waits.run_id, succeeded)
            with disk.open("r+b") as image:
                image.write(b"changed")
            third = await asyncio.to_thread(controller.start_backup, "web", repository="first")
            await until(controller, third.run_id, succeeded)
            made = points(controller)
            assert made.keys() == {waits.run_id, other.run_id, third.run_id}
            assert made[third.run_id].parent_point_id == waits.run_id and made[third.run_id].incremental
