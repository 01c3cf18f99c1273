"""The hook scripts of deploy/guest, called by Debian's own hook for Debian's own agent: around a freeze, and when nobody thaws."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from seawall.agent.capture.opening import open_capture
from seawall.agent.capture.port import CaptureRequest
from seawall.agent.capture.settings import CaptureSettings
from seawall.agent.hypervisor.libvirt import LibvirtHypervisor
from seawall.repository.clock import SystemClock
from support.libvirt_host import LibvirtHost, await_true
from support.paced_guest import PacedGuest

pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.timeout(300)]

SCRIPTS = Path(__file__).parents[2] / "deploy/guest/fsfreeze-hook.d"
SAYING = '#!/bin/sh\nexec /init "$1"\n'
TIMER_SECONDS = 10
_numbers = itertools.count()


@pytest.fixture(scope="module")
def host() -> Iterator[LibvirtHost]:
    with LibvirtHost.temporary() as made:
        yield made


@pytest.fixture(scope="module")
def hooked(host: LibvirtHost, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PacedGuest]:
    """With both scripts, and one that says when it was called."""
    saying = tmp_path_factory.mktemp("hooks") / "said"
    saying.write_text(SAYING)
    saying.chmod(0o755)
    scripts = {name: SCRIPTS / name for name in ("10-flush", "90-thaw-timer", "50-database.sample")}
    made = PacedGuest("hooked", host.virsh, host.images, str(host.images), hooks=scripts | {"99-said": saying})
    made.start()
    yield made
    made.assert_never_failed()


@pytest.fixture
def guest(hooked: PacedGuest) -> PacedGuest:
    hooked.await_agent()
    hooked.remember()
    return hooked


def test_a_backup_calls_them_before_and_after(host: LibvirtHost, guest: PacedGuest) -> None:
    """And the timer of one freeze does not thaw the next."""
    for _ in range(2):
        captured(host, guest)
    await_true(lambda: guest.hooks() == ["freeze", "thaw"] * 2, f"both were called: {guest.hooks()}", 30)
    host.virsh("domfsfreeze", guest.name)
    guest.remember()
    try:
        await_true(lambda: guest.longest_gap_ms() > (TIMER_SECONDS - 3) * 1000, "it stands as long as nobody thaws", 30)
    finally:
        host.virsh("domfsthaw", guest.name)
    guest.await_writes()


def test_a_guest_that_nobody_thaws_thaws_itself(host: LibvirtHost, guest: PacedGuest) -> None:
    """Its agent dies while it is frozen and stays dead, and nobody on the host does anything."""
    host.virsh("domfsfreeze", guest.name)
    guest.command("agent kill")
    guest.await_writes(10, 60)
    assert TIMER_SECONDS * 500 < guest.longest_gap_ms() < (TIMER_SECONDS + 2) * 1000
    guest.command("agent start")
    guest.await_agent()
    host.virsh("domfsthaw", guest.name)  # the agent goes by what it noted down before it died
    assert captured(host, guest)


def captured(host: LibvirtHost, guest: PacedGuest) -> bool:
    """Whether it was frozen for it. Nothing is read."""
    settings = CaptureSettings(host.folder / "sw", host.folder / "scratch", hypervisor=host.uri)
    attempt = f"hooked{next(_numbers)}"
    request = CaptureRequest(guest.vm_id, attempt, "agent", "abcdef0123456789", "require", None, ())
    hypervisor = LibvirtHypervisor(host.uri)
    try:
        with open_capture(request, hypervisor, settings, SystemClock()) as capture:
            await_true(lambda: capture.frozen.total_ms > 0, "the guest is thawed", 30)
            return capture.guest_frozen
    finally:
        hypervisor.close()
