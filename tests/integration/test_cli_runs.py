"""Runs as operators follow them: live bars on a terminal, lines in a pipe, one document for scripts, and the exit codes of how they end."""

import json
import random
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from seawall.api.v1 import agent_pb2, resources_pb2
from support.cli_command import Cli
from support.controller_agent import ScriptedAgent, enrolled
from support.controller_application import Controller, configured, running
from support.memory_disks import ModelDisk

MIB = 1024 * 1024


@dataclass
class Scene:
    """A controller with a repository, one host with one VM, and an operator."""

    controller: Controller
    alpha: ScriptedAgent
    seawall: Cli

    def transferring(self, attempt: agent_pb2.AttemptRef) -> None:
        disk = resources_pb2.DiskProgress(
            disk="vda",
            size_bytes=3 * MIB,
            planned_bytes=2 * MIB,
            read_bytes=MIB,
            new_bytes=MIB,
            stored_bytes=MIB // 2,
            how=resources_pb2.READ_METHOD_FULL,
        )
        self.alpha.beat(
            resources_pb2.AttemptProgress(
                attempt_id=attempt.attempt_id,
                seq=1,
                state=resources_pb2.ATTEMPT_STATE_TRANSFERRING,
                phase="reading",
                rate_bytes_per_second=3 * MIB,
                eta_seconds=75,
                bottleneck="store",
                disks=[disk],
            )
        )

    def accepted(self) -> tuple[agent_pb2.AttemptRef, agent_pb2.BackupGrant]:
        attempt = self.alpha.next_assignment().attempt
        return attempt, self.alpha.accept(attempt).backup

    def complete(self, attempt: agent_pb2.AttemptRef, grant: agent_pb2.BackupGrant) -> None:
        disk = ModelDisk(3 * MIB)
        disk.write(64 * 1024, random.Random(1).randbytes(MIB))
        written = self.alpha.write(attempt, grant, {"vda": disk.source()})
        self.alpha.stub.CompleteAttempt(self.alpha.hand_in(attempt, written))

    def fail(self, attempt: agent_pb2.AttemptRef, *, canceled: bool = False) -> None:
        failure = resources_pb2.Failure(
            reason="FREEZE_FAILED",
            message="the guest did not freeze",
            next_step="Install the guest agent.",
            kind=resources_pb2.FAILURE_KIND_PERMANENT,
        )
        self.alpha.fail(attempt, failure, canceled=canceled)

    def the_run(self) -> resources_pb2.Run:
        identity = self.seawall("run", "list", "--json").json["runs"][0]["run_id"]
        return self.controller.run(identity)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    config = configured(tmp_path / "state")
    with running(config) as controller:
        controller.add_folder(tmp_path / "bucket")
        alpha = enrolled(controller, "alpha")
        alpha.inventory({"vda": 3 * MIB})
        yield Scene(controller, alpha, Cli(tmp_path, config.operator_toml))


def test_bars_on_a_terminal(scene: Scene) -> None:
    with scene.seawall.terminal("backup", "db-1", "--wait") as terminal:
        attempt, grant = scene.accepted()
        scene.transferring(attempt)
        shown = terminal.wait_for(r"vda .*1\.0 MiB of 2\.0 MiB")
        assert "reading, 3.0 MiB/s, 1:15 left (38.0 s to 2:30), bound by store" in shown
        assert "new 1.0 MiB  stored 512.0 KiB  by full" in shown
        scene.complete(attempt, grant)
        assert terminal.end() == 0
        assert "state       succeeded" in terminal.text
    points = scene.seawall.terminal("point", "list", columns=60)
    with points as terminal:
        assert terminal.end() == 0
        assert scene.the_run().point_id[:18] in terminal.text


def test_one_document_for_scripts(scene: Scene) -> None:
    with scene.seawall.background("backup", "db-1", "--wait", "--json") as process:
        scene.complete(*scene.accepted())
        out, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, "")
    (run,) = runs_in(out)
    assert (run["state"], run["vm_name"], run["attempts"][0]["host_name"]) == ("succeeded", "db-1", "alpha")
    shown = scene.seawall("point", "show", str(run["point_id"]), "--json").json
    assert shown["disks"][0]["size_bytes"] == 3 * MIB
    assert scene.seawall("status", "--json").json["vms_protected"] == 1


def test_a_failure_says_why_and_what_to_do(scene: Scene) -> None:
    with scene.seawall.background("backup", "db-1", "--wait") as process:
        attempt, _ = scene.accepted()
        scene.fail(attempt)
        out, err = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "the guest did not freeze (FREEZE_FAILED)" in out
    assert "Install the guest agent." in out
    assert err.splitlines()[-1] == "backup of db-1: failed"
    assert "FREEZE_FAILED" in scene.seawall("run", "list").out


