"""A policy on real hosts: a tag in a VM's libvirt metadata protects it, its minutes bring points, its retention takes them."""

from pathlib import Path

import pytest
from deploy.lab.guest_vm import GuestVm
from deploy.lab.laboratory import Laboratory
from deploy.lab.waiting import wait_for

pytest_plugins = ["support.laboratory"]
pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.timeout(900)]

POLICY = """policy: gold
repository: main
select: {tags: [gold]}
schedule: {cron: "* * * * *", zone: Europe/Berlin, spread: 0}
retention: {last: 1}
capture: {freeze: never}
"""


def test_a_tag_protects_a_vm(fleet: Laboratory, guest: GuestVm, tmp_path: Path) -> None:
    fleet.await_vm(guest.name, "alpha")
    (tmp_path / "gold.yaml").write_text(POLICY)
    planned = fleet.seawall_json("policy", "apply", "-f", str(tmp_path / "gold.yaml"), "--plan")["changes"][0]
    assert planned["warnings"] == ["It selects no VM at the moment.", "No VM has this now: tag gold."]
    assert guest.name in unprotected(fleet)
    tags = ("metadata", guest.name, "urn:seawall:tags", "--key", "seawall", "--set", "<tags>db, gold</tags>")
    guest.hypervisor.virsh(*tags, "--live", "--config")
    fleet.seawall_json("policy", "apply", "-f", str(tmp_path / "gold.yaml"))
    try:
        wait_for("the tag to be reported", lambda: guest.name not in unprotected(fleet), 120, fleet.logs)
        assert fleet.seawall_json("vm", "show", guest.name)["tags"] == ["db", "gold"]
        wait_for("two backups", lambda: len(good_runs(fleet)) >= 2, 600, fleet.logs)
        wait_for("one point to be left", lambda: len(points(fleet)) == 1, 120, fleet.logs)
        preview = fleet.seawall_json("policy", "preview", "gold", "--points")
        assert [vm["name"] for vm in preview["vms"]] == [guest.name] and preview["vms"][0]["measured"]
    finally:
        fleet.seawall_json("policy", "delete", "gold", "--yes")


def unprotected(fleet: Laboratory) -> list[str]:
    return [vm["name"] for vm in fleet.seawall_json("vm", "list", "--unprotected")["vms"]]


def good_runs(fleet: Laboratory) -> list[str]:
    runs = fleet.seawall_json("run", "list")["runs"]
    assert not [run for run in runs if run["policy"] == "gold" and run["state"] == "failed"], runs
    return [run["run_id"] for run in runs if run["policy"] == "gold" and run["state"].startswith("succeeded")]


def points(fleet: Laboratory) -> list[str]:
    return [point["point_id"] for point in fleet.seawall_json("point", "list")["points"] if point["policy"] == "gold"]
