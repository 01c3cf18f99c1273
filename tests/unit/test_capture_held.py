"""A capture that waits for another worker of its run: what is noted down, for whom, and how long a sweep leaves it alone."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from seawall.agent.capture.ending import set_mark
from seawall.agent.capture.guard.stale import MODULE, is_guarded
from seawall.agent.capture.held import HeldCapture, HeldDisk, find_held, held_by, held_captures, hold, let_go
from seawall.agent.capture.names import Places, checkpoint_name, places
from seawall.agent.capture.port import CaptureRequest
from seawall.agent.capture.resuming import resume
from seawall.agent.capture.settings import CaptureSettings
from seawall.agent.capture.sweep import Swept, sweep
from seawall.agent.hypervisor.port import Hypervisor
from seawall.repository.clock import SystemClock
from seawall.repository.format.manifest import Checkpoint, Root
from support.agent_memory_hypervisor import MemoryHypervisor, vm

VM_ID = "0b1c6f0e-3d0a-4b8e-9f5a-27d2a1e0c7aa"
REPOSITORY = "abcdef0123456789"
NAME = checkpoint_name(REPOSITORY, "a1")
HELD = HeldCapture(
    attempt_id="a1",
    owner="a1",
    run_id="r1",
    vm_id=VM_ID,
    repository_id=REPOSITORY,
    parent_point_id="",
    exclude_disks=("vdz",),
    instant_us=1_700_000_000_000_000,
    guest_frozen=False,
    warnings=(("NOT_FROZEN", "ü"),),
    disks=(HeldDisk("vda", 1 << 30, "qcow2", "/i/a", 512, "full", "why", "inode:7"),),
    checkpoint=Checkpoint(NAME, "agent", "<x/>", ("vda",)),
    members={"domain.xml": b"<domain/>", "nvram.fd": bytes(range(256))},
)


def a_request(**changes: object) -> CaptureRequest:
    given = CaptureRequest(VM_ID, "a2", "agent", REPOSITORY, "try", None, ("vdz",), run_id="r1")
    return replace(given, **changes)  # type: ignore[arg-type]


def test_the_next_worker_of_the_run_finds_all_of_it(tmp_path: Path) -> None:
    hold(tmp_path, HELD)
    assert find_held(tmp_path, a_request()) == HELD
    assert (tmp_path / "held").stat().st_mode & 0o777 == 0o700, "it holds what the point holds"
    assert (tmp_path / "held/a1.json").stat().st_mode & 0o777 == 0o600
    assert held_by(tmp_path, "a1") and not held_by(tmp_path, "a2")
    let_go(tmp_path, "a1")
    assert find_held(tmp_path, a_request()) is None and not (tmp_path / "held").exists()


@pytest.mark.parametrize(
    "other",
    [
        a_request(run_id="r2"),
        a_request(run_id=""),
        a_request(vm_id="other"),
        a_request(repository_id="other"),
        a_request(exclude_disks=()),
        a_request(freeze="require"),
        a_request(parent=Root(b"l", "t", VM_ID, "n", "p", "", 1, 1, False, (), (), None, ())),
    ],
)
def test_a_worker_that_needs_another_instant_does_not_find_it(other: CaptureRequest, tmp_path: Path) -> None:
    hold(tmp_path, HELD)
    assert find_held(tmp_path, other) is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"attempt_id": 1}', "{}"])
def test_a_note_that_cannot_be_read_is_none(text: str, tmp_path: Path) -> None:
    hold(tmp_path, HELD)
    (tmp_path / "held/a1.json").write_text(text)
    assert find_held(tmp_path, a_request()) is None


@contextmanager
def guarded(where: Places) -> Iterator[None]:
    """A process that a sweep takes for the guard of this capture."""
    command = ["sh", "-c", "echo; read x", MODULE, str(where.run)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None and process.stdout.readline(), "before, /proc shows no command line of it"
        yield
    finally:
        process.communicate()


@pytest.fixture
def where(tmp_path: Path) -> Places:
    found = places(tmp_path / "run", tmp_path / "scratch", "a1")
    found.run.mkdir(parents=True)
    found.scratch.mkdir(parents=True)
    return found


@pytest.fixture
def host(where: Places) -> MemoryHypervisor:
    """With our job on one VM, and somebody else's on another."""
    hypervisor = MemoryHypervisor()
    hypervisor.add(vm(VM_ID, "ours"))
    hypervisor.add(vm("theirs", "theirs"))
    hypervisor.begin_backup(VM_ID, [], where.socket, NAME)
    hypervisor.begin_backup("theirs", [], Path("/run/other/x.sock"), "nightly")
    return hypervisor


