"""Freezing through Debian's own guest agent, and its commands lost or stuck at every step: how long the guest stood, as itself saw it.

The guest syncs a file every 20 ms and says how long each write took; its agent calls a hook before it freezes and after it thawed.
"""

import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from seawall.agent.capture.guard.stale import MODULE
from seawall.agent.capture.opening import open_capture
from seawall.agent.capture.port import Capture, CaptureRequest
from seawall.agent.capture.settings import CaptureSettings
from seawall.agent.errors import FreezeFailed
from seawall.agent.hypervisor.libvirt import LibvirtHypervisor
from seawall.repository.clock import SystemClock
from support import capture_holder
from support.libvirt_host import LibvirtHost, await_true
from support.paced_guest import PacedGuest

pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.timeout(300)]

LIMIT_SECONDS = 10.0
SHORT_MS = 2000
"""A freeze that nothing disturbs, on a loaded machine."""
_numbers = itertools.count()


@pytest.fixture(scope="module")
def host() -> Iterator[LibvirtHost]:
    with LibvirtHost.temporary() as made:
        yield made


@pytest.fixture(scope="module")
def hypervisor(host: LibvirtHost) -> Iterator[LibvirtHypervisor]:
    made = LibvirtHypervisor(host.uri)
    yield made
    made.close()


@pytest.fixture(scope="module")
def working(host: LibvirtHost) -> Iterator[PacedGuest]:
    guest = PacedGuest("paced", host.virsh, host.images, str(host.images))
    guest.start()
    yield guest
    guest.assert_never_failed()


@pytest.fixture
def guest(working: PacedGuest) -> Iterator[PacedGuest]:
    """With an agent that answers, and again afterwards, whatever a test did to it."""
    working.await_agent()
    working.remember()
    yield working
    working.command("hook 0")
    working.command("agent kill")
    working.command("agent start")
    working.await_writes()


@contextmanager
def captured(
    host: LibvirtHost, hypervisor: LibvirtHypervisor, vm_id: str, freeze: str, limit_ms: int = 0
) -> Iterator[Capture]:
    folder = host.folder
    settings = CaptureSettings(folder / "sw", folder / "scratch", hypervisor=host.uri, freeze_seconds=LIMIT_SECONDS)
    request = CaptureRequest(
        vm_id, f"attempt{next(_numbers)}", "agent", "abcdef0123456789", freeze, None, (), freeze_limit_ms=limit_ms
    )
    with open_capture(request, hypervisor, settings, SystemClock()) as capture:
        yield capture


def gap_ms(guest: PacedGuest) -> int:
    """How long it stood at most since the test began, once it works again."""
    guest.await_writes(20)
    return guest.longest_gap_ms()


def test_a_freeze_is_short_and_its_hooks_run(
    host: LibvirtHost, hypervisor: LibvirtHypervisor, guest: PacedGuest
) -> None:
    with captured(host, hypervisor, guest.vm_id, "require") as capture:
        assert capture.guest_frozen and not [reason for reason, _ in capture.warnings if reason == "NOT_FROZEN"]
        await_true(lambda: capture.frozen.total_ms > 0, "the freeze is measured")
        measured_ms = capture.frozen.total_ms
        await_true(lambda: guest.hooks()[:2] == ["freeze", "thaw"], "both hooks ran")
    stood_ms = gap_ms(guest)
    assert stood_ms < SHORT_MS and measured_ms < SHORT_MS
    assert measured_ms >= stood_ms - 300  # it is measured from before the freeze until after the thaw


def test_never_asks_the_agent_nothing(host: LibvirtHost, hypervisor: LibvirtHypervisor, guest: PacedGuest) -> None:
    with captured(host, hypervisor, guest.vm_id, "never") as capture:
        guest.await_writes()
        assert not capture.guest_frozen and capture.frozen.total_ms == 0
    assert guest.hooks() == []


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_without_an_answering_agent_try_goes_on_and_require_fails(
    host: LibvirtHost, hypervisor: LibvirtHypervisor, guest: PacedGuest, how: str
) -> None:
    """Killed, or stopped in the guest: then it carries out nothing later, either."""
    guest.command(f"agent {how}")
    with captured(host, hypervisor, guest.vm_id, "try") as capture:
        (message,) = [message for reason, message in capture.warnings if reason == "NOT_FROZEN"]
        assert message.startswith("The point is crash-consistent.") and not capture.guest_frozen
    with pytest.raises(FreezeFailed), captured(host, hypervisor, guest.vm_id, "require"):
        pass
    if how == "stop":
        guest.command("agent cont")
    assert gap_ms(guest) < SHORT_MS


def test_without_a_channel_try_goes_on_and_require_fails_at_once(
    host: LibvirtHost, hypervisor: LibvirtHypervisor
) -> None:
    deaf = PacedGuest("deaf", host.virsh, host.images, str(host.images), channel=False)
    deaf.start()
    try:
        with captured(host, hypervisor, deaf.vm_id, "try") as capture:
            assert [reason for reason, _ in capture.warnings if reason == "NOT_FROZEN"]
        with pytest.raises(FreezeFailed), captured(host, hypervisor, deaf.vm_id, "require"):
            pass
        assert gap_ms(deaf) < SHORT_MS
    finally:
        deaf.remove()


def test_a_hook_that_hangs_ends_as_no_freeze(
    host: LibvirtHost, hypervisor: LibvirtHypervisor, guest: PacedGuest
) -> None:
    """The agent is busy with the freeze that was given up: it carries it out later, and is thawed as soon as it listens again."""
    guest.command("hook 8")
    with captured(host, hypervisor, guest.vm_id, "try", limit_ms=4000) as capture:
        assert not capture.guest_frozen
        assert [reason for reason, _ in capture.warnings if reason == "NOT_FROZEN"]
        await_true(lambda: guest.hooks()[:2] == ["freeze", "thaw"], "the late freeze is over", 60)
    assert gap_ms(guest) < LIMIT_SECONDS * 1000


