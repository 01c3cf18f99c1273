"""A repository's whole life by the operator's command: points deleted, collected, verified, damaged, stored anew, healed from a copy."""

import asyncio
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from seawall.agent.config import AgentConfig
from seawall.agent.join import join_host
from seawall.repository.clock import SystemClock
from seawall.repository.format.layout import PointName
from seawall.repository.store.folder import FolderStore
from support.agent_file_joined import FILE_WORKER, VM, web_image
from support.agent_host import FAST, AgentHost
from support.agent_memory_hypervisor import vm
from support.cli_command import Answer, Cli
from support.controller_process import Served, served
from support.stored_points import StoredPoints

MIB = 1 << 20


class Operator:
    """Commands, awaited beside the agent that runs in the same loop."""

    def __init__(self, root: Path) -> None:
        self._cli = Cli(root, root / "state" / "operator.toml")

    async def __call__(self, *words: str, code: int = 0) -> Any:
        """The document."""
        answer: Answer = await asyncio.to_thread(self._cli, *words, "--json")
        assert answer.code == code, answer
        return answer.json

    async def back_up(self) -> str:
        """The point's id."""
        run = await self("backup", "web", "--wait")
        return str(run["runs"][0]["run_id"])

    async def point(self, point_id: str) -> dict[str, Any]:
        found: dict[str, Any] = await self("point", "show", point_id)
        return found


@pytest.mark.slow
async def test_a_repository_is_collected_damaged_and_healed(tmp_path: Path) -> None:
    image = web_image(tmp_path, random.Random(3).randbytes(2 * MIB) + bytes(MIB // 4))
    with served(tmp_path) as controller:
        controller.add_folder(tmp_path / "repository", 8192)
        host = await joined(controller, tmp_path)
        async with host.running():
            await told(tmp_path, image, controller)


async def joined(controller: Served, root: Path) -> AgentHost:
    config = AgentConfig(
        state_dir=root / "agent",
        run_dir=root / "run",
        scratch_dir=root / "scratch",
        hypervisor=f"file://{root / 'vms'}",
        host_name="alpha",
    )
    token = await Operator(root)("host", "token")
    await asyncio.to_thread(join_host, config, token["token"], force=False, clock=SystemClock())
    host = AgentHost(config, worker=FILE_WORKER, timing=FAST)
    host.hypervisor.add(vm(VM, "web"))
    return host


async def told(root: Path, image: Path, controller: Served) -> None:
    seawall, stored = Operator(root), StoredPoints(root / "repository", controller.state)
    while not (await seawall("vm", "list"))["vms"]:
        await asyncio.sleep(0.05)
    first = await seawall.back_up()
    with image.open("r+b") as file:
        file.write(random.Random(4).randbytes(MIB))
    older = packs_in(root)
    kept, content = await seawall.back_up(), image.read_bytes()
    all_needed = packs_in(root).keys() - older.keys()

    await seawall("point", "delete", first, "--yes")
    gone = (await seawall("repo", "collect", "main"))["job"]["result"]
    assert gone, gone
    assert (await seawall("repo", "check", "main", "--read-data"))["job"]["result"].get("findings", []) == []
    assert (await seawall.point(kept))["verified"] is True
    assert (await seawall("status"))["points_verified"] == 1
    assert stored.image(PointName("default", VM, kept)) == content

    shutil.copytree(root / "repository", root / "copy")
    name = damaged(root, all_needed)
    found = (await seawall("repo", "check", "main", "--read-data", code=1))["job"]["result"]["findings"]
    assert [(each["object"], each["points"]) for each in found] == [(name, [kept])]
    shown = await seawall.point(kept)
    assert shown["damage"] and not shown.get("verified", False)
    assert (await seawall("status")).get("points_verified", 0) == 0

    anew = await seawall.back_up()
    new_bytes = sum(int(disk["new_bytes"]) for disk in (await seawall.point(anew))["disks"])
    assert 0 < new_bytes < MIB // 4
    assert stored.image(PointName("default", VM, anew)) == content

    await seawall("repo", "heal", "main", "--from", (root / "copy").as_uri())
    assert not (await seawall.point(kept)).get("damage")
    await seawall("repo", "check", "main", "--read-data")
    for point in (kept, anew):
        assert (await seawall.point(point))["verified"] is True
        assert stored.image(PointName("default", VM, point)) == content
    assert (await seawall("status"))["points_verified"] == 2


def packs_in(root: Path) -> dict[str, int]:
    """Name -> bytes."""
    return {info.name: info.size_bytes for info in FolderStore(root / "repository").list("v1/p/")}


def damaged(root: Path, packs: set[str]) -> str:
    """The name of the largest of these packs, one byte of it altered."""
    store, sizes = FolderStore(root / "repository"), packs_in(root)
    name = max(packs, key=lambda each: sizes[each])
    body = bytearray(store.get(name))
    body[len(body) // 3] ^= 1
    store.put(name, bytes(body), create_only=False)
    return name
