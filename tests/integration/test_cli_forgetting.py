"""`point delete` and `point forget` as operators use them: the plan first, a question, and nothing but what was planned goes."""

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from typer.testing import CliRunner

from seawall.api.v1 import operator_pb2, resources_pb2
from seawall.cli.main import app
from support.cli_command import Answer, Cli
from support.controller_agent import ScriptedAgent
from support.controller_application import Controller, configured, running
from support.deleting_points import SIZE, Bucket, with_points


@dataclass
class Scene:
    """A controller with three points of one VM, oldest first, and an operator."""

    controller: Controller
    agent: ScriptedAgent
    bucket: Bucket
    points: list[str]
    seawall: Cli

    def listed(self) -> list[str]:
        return [point["point_id"] for point in self.seawall("point", "list", "--json").json["points"]]


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    config = configured(tmp_path / "state")
    with running(config) as controller:
        agent, points = with_points(controller, tmp_path / "bucket")
        yield Scene(controller, agent, Bucket(tmp_path / "bucket"), points, Cli(tmp_path, config.operator_toml))


def what(answer: Answer) -> dict[str, tuple[str, list[str]]]:
    return {each["point"]["point_id"]: (each["verdict"], each["reasons"]) for each in answer.json["verdicts"]}


def test_a_plan_shows_what_goes_what_stays_why_and_how_much_comes_back(scene: Scene) -> None:
    oldest, middle, newest = scene.points
    words = ("point", "forget", "--vm", "db-1", "--keep-last", "1", "--plan")
    answer = scene.seawall(*words, "--json")
    assert what(answer) == {
        newest: ("keep", ["newest", "last 1"]),
        middle: ("delete", ["no rule keeps it"]),
        oldest: ("delete", ["no rule keeps it"]),
    }
    reclaim = answer.json["reclaim"]
    assert (reclaim["known"], reclaim["points"], answer.json["plan_only"]) == (True, 2, True)
    assert 2 * SIZE < reclaim["bytes"] < 2.2 * SIZE  # random bytes of two points, and their small pages
    text = scene.seawall(*words)
    assert text.code == 0
    assert "2 points to delete, 1 to keep. About 2.0 MiB come back with the next collection" in text.out
    lines = {line.split()[0]: line for line in text.out.splitlines() if line.startswith(tuple(scene.points))}
    assert lines[newest].endswith("keep    newest, last 1")
    assert lines[oldest].endswith("delete  no rule keeps it")
    assert scene.listed() == [newest, middle, oldest]
    assert {scene.bucket.of(point) for point in scene.points} == {"mr"}


def test_days_are_those_of_the_zone_that_is_named(scene: Scene) -> None:
    """Of the three points, taken within a minute, the newest has the place."""
    instant = datetime.fromisoformat(scene.seawall("point", "show", scene.points[-1], "--json").json["instant"])
    words = ("point", "forget", "--all-vms", "--keep-daily", "1", "--plan", "--json")
    for zone in ("UTC", "Pacific/Kiritimati", "Pacific/Pago_Pago"):
        verdict, reasons = what(scene.seawall(*words, "--zone", zone))[scene.points[-1]]
        assert (verdict, reasons) == ("keep", ["newest", f"daily {instant.astimezone(ZoneInfo(zone)):%Y-%m-%d}"])
    policy = resources_pb2.RetentionPolicy(keep_daily=1)
    for zone, counted in (("", "UTC"), ("Pacific/Kiritimati", "Pacific/Kiritimati")):
        request = operator_pb2.ForgetPointsRequest(policy=policy, all_vms=True, plan_only=True, zone=zone)
        assert scene.controller.backups.ForgetPoints(request).zone == counted
    refused = scene.seawall(*words, "--zone", "Europe/Berln")
    assert (refused.code, refused.reason) == (2, "BAD_ZONE")


def test_nothing_goes_without_a_yes(scene: Scene) -> None:
    words = ("point", "forget", "--all-vms", "--keep-last", "1")
    refused = scene.seawall(*words, "--json")
    assert (refused.code, refused.reason) == (2, "NOT_CONFIRMED")
    assert scene.seawall("point", "delete", scene.points[0]).code == 2
    with scene.seawall.terminal(*words, columns=200) as terminal:
        terminal.wait_for("Delete 2 points for ever")
        terminal.answer("n\n")
        assert terminal.end() == 1
        assert "Nothing was deleted" in terminal.text
    assert len(scene.listed()) == 3
    with scene.seawall.terminal(*words, columns=200) as terminal:
        terminal.wait_for("Delete 2 points for ever")
        terminal.answer("y\n")
        assert terminal.end() == 0
        assert "2 points deleted." in terminal.text
    assert scene.listed() == scene.points[2:]


