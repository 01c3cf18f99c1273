"""A VM that moved to another host with its files: its bitmaps go with it, and are used there only where they are proven."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from seawall.agent.capture.opening import open_capture
from seawall.agent.capture.plan import MOVED_BITMAP_WHY
from seawall.agent.capture.port import Capture, CaptureRequest
from seawall.agent.capture.settings import CaptureSettings
from seawall.agent.disk.qcow2_bitmaps import stored_bitmaps
from seawall.agent.hypervisor.libvirt import LibvirtHypervisor
from seawall.repository.clock import SystemClock
from seawall.repository.format.manifest import Root
from support.captured_vm import REPOSITORY, Vm, committed, content, overlaid, root_of
from support.libvirt_host import LibvirtHost

pytestmark = pytest.mark.system
pytest_plugins = ["support.libvirt_fixtures", "support.captured_vm_fixtures"]


@dataclass
class There:
    """The other host, and the VM once it is there."""

    host: LibvirtHost
    hypervisor: LibvirtHypervisor
    settings: CaptureSettings

    def arrived(self, vm: Vm) -> Vm:
        """The same VM, as this host has it."""
        return vm.at(self.host, self.hypervisor)

    def capture(self, vm: Vm, attempt: str, parent: Root | None) -> Capture:
        request = CaptureRequest(vm.vm_id, attempt, "agent-2", REPOSITORY, "never", parent, ())
        return open_capture(request, self.hypervisor, self.settings, SystemClock())


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[LibvirtHost]:
    with LibvirtHost.temporary() as host:
        yield host


@pytest.fixture
def there(elsewhere: LibvirtHost, settings: CaptureSettings, vm: Vm) -> Iterator[There]:
    hypervisor = LibvirtHypervisor(elsewhere.uri)
    yield There(elsewhere, hypervisor, replace(settings, hypervisor=elsewhere.uri))
    if any(one.vm_id == vm.vm_id for one in hypervisor.domains()):
        hypervisor.stop(vm.vm_id)
        hypervisor.undefine(vm.vm_id)
    hypervisor.close()


def migrate(vm: Vm, there: There, *flags: str) -> Vm:
    send(vm, there.host, *flags)
    return there.arrived(vm)


def send(vm: Vm, to: LibvirtHost, *flags: str) -> None:
    way = [vm.name, to.uri, "--migrateuri", f"unix://{vm.host.folder}/{vm.vm_id[:8]}.sock"]
    command = ["virsh", "-c", vm.host.uri, "migrate", "--live", "--persistent", "--unsafe", *flags, *way]
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)


def move_cold(vm: Vm, there: There) -> Vm:
    """Stopped, undefined here, defined there: what storage both see."""
    definition = vm.hypervisor.domain_xml(vm.vm_id)
    vm.hypervisor.stop(vm.vm_id)
    there.hypervisor.define(definition)
    return there.arrived(vm)


def hows(taken: Capture) -> list[str]:
    return [one.how for one in taken.disks]


def test_after_a_live_migration_it_goes_on_by_bitmap(vm: Vm, settings: CaptureSettings, there: There) -> None:
    vm.io("vda", "write -P 1 0 8M")
    first, before = committed(vm, settings, "m1")
    vm.io("vda", "write -P 2 1M 64k")
    moved = migrate(vm, there)
    moved.io("vda", "write -P 3 5M 64k")
    moved.io("vda", "discard 2M 1M")
    truth = moved.truth()
    with there.capture(moved, "m2", first) as taken:
        assert hows(taken) == ["bitmap", "compare"] and taken.disks[0].why == MOVED_BITMAP_WHY
        extents = taken.disks[0].source.extents(0, taken.disks[0].size_bytes)
        read = sum(one.length for one in extents if one.dirty and not one.zero)
        assert read <= 3 * 1024 * 1024, "the writes of both hosts, and the end of the data"
        assert overlaid(before["vda"], taken.disks[0]) == truth["vda"] and content(taken.disks[1]) == truth["vdb"]
        taken.keep_checkpoint()
        taken.delete_older_checkpoints()
        second = root_of(moved, list(taken.disks), taken.checkpoint)
    moved.io("vda", "write -P 4 6M 64k")
    with there.capture(moved, "m3", second) as taken:
        assert hows(taken)[0] == "bitmap" and taken.disks[0].why != MOVED_BITMAP_WHY
        assert overlaid(truth["vda"], taken.disks[0]) == moved.truth()["vda"]
        taken.keep_checkpoint()
        taken.delete_older_checkpoints()
    assert moved.checkpoint_names() == [f"seawall-{REPOSITORY[-8:]}-m2", f"seawall-{REPOSITORY[-8:]}-m3"], "m1 is gone"


@pytest.mark.slow
def test_it_goes_there_and_back(vm: Vm, settings: CaptureSettings, there: There) -> None:
    first, before = committed(vm, settings, "b1")
    moved = migrate(vm, there, "--undefinesource")
    moved.io("vda", "write -P 7 0 1M")
    with there.capture(moved, "b2", first) as taken:
        image = overlaid(before["vda"], taken.disks[0])
        taken.keep_checkpoint()
        taken.delete_older_checkpoints()
        second = root_of(moved, list(taken.disks), taken.checkpoint)
    send(moved, vm.host, "--undefinesource")
    vm.io("vda", "write -P 8 3M 1M")
    third, contents = committed(vm, settings, "b3", second)
    assert [one.how for one in third.disks] == ["bitmap", "compare"] and contents == vm.truth()
    assert image != contents["vda"]


@pytest.mark.slow
def test_a_bitmap_that_broke_on_the_new_host_is_not_taken_over(vm: Vm, settings: CaptureSettings, there: There) -> None:
    first, _ = committed(vm, settings, "k1")
    moved = migrate(vm, there)
    moved.io("vda", "write -P 5 0 1M")
    there.host.kill_qemu(vm.name)
    there.hypervisor.start(vm.vm_id)
    with there.capture(moved, "k2", first) as taken:
        assert hows(taken) == ["compare", "compare"] and "no sound dirty bitmap" in taken.disks[0].why
        assert {one.target: content(one) for one in taken.disks} == moved.truth()
        taken.keep_checkpoint()
        taken.delete_older_checkpoints()
        second = root_of(moved, list(taken.disks), taken.checkpoint)
    assert moved.checkpoint_names() == [f"seawall-{REPOSITORY[-8:]}-k2"]
    with there.capture(moved, "k3", second) as taken:
        assert hows(taken) == ["bitmap", "compare"], "nothing of the broken one is in the way"


@pytest.mark.slow
def test_after_a_cold_move_it_goes_on_by_bitmap_off_or_on(vm: Vm, settings: CaptureSettings, there: There) -> None:
    vm.io("vda", "write -P 1 0 8M")
    first, before = committed(vm, settings, "c1")
    vm.io("vda", "write -P 2 4M 64k")
    moved = move_cold(vm, there)
    with there.capture(moved, "c2", first) as taken:
        assert hows(taken) == ["bitmap", "compare"] and taken.disks[0].why == MOVED_BITMAP_WHY
        assert overlaid(before["vda"], taken.disks[0]) == moved.truth_of_files()["vda"]
    there.hypervisor.start(vm.vm_id)
    moved.io("vda", "write -P 3 6M 64k")
    with there.capture(moved, "c3", first) as taken:
        assert hows(taken) == ["bitmap", "compare"]
        assert overlaid(before["vda"], taken.disks[0]) == moved.truth()["vda"]


@pytest.mark.slow
def test_other_storage_is_compared(vm: Vm, settings: CaptureSettings, there: There) -> None:
    """Of the same path and with the same bitmap in it, as a copy has."""
    first, _ = committed(vm, settings, "o1")
    moved = move_cold(vm, there)
    copy = vm.qcow2.with_suffix(".copy")
    subprocess.run(["cp", vm.qcow2, copy], check=True)
    copy.replace(vm.qcow2)
    assert stored_bitmaps(str(vm.qcow2))
    with there.capture(moved, "o2", first) as taken:
        assert hows(taken) == ["compare", "compare"] and "another one than at the parent point" in taken.disks[0].why
    there.hypervisor.start(vm.vm_id)
    with there.capture(moved, "o3", first) as taken:
        assert hows(taken) == ["compare", "compare"]
    assert moved.checkpoint_names() == [], "nothing was taken over"


@pytest.mark.slow
@pytest.mark.parametrize("flags", [(), ("--undefinesource",)], ids=["definition left behind", "undefined"])
def test_the_old_host_notices_that_it_left(
    vm: Vm, settings: CaptureSettings, there: There, flags: tuple[str, ...]
) -> None:
    command = [sys.executable, "-u", "-m", "support.departure_listener", vm.host.uri]
    folder = str(Path(__file__).parents[1])
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": folder}
    ) as listener:
        try:
            await_line(listener, "departures.listening")
            vm.hypervisor.stop(vm.vm_id)
            vm.hypervisor.start(vm.vm_id)
            vm.host.restart_daemon()
            before = await_line(listener, "departures.listening")
            migrate(vm, there, *flags)
            before += await_line(listener, vm.vm_id)
            assert before.count(vm.vm_id) == 1, "a stop is no departure"
        finally:
            listener.kill()


def await_line(listener: "subprocess.Popen[str]", word: str) -> str:
    """All lines up to the one with the word. The test's own time limit ends it."""
    assert listener.stdout is not None
    seen = ""
    for line in listener.stdout:
        seen += line
        if word in line:
            return seen
    raise AssertionError(f"it ended after {seen}")
