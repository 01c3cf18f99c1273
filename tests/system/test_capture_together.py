"""Two VMs of a host at one instant: each guest stands still from before the first snapshot begins until after the last one has."""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from deploy.lab.guest_image import GuestImage
from deploy.lab.guest_vm import GuestVm
from deploy.lab.laboratory import Laboratory
from deploy.lab.waiting import LabFailed

pytest_plugins = ["support.laboratory"]
pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.timeout(900)]

TOLD_LATE = timedelta(seconds=1.5)
"""A worker hears of the thaw when it next asks its guard."""


@pytest.fixture
def other(fleet: Laboratory, guest: GuestVm, guest_image: GuestImage) -> Iterator[GuestVm]:
    """A second guest on alpha."""
    made = GuestVm("other", guest.hypervisor)
    made.create(guest_image)
    try:
        assert made.await_verdict(240).ok
        for one in (guest, made):
            fleet.await_vm(one.name, "alpha")
            one.await_writes(5)
        yield made
    finally:
        made.remove_if_present()


def test_two_vms_at_one_instant(fleet: Laboratory, guest: GuestVm, other: GuestVm) -> None:
    words = ("backup", guest.name, other.name, "--repo", "main", "--together")
    runs = fleet.seawall_json(*words, "--wait", timeout_seconds=400)["runs"]
    assert [run["state"] for run in runs] == ["succeeded", "succeeded"], runs
    points = [fleet.seawall_json("point", "show", run["point_id"]) for run in runs]
    assert all(point["guest_frozen"] for point in points)
    instants = [datetime.fromisoformat(point["instant"]) for point in points]
    for run in runs:
        began, ended = stood_still(fleet, run)
        assert all(began <= instant <= ended for instant in instants), (began, instants, ended)
        assert f"{guest.name}, {other.name}" in " ".join(run["settings"])
    for one in (guest, other):
        one.await_writes(5)
    folders = guest.host.run(["ls", "/run/seawall/agent"]).stdout.split()
    assert "together" not in folders and "held" not in folders

    other.destroy()
    with pytest.raises(LabFailed):
        fleet.seawall(*words, "--wait", timeout_seconds=600)
    newest = fleet.seawall_json("point", "list", "--vm", guest.name)["points"]
    assert [point["point_id"] for point in newest] == [runs[0]["point_id"]], "all or none"


def stood_still(fleet: Laboratory, run: dict[str, Any]) -> tuple[datetime, datetime]:
    """From when until when the run's guest was frozen, at the most, as its worker's log tells."""
    attempt = run["attempts"][-1]["attempt_id"]
    log = fleet.hosts["alpha"].outside(f"/var/lib/seawall/agent/logs/{attempt}.log")
    (line,) = (json.loads(text) for text in log.read_text().splitlines() if '"capture.thawed"' in text)
    told = datetime.fromisoformat(line["timestamp"])
    assert not line["overdue"]
    return told - TOLD_LATE - timedelta(milliseconds=line["frozen_ms"]), told
