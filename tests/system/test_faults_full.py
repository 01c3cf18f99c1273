"""File systems that are full: scratch, the repository, the state of agent and controller. Room again, and the same run goes on."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from deploy.lab.answers import Run
from deploy.lab.laboratory import OPERATOR_FILE, seawall_command
from deploy.lab.small_disks import SmallDisk, shared_disk, small_disk
from deploy.lab.traces import traces
from deploy.lab.waiting import wait_for

from support.backup_phases import TRANSFER
from support.fault_fleet import FaultFleet, assert_tells

pytest_plugins = ["support.fault_fixtures"]
pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

FOLDER = "/var/lib/seawall/folder"
MIB = 1024 * 1024


def judged(faults: FaultFleet, run: Run, folder: Path) -> None:
    faults.assert_unharmed(run, folder)


def test_scratch_fills_up_in_mid_backup(based: FaultFleet, faults: FaultFleet, tmp_path: Path) -> None:
    """The job ends before the guest's own writes fail, though the worker hangs in its upload."""
    alpha = faults.lab.hosts["alpha"]
    with small_disk(alpha, "/var/lib/seawall/scratch", 600) as scratch, TRANSFER.held(faults) as (run, rule):
        scratch.fill(leave_bytes=4 * MIB)
        wait_for("the job to be ended", lambda: not has_job(faults), 30, faults.lab.logs)
        faults.guest.await_writes(30)
        scratch.free()
        rule.release()
        ended = faults.await_end(run.run_id)
        assert ended.succeeded, ended.failure
        assert faults.reasons(run.run_id) == ["SCRATCH_FULL", ""]
        notes = faults.run(run.run_id)["attempts"][-1]["progress"]["notes"]
        assert "This time scratch may take all the room that is free for it" in notes[0], (
            "the second attempt has a plan"
        )
        faults.await_clean()
    judged(faults, ended, tmp_path)


@pytest.mark.slow
def test_scratch_without_room_begins_nothing(based: FaultFleet, faults: FaultFleet) -> None:
    with small_disk(faults.lab.hosts["alpha"], "/var/lib/seawall/scratch", 300) as scratch:
        scratch.fill(leave_bytes=100 * MIB)
        ended = faults.await_end(faults.back_up().run_id)
    assert ended.state == "failed" and set(faults.reasons(ended.run_id)) == {"SCRATCH_FULL"}
    assert_tells(faults.run(ended.run_id)["failure"])
    faults.trust_again("alpha")
    faults.await_clean()
    faults.assert_guest_never_stood()


@pytest.mark.slow
def test_the_agents_state_is_full(based: FaultFleet, faults: FaultFleet, tmp_path: Path) -> None:
    """What cannot be written down is not begun, and what was begun is not handed in; checkpoints of it do not stay."""
    with agent_on_a_small_disk(faults) as state:
        state.fill()
        ended = faults.await_end(faults.back_up().run_id)
        assert ended.state == "failed", "nobody made room"
        assert set(faults.reasons(ended.run_id)) == {"JOURNAL_UNUSABLE"}
        state.free()
        faults.trust_again("alpha")
        with TRANSFER.held(faults) as (run, rule):
            state.fill()
            rule.release()
            wait_for("the attempt to fail", lambda: faults.reasons(run.run_id)[0], 60, faults.lab.logs)
            state.free()
            ended = faults.await_end(run.run_id)
        assert ended.succeeded, ended.failure
        assert set(faults.reasons(run.run_id)) <= {"JOURNAL_UNUSABLE", ""}
        faults.await_clean()
    judged(faults, ended, tmp_path)


@pytest.mark.slow
def test_the_controllers_state_is_full(based: FaultFleet, faults: FaultFleet, tmp_path: Path) -> None:
    """The operator is told why nothing can be asked for; a run that is under way waits, and goes on with room."""
    with controller_on_a_small_disk(faults) as state, TRANSFER.held(faults) as (run, rule):
        state.fill()
        refused = refusal(faults, "backup", faults.guest.name, "--repo", "main")
        assert refused["reason"] == "DATABASE_FULL" and "full" in refused["message"]
        rule.release()
        faults.guest.await_writes(30)
        state.free()
        ended = faults.await_end(run.run_id)
        assert ended.succeeded, ended.failure
        assert faults.reasons(run.run_id) == [""], "the same attempt goes on"
    judged(faults, ended, tmp_path)


@pytest.mark.slow
def test_a_folder_repository_is_full(faults: FaultFleet, tmp_path: Path) -> None:
    lab = faults.lab
    with shared_disk(list(lab.hosts.values()), FOLDER, 400) as store:
        if "folder" not in [each["name"] for each in lab.seawall_json("repo", "list")["repositories"]]:
            lab.seawall("repo", "add", "folder", FOLDER, "--recovery-key", "/etc/seawall/recovery-key-folder")
        store.fill(leave_bytes=40 * MIB)
        run = faults.back_up(repository="folder")
        shown = wait_for("a sign of the full store", lambda: blamed(faults, run), 240, lab.logs)
        assert_tells(shown)
        faults.guest.await_writes(3)
        store.free()
        ended = faults.await_end(run.run_id)
        assert ended.succeeded, ended.failure
        judged(faults, ended, tmp_path)


def blamed(faults: FaultFleet, run: Run) -> dict[str, str]:
    """The first failure of the run's attempts; {} while there is none."""
    failures = [attempt["failure"] for attempt in faults.run(run.run_id)["attempts"]]
    return failures[0] or {}


def has_job(faults: FaultFleet) -> bool:
    return any(trace.startswith("job") for trace in traces(faults.lab.hypervisors["alpha"]))


@contextmanager
def agent_on_a_small_disk(faults: FaultFleet) -> Iterator[SmallDisk]:
    lab = faults.lab
    lab.stop_service("agent-alpha")
    try:
        with small_disk(lab.hosts["alpha"], "/var/lib/seawall/agent", 16) as disk:
            lab.start_agent("alpha")
            wait_for(
                "the agent to serve", lambda: serves(faults), 60, lab.logs
            )  # the controller may not have missed it
            yield disk
            lab.stop_service("agent-alpha")
    finally:
        lab.start_agent("alpha")


def serves(faults: FaultFleet) -> bool:
    """Whether alpha's agent is connected, by its own word: its journal is open then."""
    asked = faults.lab.hosts["alpha"].run([seawall_command(), "agent", "status", "--json"], check=False)
    return asked.returncode == 0 and bool(json.loads(asked.stdout)["connected"])


@contextmanager
def controller_on_a_small_disk(faults: FaultFleet) -> Iterator[SmallDisk]:
    lab = faults.lab
    lab.stop_service("controller")
    try:
        with small_disk(lab.hub, "/var/lib/seawall/controller", 128) as disk:
            lab.start_controller()
            lab.await_hosts_online()
            yield disk
            lab.stop_service("controller")
    finally:
        lab.start_controller()


def refusal(faults: FaultFleet, *words: str) -> dict[str, str]:
    """What a command that fails says."""
    argv = [seawall_command(), *words, "--json"]
    done = faults.lab.hub.run(argv, env={"SEAWALL_CONFIG": OPERATOR_FILE}, check=False)
    assert done.returncode != 0, done.stdout
    found: dict[str, str] = json.loads(done.stdout)["error"]
    return found
