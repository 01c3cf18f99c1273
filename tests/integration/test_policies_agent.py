"""A policy from its file to points that go again: the real command, a real controller whose wall clock moves, a real agent over files."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from seawall.api.v1 import operator_pb2
from seawall.cli.view import plain
from support.agent_file_joined import serving_web
from support.cli_command import Answer, Cli
from support.controller_application import Controller, configured, running
from support.shifted_clock import ShiftedClock

DAY = 86_400
POLICY = """
policy: nightly
repository: main
select: {names: [web]}
schedule: {cron: "0 3 * * *", zone: Europe/Berlin, spread: 0}
retention: {last: 2}
rpo: 24h
"""


class Scene:
    """A controller, its clock, a host with the VM web, and an operator."""

    def __init__(self, controller: Controller, clock: ShiftedClock, folder: Path) -> None:
        self.controller = controller
        self.clock = clock
        self.folder = folder
        self._cli = Cli(folder, controller.config.operator_toml)

    async def seawall(self, *words: str) -> Answer:
        return await asyncio.to_thread(self._cli, *words)

    async def asked(self, *words: str) -> Any:
        answer = await self.seawall(*words, "--json")
        assert answer.code == 0, (words, answer.out, answer.err)
        return answer.json

    async def applied(self, text: str, *words: str) -> Any:
        (self.folder / "policy.yaml").write_text(text)
        return (await self.asked("policy", "apply", "-f", "policy.yaml", *words))["changes"]

    async def succeeded(self, count: int) -> list[dict[str, Any]]:
        """Runs of the policy, oldest first, once so many are over and good."""
        while True:
            found = await asyncio.to_thread(self.controller.backups.ListRuns, operator_pb2.ListRunsRequest())
            runs = [plain(run) for run in found.runs if run.policy == "nightly"]
            done = [run for run in runs if run["state"].startswith("succeeded")]
            if len(done) >= count:
                return done[::-1]
            assert not [run for run in runs if run["state"] in ("failed", "missed")], runs
            await asyncio.sleep(0.05)

    async def points(self, most: int) -> list[str]:
        """Ids, newest first, once there are no more than so many."""
        while True:
            found = await asyncio.to_thread(self.controller.backups.ListPoints, operator_pb2.ListPointsRequest())
            if len(found.points) <= most:
                assert {point.policy for point in found.points} == {"nightly"}
                return [point.point_id for point in found.points]
            await asyncio.sleep(0.05)


@pytest.fixture
def clock() -> ShiftedClock:
    return ShiftedClock(0)


@pytest.fixture
def controller(tmp_path: Path, clock: ShiftedClock) -> Iterator[Controller]:
    with running(configured(tmp_path / "controller"), clock=clock) as controller:
        controller.add_folder(tmp_path / "repository")
        yield controller


@pytest.fixture
async def scene(controller: Controller, clock: ShiftedClock, tmp_path: Path) -> AsyncIterator[Scene]:
    async with serving_web(controller, tmp_path):
        yield Scene(controller, clock, tmp_path)


async def test_from_a_file_to_points_that_go_again(scene: Scene) -> None:
    assert [vm["name"] for vm in (await scene.asked("vm", "list", "--unprotected"))["vms"]] == ["web"]
    (planned,) = await scene.applied(POLICY, "--plan")
    assert (planned["kind"], planned["vm_count"], planned["warnings"]) == ("created", 1, [])
    assert (await scene.asked("policy", "list"))["policies"] == []
    assert [change["kind"] for change in await scene.applied(POLICY)] == ["created"]
    assert [change["kind"] for change in await scene.applied(POLICY)] == ["unchanged"]
    assert (await scene.asked("vm", "list", "--unprotected"))["vms"] == []
    assert await scene.succeeded(0) == [], "nothing is due before the next night"

    for night in (1, 2, 3):
        scene.clock.seconds += DAY
        runs = await scene.succeeded(night)
    assert [run["nominal_at"][8:10] for run in runs] == sorted({run["nominal_at"][8:10] for run in runs})
    points = await scene.points(2)
    assert points == [runs[2]["run_id"], runs[1]["run_id"]]

    # A hold outlives what the policy says; released, the point goes at once.
    await scene.asked("point", "hold", points[1], "--reason", "audit")
    scene.clock.seconds += DAY
    runs = await scene.succeeded(4)
    assert await scene.points(3) == [run["run_id"] for run in runs[:0:-1]]
    refused = await scene.seawall("point", "delete", points[1], "--yes", "--json")
    assert (refused.code, refused.reason) == (5, "POINT_PINNED")
    kept = (await scene.asked("policy", "preview", "nightly", "--points"))["verdicts"][-1]
    assert (kept["verdict"], kept["reasons"]) == ("keep", ["in use by a hold (audit)"])
    await scene.asked("point", "release", points[1])
    await scene.points(2)

    preview = await scene.asked("policy", "preview", "nightly", "--points")
    assert [verdict["reasons"] for verdict in preview["verdicts"]] == [["newest", "last 1"], ["last 2"]]
    (vm,) = preview["vms"]
    assert vm["measured"] and vm["name"] == "web"
    assert all(firing["local"][-12:-7] == "03:00" for firing in preview["firings"])