def test_what_was_forgotten_is_one_document(scene: Scene) -> None:
    oldest, middle, newest = scene.points
    answer = scene.seawall("point", "forget", "--repo", "main", "--keep-last", "2", "--yes", "--json")
    assert (answer.code, answer.json["deleted"], answer.json["kept_after_all"]) == (0, [oldest], [])
    assert scene.listed() == [newest, middle]
    assert scene.bucket.of(oldest).endswith("t")
    again = scene.seawall("point", "forget", "--repo", "main", "--keep-last", "2", "--yes", "--json")
    assert (again.code, again.json["deleted"], len(again.json["verdicts"])) == (0, [], 2)


def test_points_are_deleted_by_their_first_digits(scene: Scene) -> None:
    oldest, middle, newest = scene.points
    planned = scene.seawall("point", "delete", oldest[:24], middle, "--plan", "--json")
    assert {each[1][0] for each in what(planned).values()} == {"asked for"}
    done = scene.seawall("point", "delete", oldest[:24], middle, "--yes")
    assert (done.code, "2 points deleted." in done.out) == (0, True)
    assert "the VM's last point" in scene.seawall("point", "delete", newest, "--plan").out
    assert scene.listed() == [newest]
    assert scene.seawall("point", "show", oldest, "--json").reason == "POINT_UNKNOWN"


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("--all-vms", "POLICY_KEEPS_NOTHING"),
        ("--all-vms --keep-last 0", "POLICY_KEEPS_NOTHING"),
        ("--keep-last 1", "NO_SCOPE"),
        ("--all-vms --keep-within 5", "BAD_PERIOD"),
        ("--all-vms --keep-within 3m", "BAD_PERIOD"),
        ("--all-vms --keep-last -1", "USAGE"),
        ("--all-vms --keep-last 99999999999", "USAGE"),
    ],
)
def test_a_policy_that_cannot_be_meant_is_refused(scene_once: Scene, words: str, reason: str) -> None:
    assert ended(scene_once, f"point forget {words} --yes") == (2, reason)
    assert scene_once.bucket.of(scene_once.points[0]) == "mr"


@pytest.mark.parametrize(
    ("words", "reason", "code"),
    [
        ("point forget --vm nobody --keep-last 1 --yes", "VM_UNKNOWN", 4),
        ("point forget --repo nowhere --keep-last 1 --yes", "REPOSITORY_UNKNOWN", 4),
        ("point delete 00000000 --yes", "POINT_UNKNOWN", 4),
        ("repo collect nowhere", "REPOSITORY_UNKNOWN", 4),
        ("repo check main --read-data=0", "BAD_PERCENT", 2),
        ("repo check main --read-data=101%", "BAD_PERCENT", 2),
        ("repo heal main --from ftp://x", "BAD_URL", 2),
        ("job show 00000000", "JOB_UNKNOWN", 4),
    ],
)
def test_unknown_things_end_as_everywhere(scene_once: Scene, words: str, reason: str, code: int) -> None:
    assert ended(scene_once, words) == (code, reason)


def test_a_repository_is_no_copy_of_itself(scene_once: Scene) -> None:
    assert ended(scene_once, f"repo heal main --from {scene_once.bucket.folder}") == (2, "BAD_URL")


def test_a_point_in_use_is_refused_before_anybody_is_asked(scene_once: Scene) -> None:
    (point,) = scene_once.points
    spec = resources_pb2.RestoreSpec(point_id=point, host_id="alpha", disks=["vda"], directory="/var/tmp/out")
    request = operator_pb2.StartRestoreRequest(request_id=str(uuid.uuid4()), spec=spec)
    run = scene_once.controller.backups.StartRestore(request).run
    try:
        assert ended(scene_once, f"point delete {point}") == (5, "POINT_PINNED")
        assert ended(scene_once, f"point delete {point} --yes") == (5, "POINT_PINNED")
    finally:
        cancel = operator_pb2.CancelRunRequest(request_id=str(uuid.uuid4()), run=run.run_id)
        scene_once.controller.backups.CancelRun(cancel)
    assert scene_once.bucket.of(point) == "mr"


def ended(scene: Scene, words: str) -> tuple[int, str]:
    """Exit code and reason, in this process: the command's own start is not what is asked here."""
    result = CliRunner().invoke(app, [*words.split(), "--json", "--config", str(scene.seawall.operator_toml)])
    # The controller's log goes to the same place while its thread and this one share a process.
    document, _ = json.JSONDecoder().raw_decode(result.stdout[result.stdout.index("{\n") :])
    return result.exit_code, str(document["error"]["reason"])


@pytest.fixture(scope="module")
def scene_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """One point; for tests that change nothing."""
    place: Any = tmp_path_factory.mktemp("once")
    config = configured(place / "state")
    with running(config) as controller:
        agent, points = with_points(controller, place / "bucket", count=1)
        yield Scene(controller, agent, Bucket(place / "bucket"), points, Cli(place, config.operator_toml))