def swept(host: MemoryHypervisor, tmp_path: Path, live: set[str]) -> Swept:
    return sweep(cast(Hypervisor, host), tmp_path / "run", tmp_path / "scratch", live, set())


def test_a_sweep_leaves_a_held_capture_alone_until_its_guard_is_gone(
    host: MemoryHypervisor, where: Places, tmp_path: Path
) -> None:
    hold(tmp_path / "run", HELD)
    with guarded(where):
        found = swept(host, tmp_path, set())
        assert (found.held, found.waiting, found.removed, found.failed) == ({"a1"}, {"a1"}, [], [])
        assert VM_ID in host.jobs and host.marks[VM_ID] == [NAME] and where.run.is_dir()
        hold(tmp_path / "run", replace(HELD, owner="a2"))
        found = swept(host, tmp_path, {"a2"})
        assert (found.held, found.waiting) == ({"a1"}, set()), "it has a worker"
    swept(host, tmp_path, set())
    assert VM_ID not in host.jobs and host.marks[VM_ID] == []
    assert not where.run.exists() and held_captures(tmp_path / "run") == [] and not (tmp_path / "run/held").exists()
    assert host.jobs == {"theirs": Path("/run/other/x.sock")} and host.marks["theirs"] == ["nightly"]


def test_a_capture_that_is_handed_in_is_its_owners_alone(host: MemoryHypervisor, where: Places, tmp_path: Path) -> None:
    """Another worker of the run had begun it, so the folders do not have the owner's name."""
    hold(tmp_path / "run", replace(HELD, owner="a2", open=False))
    assert find_held(tmp_path / "run", a_request()) is None
    with guarded(where):
        assert swept(host, tmp_path, {"a2"}).removed == [] and VM_ID in host.jobs
        swept(host, tmp_path, set())
        assert VM_ID not in host.jobs


def test_a_job_that_was_not_noted_down_ends_at_once(host: MemoryHypervisor, where: Places, tmp_path: Path) -> None:
    with guarded(where):
        swept(host, tmp_path, set())
        assert VM_ID not in host.jobs and host.marks[VM_ID] == []


def test_nobody_goes_on_with_a_capture_whose_guest_is_frozen_still(
    host: MemoryHypervisor, where: Places, tmp_path: Path
) -> None:
    """The guard that thaws it would have to go, and a sweep that calls all done would leave the guest to stand until the backup's end."""
    hold(tmp_path / "run", HELD)
    host.silent_guests.add(VM_ID)
    set_mark(where.frozen_mark, VM_ID)
    settings = CaptureSettings(tmp_path / "run", tmp_path / "scratch", guard_command=("false",))
    with guarded(where):
        found = swept(host, tmp_path, set())
        assert found.held == {"a1"} and ["may be frozen still" in one for one in found.failed] == [True]
        assert resume(a_request(), cast(Hypervisor, host), settings, SystemClock()) is None
        assert VM_ID in host.jobs and where.frozen_mark.exists() and is_guarded(where.run)
        assert find_held(tmp_path / "run", a_request()) is None
        host.silent_guests.clear()
        assert f"Thawed VM {VM_ID}." in swept(host, tmp_path, set()).removed
        assert not where.frozen_mark.exists() and VM_ID not in host.jobs
