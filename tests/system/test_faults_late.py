"""A host that stands still in the midst of its hand-in, whose VM lives elsewhere when it goes on: it hands in late, and is refused."""

from pathlib import Path

import pytest
from deploy.lab.answers import Run
from deploy.lab.fault_proxy.rules import Hold
from deploy.lab.guest_vm import GuestVm
from deploy.lab.victims import BOOT_SECONDS, SUPERVISOR, WORKER
from deploy.lab.waiting import wait_for

from support.backup_phases import HOLD_SECONDS
from support.fault_fleet import REPOSITORY, FaultFleet

pytest_plugins = ["support.fault_fixtures"]
pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.timeout(900)]


def test_a_late_hand_in_after_its_successor_won(based: FaultFleet, faults: FaultFleet, tmp_path: Path) -> None:
    """The successor runs on another host, as its VM does. Nothing that the late one says counts, or stays, or harms its guest."""
    lab, scene = faults.lab, faults.scene()
    newest = lab.seawall_json("point", "list", "--vm", faults.guest.name)["points"][0]["point_id"]
    copy = GuestVm(faults.guest.name, lab.hypervisors["beta"])
    faults.guest.await_writes(2)
    with faults.proxy.rule(Hold(), method="PUT", path=rf"/{REPOSITORY}/v1/a/", times=1) as hand_in:
        run = faults.back_up()
        hand_in.await_held(1, HOLD_SECONDS)
        try:
            with SUPERVISOR.stopped(scene):
                with WORKER.stopped(scene):
                    wait_for("alpha to be missed", lambda: not online(faults, "alpha"), 60, lab.logs)
                    assert lab.restore(newest, "--to", "beta", "--start").succeeded
                    since = copy.await_verdict(BOOT_SECONDS).seq
                    won = faults.await_end(run.run_id)
                    assert won.succeeded, won.failure
                    before = published(faults, won)
                    hand_in.release()
                wait_for("the late worker to end by itself", lambda: not WORKER.pids(scene), 120, lab.logs)
            assert "fenced" in worker_log(faults, run.run_id)
            faults.await_clean()
            assert published(faults, won) == before
            assert "" in faults.reasons(run.run_id)[1:] and faults.reasons(run.run_id)[0] != ""
            faults.assert_guest_never_stood()
            faults.judge(won, tmp_path, since)
        finally:
            copy.destroy()
            copy.erase()
    faults.begin()
    after = faults.await_end(faults.back_up().run_id)
    assert after.succeeded, after.failure
    faults.assert_unharmed(after, tmp_path)


def online(faults: FaultFleet, host: str) -> bool:
    return any(one["name"] == host and one["online"] for one in faults.lab.seawall_json("host", "list")["hosts"])


def published(faults: FaultFleet, run: Run) -> list[tuple[str, str]]:
    """Every PUT to a manifest or a committed refmap of this point, with what the store answered: two, for ever."""
    place = f"/{REPOSITORY}/v1/"
    puts = [entry for entry in faults.proxy.log() if entry.method == "PUT" and run.point_id in entry.path]
    found = [(entry.path, str(entry.status)) for entry in puts if entry.path.startswith((f"{place}m/", f"{place}r/"))]
    shown = faults.lab.seawall_json("point", "list", "--vm", faults.guest.name)["points"]
    assert [point["state"] for point in shown if point["point_id"] == run.point_id] == ["available"]
    return sorted(found)


def worker_log(faults: FaultFleet, run_id: str) -> str:
    """Of the first attempt, on alpha."""
    attempt = faults.run(run_id)["attempts"][0]["attempt_id"]
    return faults.lab.hosts["alpha"].outside(f"/var/lib/seawall/agent/logs/{attempt}.log").read_text()
