"""A frozen guest is thawed within its limit, whoever dies or stops: a real guest with an agent, frozen through a real libvirt."""

import itertools
import json
import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from deploy.lab.guest_image import GuestImage
from deploy.lab.guest_vm import GuestVm
from deploy.lab.laboratory import Laboratory
from deploy.lab.processes import Service, all_pids
from deploy.lab.waiting import wait_for

from seawall.agent.capture.guard.stale import MODULE
from support import capture_holder

pytest_plugins = ["support.laboratory"]
pytestmark = [pytest.mark.system, pytest.mark.timeout(240)]

LIMIT_SECONDS = 10
PROMPT_SECONDS = 5.0
"""For a thaw that waits for no deadline; well below the limit."""
WORKER = "seawall.agent.worker"
RUN_DIR, SCRATCH_DIR = "/run/seawall/guarded", "/var/lib/seawall/guarded"

_numbers = itertools.count()


@pytest.fixture(scope="module")
def guest(laboratory: Laboratory, guest_image: GuestImage) -> Iterator[GuestVm]:
    made = GuestVm("guarded", laboratory.hypervisors["beta"])
    made.create(guest_image)
    try:
        assert made.await_verdict(180).ok
        yield made
    finally:
        made.remove_if_present()


class Frozen:
    """A worker that is about to ask for the job, its guest frozen since `seconds` (monotonic)."""

    def __init__(self, guest: GuestVm, attempt: str, freeze: str = "require") -> None:
        self.guest, self.attempt = guest, attempt
        self.go = guest.host.outside("/var/lib/seawall") / f"go-{attempt}"
        self.thaws = self._count("THAWED")
        freezes = self._count("FROZEN")
        vm_id = guest.hypervisor.virsh("domuuid", guest.name)
        settings = {"run_dir": RUN_DIR, "scratch_dir": SCRATCH_DIR, "freeze_seconds": LIMIT_SECONDS}
        told = {"vm": vm_id, "attempt": attempt, "freeze": freeze, "go": f"/var/lib/seawall/go-{attempt}"}
        command = [sys.executable, capture_holder.__file__, json.dumps(told | {"settings": settings})]
        self._service: Service = guest.host.serve(f"capture-{attempt}", command)
        self.process = self._service.process
        self._group = os.getpgid(self.process.pid)
        wait_for("the guest to be frozen", lambda: self._count("FROZEN") > freezes, 30, self.tail, 0.01)
        self.seconds = time.monotonic()

    def await_line(self, start: str) -> str:
        """What the worker says, or logs."""

        def find() -> str | None:
            lines = self._service.log.read_text().splitlines()
            return next((line for line in lines if line.startswith(start) or f" {start} " in line), None)

        return wait_for(f"{start!r}", find, 60, self.tail)

    def await_thaw(self) -> float:
        """For how long the guest was frozen, as seen from outside."""
        wait_for("the guest to be thawed", lambda: self._count("THAWED") > self.thaws, 60, self.tail, 0.01)
        return time.monotonic() - self.seconds

    def guards(self) -> list[int]:
        folder = f"{RUN_DIR}/captures/{self.attempt}"
        return [pid for pid in all_pids() if {MODULE, folder} <= arguments_of(pid)]

    def await_nothing(self, guards: int = 1) -> None:
        """The guest writes and has no job. The guard of a killed worker stays for a while: what it had asked for may still come."""
        self.guest.await_writes(3)
        wait_for("no job", lambda: "None" in self.guest.hypervisor.virsh("domjobinfo", self.guest.name), 60, self.tail)
        assert len(self.guards()) == guards

    def send(self, number: signal.Signals) -> None:
        """To the worker, and to the nsenter before it, which would stop itself and not go on. The guard is in another group."""
        os.killpg(self._group, number)

    def end(self) -> None:
        with suppress(ProcessLookupError):
            self.send(signal.SIGCONT)  # nsenter stops itself when it learns late that its child was stopped
        self._service.kill()

    def tail(self) -> str:
        return self._service.log_tail() + self.guest.console_tail()

    def _count(self, word: str) -> int:
        return len(re.findall(f"SEAWALL-GUEST-{word}", self.guest.console.read_text(errors="replace")))