def test_lists_are_filtered(scene: Scene) -> None:
    with scene.seawall.background("backup", "db-1", "--wait") as process:
        scene.fail(scene.accepted()[0])
        process.communicate(timeout=20)
    scene.seawall("backup", "db-1")

    def states(*words: str) -> list[str]:
        return [run["state"] for run in scene.seawall("run", "list", "--json", *words).json["runs"]]

    assert states() == ["active", "failed"] or states() == ["ready", "failed"]
    assert (
        states("--state", "failed")
        == states("--state", "failed", "--state", "canceled", "--within", "1h")
        == ["failed"]
    )
    assert states("--state", "succeeded") == []
    assert len(states("--state", "failed", "--open")) == len(states("--within", "7d")) == 2
    unknown = scene.seawall("run", "list", "--policy", "nightly")
    assert unknown.code != 0 and "There is no policy" in unknown.err and "seawall policy list" in unknown.err
    for word in ("soon", "-1h", "0s"):
        assert scene.seawall("run", "list", "--within", word).code != 0


def test_a_canceled_run_ends_with_its_own_code(scene: Scene) -> None:
    with scene.seawall.background("backup", "db-1", "--wait", "--json") as process:
        attempt, _ = scene.accepted()
        canceled = scene.seawall("run", "cancel", scene.the_run().run_id)
        assert (canceled.code, "will be canceled" in canceled.out) == (0, True)
        scene.fail(attempt, canceled=True)
        out, _ = process.communicate(timeout=20)
    assert (process.returncode, runs_in(out)[0]["state"]) == (8, "canceled")


@pytest.mark.parametrize("told", [signal.SIGINT, signal.SIGTERM], ids=["interrupted", "terminated"])
def test_a_watcher_that_leaves_stops_nothing(scene: Scene, told: signal.Signals) -> None:
    with scene.seawall.terminal("backup", "db-1", "--wait") as terminal:
        attempt, grant = scene.accepted()
        terminal.wait_for("preparing")
        terminal.process.send_signal(told)
        assert terminal.end() == (130 if told == signal.SIGINT else -signal.SIGTERM)
    scene.complete(attempt, grant)
    wait_until(lambda: scene.the_run().state == resources_pb2.RUN_STATE_SUCCEEDED)
    assert scene.seawall("run", "watch", scene.the_run().run_id, "--json").code == 0


def test_a_run_that_waits_says_what_for(scene: Scene) -> None:
    first = scene.seawall("backup", "db-1", "--json").json["runs"][0]["run_id"]
    assert scene.seawall("backup", "db-1", "--json").json["runs"][0]["run_id"] == first
    attempt, grant = scene.accepted()
    scene.complete(attempt, grant)
    wait_until(lambda: scene.the_run().state == resources_pb2.RUN_STATE_SUCCEEDED)
    scene.alpha.inventory({}, revision=2)
    with scene.seawall.terminal("backup", "db-1", "--wait") as terminal:
        terminal.wait_for("waits: VM db-1 is not reported by any host")
        terminal.interrupt()
        assert terminal.end() == 130
    assert "not reported by any host" in scene.seawall("run", "show", scene.the_run().run_id).out


def runs_in(out: str) -> list[dict[str, Any]]:
    """What `--wait --json` prints: one document."""
    return list(json.loads(out)["runs"])


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_all_runs_on_one_screen_until_ctrl_c(scene: Scene) -> None:
    with scene.seawall.terminal("run", "watch") as terminal:
        terminal.wait_for("0 runs under way, 0 waiting")
        scene.controller.start_backup("db-1")
        attempt, grant = scene.accepted()
        scene.transferring(attempt)
        terminal.wait_for(r"db-1 +alpha .*3\.0 MiB/s .*bound by store")
        scene.complete(attempt, grant)
        terminal.wait_for("succeeded +db-1")
        terminal.interrupt()
        assert terminal.end() == 130


def test_all_runs_for_scripts_one_a_line(scene: Scene) -> None:
    run_id = scene.controller.start_backup("db-1").run_id
    states: list[str] = []
    with scene.seawall.background("run", "watch", "--json") as process:
        assert process.stdout is not None
        first = json.loads(process.stdout.readline())
        scene.complete(*scene.accepted())
        while not states or states[-1] != "succeeded":
            run = json.loads(process.stdout.readline())
            assert run["run_id"] == first["run_id"] == run_id
            states.append(run["state"])
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
    refused = scene.seawall("run", "watch", run_id, "--vm", "db-1")
    assert refused.code == 2 and "not both" in refused.err
