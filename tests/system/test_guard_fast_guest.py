"""A guest that overwrites hundreds of megabytes a second, and scratch that is small: its writes go on, whatever becomes of the backup."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from seawall.agent.capture.guard.stale import MODULE
from seawall.agent.capture.limits import RESERVE_BYTES, free_bytes
from seawall.agent.capture.opening import open_capture
from seawall.agent.capture.port import Capture, CaptureRequest
from seawall.agent.capture.settings import CaptureSettings
from seawall.agent.errors import AgentError
from seawall.agent.hypervisor.libvirt import LibvirtHypervisor
from seawall.repository.clock import SystemClock
from support.fast_guest import FastGuest, small_scratch
from support.libvirt_host import LibvirtHost, await_true

pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.timeout(300)]

MIB = 1024 * 1024
SCRATCH_MIB = 1100
LEFT_BYTES = RESERVE_BYTES // 2
"""At least so much is still free once the job is over. Nearly all of the reserve is, on a quiet machine."""


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Path]:
    with small_scratch(tmp_path / "scratch", SCRATCH_MIB) as folder:
        yield folder


@pytest.fixture
def guest(scratch: Path) -> Iterator[FastGuest]:
    with LibvirtHost.temporary() as host:
        hypervisor = LibvirtHypervisor(host.uri)
        yield FastGuest(host, hypervisor, 1536 * MIB)
        hypervisor.close()


def capturing(guest: FastGuest, scratch: Path, attempt: str) -> Capture:
    request = CaptureRequest(guest.vm_id, attempt, "agent", "abcdef0123456789", "never", None, ())
    settings = CaptureSettings(run_dir=guest.host.folder / "sw", scratch_dir=scratch, hypervisor=guest.host.uri)
    return open_capture(request, guest.hypervisor, settings, SystemClock())


def ending(capture: Capture) -> str:
    """Why it ended; "" while it goes on."""
    try:
        capture.check()
    except AgentError as error:
        return error.reason
    return ""


def guard_of(guest: FastGuest, attempt: str) -> int:
    folder = str(guest.host.folder / "sw/captures" / attempt)
    for process in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (process / "cmdline").read_text().split("\0")
        except OSError:
            continue
        if MODULE in arguments and folder in arguments:
            return int(process.name)
    raise AssertionError("no guard")


def test_a_burst_after_quiet_seconds_fills_no_scratch(guest: FastGuest, scratch: Path) -> None:
    """Nothing was written before, so nothing foretold it."""
    guest.host.virsh("suspend", guest.name)
    lowest = free_bytes(scratch)
    with capturing(guest, scratch, "a1") as capture:
        guest.host.virsh("resume", guest.name)

        def over() -> bool:
            nonlocal lowest
            lowest = min(lowest, free_bytes(scratch))
            return ending(capture) != ""

        await_true(over, "the job is ended", 120)
        assert ending(capture) == "SCRATCH_FULL"
    assert lowest > LEFT_BYTES and guest.state() == "running (unpaused)"
    guest.await_writes()
    assert "FAILED" not in guest.said()


def test_a_guest_that_stands_still_for_full_scratch_goes_on(guest: FastGuest, scratch: Path) -> None:
    """Its guard cannot look. QEMU pauses the VM; the worker notices, ends the job, and the write is repeated."""
    with capturing(guest, scratch, "b1") as capture:
        os.kill(guard_of(guest, "b1"), signal.SIGSTOP)
        await_true(lambda: guest.state() == "paused (I/O error)", "the VM is paused")
        await_true(lambda: ending(capture) != "", "the job is ended", 60)
        assert ending(capture) == "GUARD_LOST"
    await_true(lambda: guest.state().startswith("running"), "the VM goes on")
    guest.await_writes()
    assert "FAILED" not in guest.said()
