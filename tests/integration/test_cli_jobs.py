"""Maintenance as operators order it: started, followed, listed, cancelled; one document for scripts; the exit code of what was found."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from seawall.repository.format.layout import parse_pack_name
from seawall.repository.format.refmap import decode_refmap
from seawall.repository.store.port import Store
from support.cli_command import Cli
from support.controller_application import configured, running
from support.deleting_points import Bucket, with_points


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("jobs")


@pytest.fixture(scope="module")
def seawall(place: Path) -> Iterator[Cli]:
    """An operator of a controller with two points, one of them deleted."""
    config = configured(place / "state")
    with running(config) as controller:
        _, points = with_points(controller, place / "bucket", count=2)
        cli = Cli(place, config.operator_toml)
        assert cli("point", "delete", points[0], "--yes").code == 0
        yield cli


def test_a_plan_says_what_would_go_and_a_collection_is_followed_to_its_end(seawall: Cli) -> None:
    planned = seawall("repo", "collect", "main", "--plan", "--json")
    job = planned.json["job"]
    assert (planned.code, job["kind"], job["state"], job["spec"]["plan_only"]) == (0, "collect", "succeeded", True)
    later = sum(line["figures"]["bytes"] for line in job["result"]["lines"] if line["group"] == "goes_later")
    assert later > 1024 * 1024  # the deleted point's own data
    done = seawall("repo", "collect", "main")
    assert (done.code, "after the grace period" in done.out) == (0, True)
    assert done.err.splitlines()[-1] == "collect of main: succeeded"
    jobs = seawall("repo", "jobs", "main", "--json").json["jobs"]
    assert [each["spec"]["plan_only"] for each in jobs] == [False, True]
    assert seawall("job", "show", jobs[1]["job_id"][:30], "--json").json["job"] == job
    over = seawall("job", "cancel", jobs[1]["job_id"], "--json")
    assert (over.code, over.reason) == (5, "JOB_OVER")
    assert "succeeded" in seawall("repo", "jobs", "main").out


def test_a_job_that_is_only_started_is_watched_later(seawall: Cli) -> None:
    started = seawall("repo", "collect", "main", "--plan", "--no-wait", "--json").json["job"]
    assert seawall("job", "watch", started["job_id"]).code == 0
    with seawall.terminal("repo", "check", "main", columns=80) as terminal:
        terminal.wait_for("state +succeeded")
        assert terminal.end() == 0
        assert "outcome     nothing wrong" in terminal.text


def test_a_check_that_finds_damage_names_it_and_ends_with_1(seawall: Cli, place: Path) -> None:
    store = Bucket(place / "bucket").store
    name = largest_pack_in_use(store)
    body = bytearray(store.get(name))
    body[len(body) // 2] ^= 1
    os.chmod(place / "bucket" / name, 0o600)
    store.put(name, bytes(body), create_only=False)
    answer = seawall("repo", "check", "main", "--read-data", "--json")
    assert (answer.code, answer.json["job"]["state"]) == (1, "succeeded")
    assert answer.json["job"]["spec"]["read_data_percent"] == 100
    (finding,) = answer.json["job"]["result"]["findings"]
    assert finding["object"] == name
    shown = seawall("job", "show", answer.json["job"]["job_id"])
    assert name in shown.out and "next" in shown.out
    assert json.loads(seawall("repo", "jobs", "main", "--json").out)["jobs"][0]["kind"] == "check"


def largest_pack_in_use(store: Store) -> str:
    """Of the points that are left: what collection has condemned is no loss, and no check speaks of it."""
    (refmap,) = [decode_refmap(store.get(info.name))[1] for info in store.list("v1/r/")]
    used = refmap.slots()
    packs = [(info, parse_pack_name(info.name)) for info in store.list("v1/p/")]
    return max((info for info, pack in packs if pack and pack.pack_id in used), key=lambda info: info.size_bytes).name
