"""All disks of a capture are of one instant: a guest writes one counter to three disks of different formats, as fast as it can.

Each of its writes is done before the next begins, so at any instant the counters are a >= b >= c >= a - 1: equal, but for the write that
was in flight. Disks taken a millisecond after one another would differ by more.
"""

import re
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from deploy.lab.guest_image import find_kernel, make_initrd
from deploy.lab.laboratory import BUILD

from seawall.agent.capture.opening import open_capture
from seawall.agent.capture.port import CapturedDisk, CaptureRequest
from seawall.agent.capture.settings import CaptureSettings
from seawall.agent.hypervisor.libvirt import LibvirtHypervisor
from seawall.repository.clock import SystemClock
from support.libvirt_host import LibvirtHost, await_true, disk_xml

pytestmark = [pytest.mark.system, pytest.mark.timeout(240)]
pytest_plugins = ["support.libvirt_fixtures"]

MIB = 1024 * 1024
BOOT_SECONDS = 120.0
INSTANTS = 8
_COUNT = re.compile(r"COUNT (\d+)")
_DOMAIN = """<domain type='qemu'><name>counter</name><memory unit='MiB'>192</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='q35'>hvm</type><kernel>{kernel}</kernel><initrd>{initrd}</initrd>
<cmdline>console=ttyS0 quiet tsc=unstable no_timer_check</cmdline></os>
<devices>{disks}<serial type='file'><source path='{console}'/></serial></devices></domain>"""


class CounterGuest:
    """Running, and counting."""

    def __init__(self, host: LibvirtHost, hypervisor: LibvirtHypervisor) -> None:
        self._console = host.folder / "counter.console"
        kernel, program = find_kernel(BUILD / "kernel"), host.folder / "counter"
        source = Path(__file__).parents[1] / "support/counter_guest.c"
        subprocess.run(["gcc", "-O2", "-static", "-o", program, source], check=True, capture_output=True)
        disks = (
            disk_xml(host.image("a.qcow2", "qcow2", 4 * MIB), "vda", "qcow2")
            + disk_xml(host.image("b.raw", "raw", 4 * MIB), "vdb", "raw")
            + disk_xml(host.image("c.qcow2", "qcow2", 4 * MIB, "-o", "compat=0.10"), "vdc", "qcow2")
        )
        initrd = make_initrd(host.folder, program, kernel)
        text = _DOMAIN.format(kernel=kernel.image, initrd=initrd, disks=disks, console=self._console)
        self.vm_id = hypervisor.define(text)
        hypervisor.start(self.vm_id)
        await_true(lambda: self.count() > 0, "it counts", BOOT_SECONDS)

    def count(self) -> int:
        """What it last said."""
        said = _COUNT.findall(self._console.read_text(errors="replace")) if self._console.exists() else []
        return int(said[-1]) if said else 0

    def await_count(self, least: int) -> None:
        await_true(lambda: self.count() >= least, "it counts on", BOOT_SECONDS)


@pytest.fixture
def guest(host: LibvirtHost, hypervisor: LibvirtHypervisor) -> Iterator[CounterGuest]:
    made = CounterGuest(host, hypervisor)
    yield made
    hypervisor.stop(made.vm_id)
    hypervisor.undefine(made.vm_id)


def counters(disks: Sequence[CapturedDisk]) -> tuple[int, ...]:
    found = []
    for disk in disks:
        buffer = bytearray(512)
        disk.source.read_into(0, memoryview(buffer))
        found.append(int.from_bytes(buffer[:8], "little"))
    return tuple(found)


def test_disks_of_mixed_formats_are_of_one_instant(
    host: LibvirtHost, hypervisor: LibvirtHypervisor, guest: CounterGuest
) -> None:
    settings = CaptureSettings(run_dir=host.folder / "sw", scratch_dir=host.folder / "scratch", hypervisor=host.uri)
    taken = []
    for number in range(INSTANTS):
        request = CaptureRequest(guest.vm_id, f"a{number}", "agent-1", "abcdef0123456789", "never", None, ())
        before = guest.count()
        with open_capture(request, hypervisor, settings, SystemClock()) as capture:
            found = counters(capture.disks)
            guest.await_count(found[0] + 2)  # what it writes now is not of the instant
            assert counters(capture.disks) == found
        assert before <= found[0]
        taken.append(found)
    assert all(a >= b >= c >= a - 1 for a, b, c in taken), taken
    assert len(set(taken)) == INSTANTS, "the guest went on between them"
