"""Hooks around a policy's runs, and its notices: the real command, a real controller, a real agent over files, real hooks."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from seawall.api.v1 import operator_pb2
from seawall.cli.view import plain
from support.agent_file_joined import serving_web
from support.cli_command import Answer, Cli
from support.controller_application import BRISK, Controller, configured, running
from support.shifted_clock import ShiftedClock

DAY = 86_400
WAIT_SECONDS = 120
POLICY = """
policy: nightly
repository: main
select: {names: [web]}
schedule: {cron: "0 3 * * *", zone: UTC, spread: 0}
"""


class Scene:
    """A controller, its clock and hooks, a host with the VM web, and an operator."""

    def __init__(self, controller: Controller, clock: ShiftedClock, folder: Path) -> None:
        self.controller = controller
        self.clock = clock
        self.folder = folder
        self.hooks = controller.config.hook_directory
        self.hooks.mkdir(exist_ok=True)
        self._cli = Cli(folder, controller.config.operator_toml)

    def hook(self, name: str, body: str) -> None:
        """Each call adds a line to `<name>.log`: stage, id, and the JSON that it was told."""
        log = self.folder / f"{name}.log"
        path = self.hooks / name
        told = 'body=$(cat); printf "%s %s %s\\n" "$SEAWALL_STAGE" "$SEAWALL_CALL" "$body"'
        path.write_text(f"#!/bin/sh\n{told} >> {log}\n{body}\n")
        path.chmod(0o755)

    def log(self, name: str) -> list[tuple[str, str, dict[str, Any]]]:
        path = self.folder / f"{name}.log"
        lines = path.read_text().splitlines() if path.exists() else []
        return [(stage, call, json.loads(body)) for stage, call, body in (line.split(" ", 2) for line in lines)]

    async def seawall(self, *words: str) -> Answer:
        return await asyncio.to_thread(self._cli, *words)

    async def asked(self, *words: str) -> Any:
        answer = await self.seawall(*words, "--json")
        assert answer.code == 0, (words, answer.out, answer.err)
        return answer.json

    async def applied(self, text: str) -> None:
        (self.folder / "policy.yaml").write_text(POLICY + text)
        await self.asked("policy", "apply", "-f", "policy.yaml")

    async def over(self, count: int) -> list[dict[str, Any]]:
        """Runs of the policy, oldest first, once so many are over and all their calls are."""
        async with asyncio.timeout(WAIT_SECONDS):
            while len(done := await self._done()) < count:
                await asyncio.sleep(0.05)
        return done[::-1]

    async def _done(self) -> list[dict[str, Any]]:
        found = await asyncio.to_thread(self.controller.backups.ListRuns, operator_pb2.ListRunsRequest())
        runs = [plain(run) for run in found.runs if run.policy == "nightly"]
        return [run for run in runs if run["ended_at"] and all(call["state"] != "waiting" for call in run["hooks"])]

    async def logged(self, name: str, count: int) -> list[tuple[str, str, dict[str, Any]]]:
        async with asyncio.timeout(WAIT_SECONDS):
            while len(self.log(name)) < count:
                await asyncio.sleep(0.05)
        return self.log(name)


@pytest.fixture
def clock() -> ShiftedClock:
    return ShiftedClock(0)


@pytest.fixture
def controller(tmp_path: Path, clock: ShiftedClock) -> Iterator[Controller]:
    timings = replace(BRISK, notice_seconds=0.2, rpo_look_seconds=0.2)
    with running(configured(tmp_path / "controller"), timings, clock=clock) as controller:
        controller.add_folder(tmp_path / "repository")
        yield controller


@pytest.fixture
async def scene(controller: Controller, clock: ShiftedClock, tmp_path: Path) -> AsyncIterator[Scene]:
    async with serving_web(controller, tmp_path):
        yield Scene(controller, clock, tmp_path)


async def test_what_is_called_before_and_after_a_run(scene: Scene) -> None:
    scene.hook("quiesce", f"test ! -e {scene.folder}/no; echo ready")
    scene.hook("report", "echo told")
    refused = await scene.seawall("policy", "apply", "-f", "none.yaml")
    assert refused.code == 2
    (scene.folder / "policy.yaml").write_text(POLICY + "hooks: {before: {run: quiet}}")
    refused = await scene.seawall("policy", "apply", "-f", "policy.yaml")
    assert refused.code == 2 and "line 6, hooks.before.run" in refused.err and "quiesce, report" in refused.err
    assert (await scene.asked("hook", "test", "quiesce"))["succeeded"]
    assert [stage for stage, _, _ in scene.log("quiesce")] == ["test"]

    await scene.applied("hooks: {before: {run: quiesce}, after: {run: report}}")
    named = {hook["name"]: (hook["kind"], hook["policies"]) for hook in (await scene.asked("hook", "list"))["hooks"]}
    assert named == {"quiesce": ("command", ["nightly"]), "report": ("command", ["nightly"])}
    scene.clock.seconds += DAY
    (run,) = await scene.over(1)
    assert run["state"] == "succeeded"
    assert [(call["stage"], call["hook"], call["state"], call["tries"]) for call in run["hooks"]] == [
        ("before", "quiesce", "done", 1),
        ("after", "report", "done", 1),
    ]
    shown = (await scene.seawall("run", "show", run["run_id"])).out
    assert "before quiesce: done: It exited with 0: ready." in shown
    (_, (stage, call, told)) = scene.log("quiesce")
    assert (stage, call) == ("before", run["hooks"][0]["call_id"])
    assert (told["policy"], told["run"]["vm"], told["run"]["state"]) == ("nightly", "web", "active")
    ((_, _, after),) = scene.log("report")
    assert (after["stage"], after["run"]["id"], after["run"]["state"]) == ("after", run["run_id"], "succeeded")
    assert (after["run"]["host"], after["run"]["attempt"], after["run"]["point"]) == ("alpha", 1, run["run_id"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("then", "state", "reason"),
    [("fail", "failed", "HOOK_FAILED"), ("skip", "skipped", "HOOK_SKIPPED"), ("continue", "succeeded", "")],
)
async def test_what_a_hook_before_may_do_to_a_run(scene: Scene, then: str, state: str, reason: str) -> None:
    scene.hook("quiesce", "echo not now; exit 1")
    scene.hook("report", "exit 0")
    await scene.applied(f"hooks: {{before: {{run: quiesce, on_failure: {then}}}, after: {{run: report}}}}")
    scene.clock.seconds += DAY
    (run,) = await scene.over(1)
    assert (run["state"], (run["failure"] or {"reason": ""})["reason"]) == (state, reason)
    assert [call["state"] for call in run["hooks"]] == ["failed", "done"]
    ((_, _, after),) = scene.log("report")
    assert (after["run"]["state"], after["run"]["reason"]) == (state, reason)
    if reason:
        assert "not now" in run["failure"]["message"]
        points = await asyncio.to_thread(scene.controller.backups.ListPoints, operator_pb2.ListPointsRequest())
        assert not points.points


@pytest.mark.slow
async def test_the_host_waits_for_what_comes_before(scene: Scene) -> None:
    scene.hook("quiesce", f"until test -e {scene.folder}/go; do sleep 0.05; done")
    await scene.applied("hooks: {before: {run: quiesce}}")
    scene.clock.seconds += DAY
    waits = ""
    while "quiesce" not in waits:
        found = await asyncio.to_thread(scene.controller.backups.ListRuns, operator_pb2.ListRunsRequest())
        runs = [run for run in found.runs if run.policy == "nightly"]
        assert not any(run.HasField("ended_at") for run in runs), "it did not wait"
        waits = runs[0].attempts[-1].progress.waiting_on if runs and runs[0].attempts else ""
        await asyncio.sleep(0.05)
    assert "UNAVAILABLE" not in waits and "did not answer" not in waits, "the controller is there"
    (scene.folder / "go").touch()
    (run,) = await scene.over(1)
    assert run["state"] == "succeeded"


@pytest.mark.slow
async def test_a_hook_that_fails_its_trial(scene: Scene) -> None:
    scene.hook("quiesce", "echo broken; exit 3")
    answer = await scene.seawall("hook", "test", "quiesce", "--json")
    assert answer.code == 1 and (answer.json["succeeded"], answer.json["outcome"]) == (
        False,
        "It exited with 3: broken.",
    )
    (scene.hooks / "on call").touch()
    listed = {hook["name"]: hook["trouble"] for hook in (await scene.asked("hook", "list"))["hooks"]}
    assert listed["quiesce"] == "" and "No hook can have this name" in listed["on call"]


@pytest.mark.slow
async def test_a_vm_whose_points_are_too_old_is_told_once_and_so_is_that_it_is_well_again(scene: Scene) -> None:
    scene.hook("oncall", "exit 0")
    scene.hook("quiesce", f"test -e {scene.folder}/well")
    await scene.applied("hooks: {before: {run: quiesce}}\nrpo: 48h\nnotify: {run: oncall, events: [rpo, recovered]}")
    scene.clock.seconds += DAY
    await scene.over(1)
    scene.clock.seconds += DAY
    await scene.over(2)
    assert scene.log("oncall") == [], "it was asked for 24 to 48 h ago, whatever time of day it is"
    scene.clock.seconds += DAY
    ((_, _, told),) = await scene.logged("oncall", 1)
    assert [(each["vm"], each["what"]) for each in told["troubles"]] == [("web", "rpo")]
    await scene.over(3)
    await scene.applied("hooks: {before: {run: quiesce}}\nrpo: 49h\nnotify: {run: oncall, events: [rpo, recovered]}")
    (scene.folder / "well").touch()
    scene.clock.seconds += DAY
    await scene.over(4)
    scene.clock.seconds = 0  # the host's clock, which dates the point, was not shifted
    _, (_, _, over) = await scene.logged("oncall", 2)
    assert (over["troubles_total"], [each["vm"] for each in over["recovered"]]) == (0, ["web"])


@pytest.mark.slow
async def test_trouble_and_its_end_are_told_once(scene: Scene) -> None:
    scene.hook("quiesce", f"test -e {scene.folder}/well")
    scene.hook("oncall", "exit 0")
    await scene.applied("hooks: {before: {run: quiesce}}\nnotify: {run: oncall, events: [failed, recovered]}")
    scene.clock.seconds += DAY
    await scene.over(1)
    ((stage, first, told),) = await scene.logged("oncall", 1)
    assert (stage, told["troubles_total"], told["recovered_total"]) == ("notify", 1, 0)
    assert (told["troubles"][0]["vm"], told["troubles"][0]["what"]) == ("web", "failed")
    scene.clock.seconds += DAY
    await scene.over(2)  # failed again: nothing new
    (scene.folder / "well").touch()
    scene.clock.seconds += DAY
    await scene.over(3)
    _, (_, second, told) = await scene.logged("oncall", 2)
    assert (told["troubles_total"], [each["vm"] for each in told["recovered"]], second != first) == (0, ["web"], True)
