"""The upkeep of a repository on a real S3 server with a guest's points: collected, verified, damaged, stored anew, healed from a copy."""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from deploy.lab.guest_image import GuestImage
from deploy.lab.guest_vm import GuestVm
from deploy.lab.laboratory import Laboratory
from deploy.lab.truth import compare_point, take_point
from deploy.lab.victims import BOOT_SECONDS

pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.timeout(1800)]

TIMINGS = {"collect_grace_seconds": 0, "verify_new_seconds": 2}
COPY = "/var/lib/repository-copy"
TOOL = Path(__file__).parents[1] / "support" / "bucket_tool.py"
JOB_SECONDS = 600


@pytest.fixture
def lab() -> Iterator[Laboratory]:
    """Its own: what no point needs goes at once."""
    with Laboratory(f"upkeep-{os.getpid()}", timings=TIMINGS) as made:
        for hypervisor in made.hypervisors.values():
            hypervisor.start()
        yield made
    assert made.leftovers() == []


def tool(lab: Laboratory, what: str, argument: str) -> str:
    (url,) = [each["url"] for each in lab.seawall_json("repo", "list")["repositories"]]
    words = [sys.executable, str(TOOL), what, url, argument]
    return lab.hub.run(words, env=lab.bucket_keys, timeout_seconds=JOB_SECONDS).stdout.strip()


def job(lab: Laboratory, *words: str) -> dict[str, Any]:
    """Ended as it should."""
    done: dict[str, Any] = lab.seawall_json("repo", *words, timeout_seconds=JOB_SECONDS)["job"]
    assert done["state"] == "succeeded", done
    return done


def point(lab: Laboratory, point_id: str) -> dict[str, Any]:
    found: dict[str, Any] = lab.seawall_json("point", "show", point_id)
    return found


def test_points_of_a_guest_are_kept_through_collection_damage_and_healing(lab: Laboratory, tmp_path: Path) -> None:
    image = lab.guest_image()
    guest = GuestVm("guest", lab.hypervisors["alpha"])
    guest.create(image)
    lab.start_services()
    assert guest.await_verdict(BOOT_SECONDS).ok
    lab.await_vm(guest.name, "alpha")
    try:
        _kept(lab, guest, image, tmp_path)
    finally:
        shutil.rmtree(lab.hub.outside(COPY), ignore_errors=True)
        guest.remove_if_present()


def _kept(lab: Laboratory, guest: GuestVm, image: GuestImage, truth: Path) -> None:
    guest.await_writes(20)
    first = take_point(lab, guest, image, truth / "first").point.point_id
    guest.await_writes(20)
    kept = take_point(lab, guest, image, truth / "kept")
    kept_id = kept.point.point_id

    lab.seawall_json("point", "delete", first, "--yes")
    job(lab, "collect", "main")
    job(lab, "collect", "main")
    job(lab, "check", "main", "--read-data")
    assert point(lab, kept_id)["verified"] is True
    assert compare_point(lab, "beta", kept) == dict.fromkeys(kept.truth, "")

    tool(lab, "copy", COPY)
    name = tool(lab, "damage", kept_id)
    assert lab.seawall("repo", "check", "main", "--read-data", timeout_seconds=JOB_SECONDS, check=False) is None
    newest = lab.seawall_json("repo", "jobs", "main")["jobs"]
    found = next(each for each in newest if each["kind"] == "check" and each["result"].get("findings"))["result"][
        "findings"
    ]
    assert [(each["object"], each["points"]) for each in found] == [(name, [kept_id])]
    assert point(lab, kept_id)["damage"] and not point(lab, kept_id).get("verified")

    anew = take_point(lab, guest, image, truth / "anew")
    job(lab, "check", "main")
    assert compare_point(lab, "beta", anew) == dict.fromkeys(anew.truth, "")

    job(lab, "heal", "main", "--from", Path(COPY).as_uri())
    job(lab, "check", "main", "--read-data")
    for each in (kept, anew):
        assert point(lab, each.point.point_id)["verified"] is True
        assert compare_point(lab, "beta", each) == dict.fromkeys(each.truth, "")