def arguments_of(pid: int) -> set[str]:
    try:
        return {os.fsdecode(one) for one in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")}
    except OSError:
        return set()


@pytest.fixture
def frozen(guest: GuestVm) -> Iterator[Frozen]:
    worker = Frozen(guest, f"attempt{next(_numbers)}")
    yield worker
    worker.end()


def test_a_killed_worker_leaves_no_frozen_guest(frozen: Frozen) -> None:
    """And nobody else is there: no supervisor, no sweep."""
    frozen.await_line("beginning")
    frozen.process.kill()
    assert frozen.await_thaw() < PROMPT_SECONDS
    frozen.await_nothing()


def test_a_stopped_worker_keeps_no_guest_frozen(frozen: Frozen) -> None:
    frozen.await_line("beginning")
    frozen.send(signal.SIGSTOP)
    assert frozen.await_thaw() < LIMIT_SECONDS
    frozen.send(signal.SIGCONT)
    frozen.go.touch()
    assert frozen.await_line("ended") == "ended FREEZE_FAILED"  # the policy requires it, and the instant came too late
    frozen.await_line("closed")
    frozen.await_nothing(guards=0)


@pytest.mark.parametrize("number", [signal.SIGKILL, pytest.param(signal.SIGSTOP, marks=pytest.mark.slow)])
def test_a_lost_guard_leaves_no_frozen_guest(frozen: Frozen, number: signal.Signals) -> None:
    frozen.await_line("beginning")
    (pid,) = frozen.guards()
    os.kill(pid, number)
    assert frozen.await_thaw() < LIMIT_SECONDS
    frozen.go.touch()
    assert frozen.await_line("ended") == "ended GUARD_LOST"
    frozen.await_line("closed")
    frozen.await_nothing(guards=0)


def test_libvirt_dies_while_the_guest_is_frozen(frozen: Frozen) -> None:
    """And the worker with it: the guard asks the guest's agent itself, over the channel that is free now."""
    frozen.await_line("beginning")
    frozen.guest.hypervisor.kill_libvirtd()
    frozen.process.kill()
    try:
        assert frozen.await_thaw() < PROMPT_SECONDS
        frozen.guest.await_writes(3)
    finally:
        frozen.guest.hypervisor.start()
    frozen.await_nothing()


def test_an_undisturbed_freeze_is_short(frozen: Frozen) -> None:
    frozen.go.touch()
    assert frozen.await_line("captured") == "captured frozen=True"
    assert frozen.await_thaw() < PROMPT_SECONDS
    assert "frozen_ms" in frozen.await_line("capture.thawed")


def test_a_guest_that_somebody_else_froze_is_left_to_them(guest: GuestVm) -> None:
    """Another tool may be taking its snapshot at this moment."""
    guest.hypervisor.virsh("domfsfreeze", guest.name)
    try:
        thaws = len(re.findall("SEAWALL-GUEST-THAWED", guest.console.read_text(errors="replace")))
        settings = {"run_dir": RUN_DIR, "scratch_dir": SCRATCH_DIR, "freeze_seconds": LIMIT_SECONDS}
        vm_id = guest.hypervisor.virsh("domuuid", guest.name)
        told = {"vm": vm_id, "attempt": "foreign", "freeze": "try", "go": "", "settings": settings}
        held = guest.host.serve("capture-foreign", [sys.executable, capture_holder.__file__, json.dumps(told)])
        try:
            wait_for("its end", lambda: "closed" in held.log.read_text(), 60, held.log_tail)
        finally:
            held.kill()
        assert "captured frozen=False" in held.log.read_text()
        assert len(re.findall("SEAWALL-GUEST-THAWED", guest.console.read_text(errors="replace"))) == thaws
    finally:
        guest.hypervisor.virsh("domfsthaw", guest.name)
    guest.await_writes(3)


@pytest.mark.slow
@pytest.mark.parametrize("guard_too", [False, True])
def test_worker_and_agent_die_while_the_guest_is_frozen(fleet: Laboratory, guest: GuestVm, guard_too: bool) -> None:
    """The whole product: nobody of ours lives but the guard, and the next attempt makes the point.

    Without the guard the guest stands until somebody starts the agent again: to thaw is the first that it does.
    """
    fleet.await_vm(guest.name, "beta")
    thaws = guest.console.read_text(errors="replace").count("SEAWALL-GUEST-THAWED")
    assert guest.host.init is not None
    captures = Path(f"/proc/{guest.host.init.pid}/root/run/seawall/agent/captures")
    run = fleet.start_backup(guest.name, "--freeze", "require")
    worker = wait_for("the worker", lambda: process_on(guest, WORKER), 60, fleet.logs, 0.01)
    wait_for("a capture", lambda: captures.is_dir() and any(captures.iterdir()), 60, fleet.logs, 0.001)
    stop_when_there_is(worker, next(captures.iterdir()) / "frozen")
    frozen_seconds = time.monotonic()
    if guard_too:
        guard = process_on(guest, MODULE)
        assert guard is not None
        os.kill(guard, signal.SIGKILL)
    fleet.kill_service("agent-beta")
    os.kill(worker, signal.SIGKILL)
    if guard_too:
        wait_for("the worker's end", lambda: process_on(guest, WORKER) is None, 30, fleet.logs, 0.01)
        fleet.start_agent("beta")
    wait_for(
        "the guest to be thawed",
        lambda: guest.console.read_text(errors="replace").count("SEAWALL-GUEST-THAWED") > thaws,
        60,
        guest.console_tail,
        0.01,
    )
    assert time.monotonic() - frozen_seconds < LIMIT_SECONDS
    guest.await_writes(3)
    if not guard_too:
        fleet.start_agent("beta")
    ended = fleet.await_end(run.run_id, 120)
    assert ended.succeeded, ended.failure
    wait_for("an empty folder", lambda: not list(captures.iterdir()), 150, fleet.logs)


def stop_when_there_is(worker: int, mark: Path) -> None:
    """Stop the worker between the freeze and the job: some 50 ms, so this process goes before others and does not sleep."""
    usual = os.getpriority(os.PRIO_PROCESS, 0)
    os.setpriority(os.PRIO_PROCESS, 0, -19)
    try:
        deadline = time.monotonic() + 60
        while not mark.exists():
            assert time.monotonic() < deadline, "the guest was not frozen"
        os.kill(worker, signal.SIGSTOP)
    finally:
        os.setpriority(os.PRIO_PROCESS, 0, usual)


def process_on(guest: GuestVm, module: str) -> int | None:
    """The one process of the guest's host that runs this module."""
    namespace = guest.host.namespace_ids()["pid"]
    found = [pid for pid in all_pids() if module in arguments_of(pid)]
    return next((pid for pid in found if os.stat(f"/proc/{pid}/ns/pid").st_ino == namespace), None)