def test_an_agent_that_dies_while_the_guest_is_frozen_thaws_it_when_it_is_back(
    host: LibvirtHost, hypervisor: LibvirtHypervisor, guest: PacedGuest
) -> None:
    """Nobody outside can thaw it meanwhile. libvirt does not notice, while our job runs, that an agent came back: the guard asks it."""
    with holding(host, guest, "require") as holder:
        holder.await_line("beginning")
        guest.command("agent kill")
        holder.go.touch()
        holder.on.touch()
        guest.command("agent start")
        await_true(lambda: guest.hooks()[:2] == ["freeze", "thaw"], "the guest is thawed", 60)
    assert gap_ms(guest) < LIMIT_SECONDS * 1000


@pytest.mark.parametrize("when", ["beginning", "begun"])
@pytest.mark.parametrize("back", [False, True])
def test_an_agent_that_dies_does_not_keep_the_guest_frozen(
    host: LibvirtHost, hypervisor: LibvirtHypervisor, guest: PacedGuest, when: str, back: bool
) -> None:
    """Before the job or after: its kernel takes the order from the keyboard, where it may. The agent comes back or does not.

    An agent that says so is heard later: libvirt waits for the job before it takes note that an agent left or came, 30 s for each, and
    then forgets it. The guard ends the job; what libvirt believes is mended when the agent leaves once more.
    """
    guest.command("sysrq 64")
    try:
        with holding(host, guest, "require") as holder:
            holder.await_line("beginning")
            if when == "begun":
                holder.go.touch()
                holder.await_line("begun")
            guest.command("agent kill")
            if back:
                guest.command("agent start")
            holder.go.touch()
            holder.on.touch()
            guest.await_writes(5, 30)
            assert guest.longest_gap_ms() < LIMIT_SECONDS * 1000
            await_true(lambda: "capture.thawed" in holder.log.read_text() or holder.is_over(), "all is over", 120)
    finally:
        guest.command("sysrq 438")
    await_true(lambda: "None" in host.virsh("domjobinfo", guest.name), "no job is left", 120)
    restart_agent_until(guest, lambda: not holder.guards(), "its guard is gone, which may have thawed until then")


def restart_agent_until(guest: PacedGuest, condition: Callable[[], bool], what: str) -> None:
    for _ in range(5):
        guest.command("agent kill")
        guest.command("agent start")
        with suppress(TimeoutError):
            return await_true(condition, what, 15)
    raise TimeoutError(f"{what}: not with a new agent")


@pytest.mark.parametrize("victim", ["worker", "guard", "libvirtd and worker"])
def test_whoever_dies_the_guest_is_thawed_in_time(
    host: LibvirtHost, hypervisor: LibvirtHypervisor, guest: PacedGuest, victim: str
) -> None:
    with holding(host, guest, "require") as holder:
        holder.await_line("beginning")
        if victim == "guard":
            os.kill(holder.guard(), signal.SIGKILL)
        if "libvirtd" in victim:
            host.kill_daemon()
        if "worker" in victim:
            holder.process.kill()
        try:
            await_true(lambda: guest.hooks()[:2] == ["freeze", "thaw"], "the guest is thawed", 30)
            assert gap_ms(guest) < LIMIT_SECONDS * 1000
        finally:
            if "libvirtd" in victim:
                host.start_daemon()
    await_true(lambda: "None" in host.virsh("domjobinfo", guest.name), "no job is left", 90)


class Holder:
    """A worker that is about to ask for the job; its guest is frozen."""

    def __init__(self, host: LibvirtHost, guest: PacedGuest, freeze: str) -> None:
        self.attempt = f"holder{next(_numbers)}"
        self.go, self.on = host.folder / f"go-{self.attempt}", host.folder / f"on-{self.attempt}"
        self.log = host.folder / f"{self.attempt}.log"
        places = {"run_dir": str(host.folder / "sw"), "scratch_dir": str(host.folder / "scratch")}
        settings = {**places, "hypervisor": host.uri, "freeze_seconds": LIMIT_SECONDS}
        told = {"vm": guest.vm_id, "attempt": self.attempt, "freeze": freeze, "settings": settings}
        told |= {"go": str(self.go), "on": str(self.on)}
        self._folder = f"{places['run_dir']}/captures/{self.attempt}"
        with self.log.open("wb") as log:
            command = [sys.executable, capture_holder.__file__, json.dumps(told)]
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log)

    def is_over(self) -> bool:
        return self.process.poll() is not None

    def await_line(self, word: str) -> None:
        await_true(lambda: word in self.log.read_text(), f"{word!r} in {self.log.read_text()}", 60)

    def guard(self) -> int:
        (pid,) = self.guards()
        return pid

    def guards(self) -> list[int]:
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                arguments = (process / "cmdline").read_text().split("\0")
            except OSError:
                continue
            if MODULE in arguments and self._folder in arguments:
                found.append(int(process.name))
        return found


@contextmanager
def holding(host: LibvirtHost, guest: PacedGuest, freeze: str) -> Iterator[Holder]:
    holder = Holder(host, guest, freeze)
    try:
        yield holder
    finally:
        holder.go.touch()
        holder.on.touch()
        if holder.process.stdin is not None:
            holder.process.stdin.close()
        try:
            holder.process.wait(60)
        finally:
            holder.process.kill()
            holder.process.wait()
