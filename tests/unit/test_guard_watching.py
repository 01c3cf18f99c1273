"""What the guard makes of what it sees: a job that begins during a look, scratch that is gone, a look that comes early."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from seawall.agent.capture.ending import set_mark, try_thaw
from seawall.agent.capture.guard.protocol import Setup
from seawall.agent.capture.guard.watching import Watching
from seawall.agent.capture.limits import Limits, free_bytes
from seawall.agent.hypervisor.port import Hypervisor
from seawall.repository.clock import SystemClock
from support.capture_guest import Guest
from support.libvirt_host import await_true

MIB = 1024 * 1024
ROOMY = Limits(MIB, 0, 60, 2 * MIB)
NEVER_SECONDS = 3600.0


class Jobs:
    """The part of a Hypervisor that a watch uses: a job or none."""

    def __init__(self, *, active: bool) -> None:
        self.active, self.looks = active, 0
        self.while_looking: Callable[[], None] = lambda: None

    def owns_active_job(self, vm_id: str, socket: Path) -> bool:
        seen = self.active
        self.looks += 1
        self.while_looking()
        return seen

    def end_backup(self, vm_id: str) -> None:
        self.active = False

    def resume_stalled(self, vm_id: str) -> bool:
        return False


def watching(jobs: Jobs, folder: Path, look_seconds: float, hold_seconds: float = 0) -> Watching:
    sockets = (folder / "nbd.sock", folder / "scratch", folder / "frozen")
    setup = Setup("test:///", "vm", *sockets, 10, look_seconds, hold_seconds)
    setup.scratch.mkdir()
    return Watching(cast(Hypervisor, jobs), setup, SystemClock(), frozen=lambda: False)


def test_a_job_that_begins_during_a_look_has_not_vanished(tmp_path: Path) -> None:
    jobs = Jobs(active=False)
    watch = watching(jobs, tmp_path, 0.01)

    def begin() -> None:
        jobs.active, jobs.while_looking = True, lambda: None
        watch.begun()

    jobs.while_looking = begin
    watch.begin(ROOMY)
    watch.start()
    await_true(lambda: jobs.looks > 3, "it looks on", 5)
    assert watch.verdict is None and jobs.active
    watch.owner_gone()
    assert watch.done.wait(5) and not jobs.active


def test_full_scratch_is_seen_between_two_looks(tmp_path: Path) -> None:
    jobs = Jobs(active=True)
    watch = watching(jobs, tmp_path, NEVER_SECONDS)
    free = free_bytes(tmp_path)
    watch.begin(Limits(MIB, free - 64 * MIB, 60, free))  # 64 MiB of free room: another look before 16 ms have passed
    watch.begun()
    watch.start()
    (tmp_path / "scratch/vda.scratch").write_bytes(bytes(MIB + 1))
    await_true(lambda: not jobs.active, "the job is ended", 5)
    assert watch.verdict is not None and watch.verdict.reason == "SCRATCH_FULL"


def test_scratch_that_is_gone_ends_the_job(tmp_path: Path) -> None:
    """What cannot be looked at cannot be guarded."""
    jobs = Jobs(active=True)
    watch = watching(jobs, tmp_path, 0.01)
    (tmp_path / "scratch").rmdir()
    watch.begin(ROOMY)
    watch.begun()
    watch.start()
    await_true(lambda: not jobs.active, "the job is ended", 5)
    assert watch.verdict is not None and watch.verdict.reason == "SCRATCH_LOST" and watch.verdict.next_step


def held(tmp_path: Path, hold_seconds: float) -> tuple[Jobs, Watching]:
    """A watch over the job of an owner that has just died."""
    jobs = Jobs(active=True)
    watch = watching(jobs, tmp_path, 0.01, hold_seconds)
    watch.begin(ROOMY)
    watch.begun()
    watch.start()
    watch.owner_gone()
    return jobs, watch


def test_the_job_of_a_dead_owner_is_held_for_its_time_and_not_longer(tmp_path: Path) -> None:
    started = SystemClock().monotonic_seconds()
    jobs, watch = held(tmp_path, 0.4)
    await_true(lambda: jobs.looks > 5, "it looks on", 5)
    assert not watch.done.is_set()
    assert watch.done.wait(5) and not jobs.active
    assert SystemClock().monotonic_seconds() - started >= 0.4


def test_a_held_job_ends_when_scratch_is_full(tmp_path: Path) -> None:
    """Nobody reads, but the guest writes on."""
    jobs, watch = held(tmp_path, NEVER_SECONDS)
    await_true(lambda: jobs.looks > 3, "it looks on", 5)
    assert not watch.done.is_set()
    (tmp_path / "scratch/vda.scratch").write_bytes(bytes(MIB + 1))
    assert watch.done.wait(5) and not jobs.active
    assert watch.verdict is not None and watch.verdict.reason == "SCRATCH_FULL"


def test_a_held_job_that_somebody_ended_is_not_waited_for(tmp_path: Path) -> None:
    jobs, watch = held(tmp_path, NEVER_SECONDS)
    jobs.active = False
    assert watch.done.wait(5)


def test_an_owner_that_died_before_its_job_began_holds_nothing(tmp_path: Path) -> None:
    jobs = Jobs(active=True)
    watch = watching(jobs, tmp_path, 0.01, NEVER_SECONDS)
    watch.begin(ROOMY)
    watch.start()
    watch.owner_gone()
    assert watch.done.wait(5) and not jobs.active


def test_a_mark_follows_no_link(tmp_path: Path) -> None:
    """Its folder belongs to QEMU's user, and it is written by root."""
    mark, precious = tmp_path / "frozen", tmp_path / "precious"
    precious.write_text("not ours")
    mark.symlink_to(precious)
    guest = cast(Hypervisor, Guest())
    assert try_thaw(guest, mark) is None
    set_mark(mark, "vm")
    assert precious.read_text() == "not ours" and not mark.is_symlink() and mark.read_text() == "vm"
    assert mark.stat().st_mode & 0o077 == 0
    assert try_thaw(guest, mark) == "vm" and not mark.exists()


@pytest.mark.timeout(10)
def test_a_mark_that_is_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    mark = tmp_path / "frozen"
    os.mkfifo(mark)
    assert try_thaw(cast(Hypervisor, Guest()), mark) is None
