"""A worker is killed in mid-transfer: the next one of its run goes on with the same instant, under a real libvirt and QEMU."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from seawall.agent.capture.held import held_captures
from seawall.agent.capture.names import places
from seawall.agent.capture.opening import open_capture
from seawall.agent.capture.port import Capture, CapturedDisk, CaptureRequest
from seawall.agent.capture.settings import CaptureSettings
from seawall.agent.capture.sweep import sweep
from seawall.agent.hypervisor.libvirt import LibvirtHypervisor
from seawall.agent.hypervisor.port import BackupDisk
from seawall.repository.clock import SystemClock
from support import capture_holder
from support.libvirt_host import LibvirtHost, await_true, disk_xml, domain_xml

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]
pytest_plugins = ["support.libvirt_fixtures"]

MIB = 1024 * 1024
LONG = 3600.0


class Vm:
    """A running VM with a qcow2 disk vda and a raw disk vdb, in which 1 MiB of ones lies."""

    def __init__(self, host: LibvirtHost, hypervisor: LibvirtHypervisor, name: str) -> None:
        self.host, self.hypervisor, self.name = host, hypervisor, name
        disks = disk_xml(host.image(f"{name}.qcow2", "qcow2", 16 * MIB), "vda", "qcow2")
        disks += disk_xml(host.image(f"{name}.raw", "raw", 4 * MIB), "vdb", "raw")
        self.vm_id = hypervisor.define(domain_xml(name, disks))
        hypervisor.start(self.vm_id)
        self.write(1)

    def write(self, pattern: int) -> None:
        for target in ("vda", "vdb"):
            self.host.qemu_io(self.name, target, f"write -P {pattern} 0 1M")

    def checkpoints(self) -> list[str]:
        return [one.name for one in self.hypervisor.checkpoints(self.vm_id)]


@pytest.fixture
def vm(host: LibvirtHost, hypervisor: LibvirtHypervisor, request: pytest.FixtureRequest) -> Iterator[Vm]:
    vm = Vm(host, hypervisor, request.node.name.removeprefix("test_")[:30])
    yield vm
    hypervisor.stop(vm.vm_id)
    hypervisor.undefine(vm.vm_id)


def settings_of(host: LibvirtHost, hold_seconds: float = LONG) -> CaptureSettings:
    folder = host.folder
    return CaptureSettings(
        run_dir=folder / "sw",
        scratch_dir=folder / "scratch",
        hypervisor=host.uri,
        watch_seconds=0.05,
        hold_seconds=hold_seconds,
    )


def killed_worker(vm: Vm, attempt: str, hold_seconds: float = LONG) -> None:
    """An attempt of run r1 that took its snapshot and was killed then."""
    settings = settings_of(vm.host, hold_seconds)
    names = ("run_dir", "scratch_dir", "hypervisor")
    numbers = {"watch_seconds": settings.watch_seconds, "hold_seconds": hold_seconds}
    told: dict[str, object] = {
        "vm": vm.vm_id,
        "attempt": attempt,
        "freeze": "never",
        "go": "",
        "run": "r1",
        "settings": {name: str(getattr(settings, name)) for name in names} | numbers,
    }
    worker = subprocess.Popen(
        [sys.executable, capture_holder.__file__, json.dumps(told)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with worker:
        assert worker.stdout is not None
        said = next((line for line in worker.stdout if line.startswith(("captured", "ended"))), "")
        worker.kill()
    assert said.startswith("captured"), said


def a_request(vm: Vm, attempt: str) -> CaptureRequest:
    repository = capture_holder.REPOSITORY
    return CaptureRequest(vm.vm_id, attempt, "agent-1", repository, "never", None, (), run_id="r1")


@contextmanager
def captured(vm: Vm, request: CaptureRequest) -> Iterator[Capture]:
    with open_capture(request, vm.hypervisor, settings_of(vm.host), SystemClock()) as capture:
        yield capture


def first_byte(disk: CapturedDisk) -> int:
    buffer = bytearray(1)
    disk.source.read_into(0, memoryview(buffer))
    return buffer[0]


def assert_nothing_left(vm: Vm, *attempts: str) -> None:
    assert not vm.hypervisor.has_job(vm.vm_id) and held_captures(vm.host.folder / "sw") == []
    for attempt in attempts:
        where = places(vm.host.folder / "sw", vm.host.folder / "scratch", attempt)
        assert not where.run.exists() and not where.scratch.exists()


def test_the_next_worker_goes_on_with_the_same_instant(vm: Vm) -> None:
    killed_worker(vm, "a1")
    vm.write(2)
    before = SystemClock().now_us()
    swept = sweep(vm.hypervisor, vm.host.folder / "sw", vm.host.folder / "scratch", set(), set())
    assert swept.waiting == {"a1"} and vm.hypervisor.has_job(vm.vm_id), "the sweep of its supervisor leaves it alone"
    with captured(vm, a_request(vm, "a2")) as capture:
        assert capture.resumed_from == "a1" and capture.instant_us < before
        assert [first_byte(disk) for disk in capture.disks] == [1, 1], (
            "what the guest wrote since is not of the instant"
        )
        assert capture.checkpoint is not None and vm.checkpoints() == [capture.checkpoint.name]
        assert "<domain " in capture.checkpoint.xml and "<creationTime>" in capture.checkpoint.xml, (
            "enough to redefine it"
        )
        assert b"<name>" in capture.members["domain.xml"]
        capture.check()
        swept = sweep(vm.hypervisor, vm.host.folder / "sw", vm.host.folder / "scratch", {"a2"}, set())
        assert (swept.waiting, swept.removed) == (set(), []), "it has a worker again"
        capture.keep_checkpoint()
    assert len(vm.checkpoints()) == 1
    assert_nothing_left(vm, "a1", "a2")
    assert not (vm.host.folder / "sw/held").exists()


@pytest.mark.slow
def test_a_capture_may_pass_through_many_hands(vm: Vm) -> None:
    killed_worker(vm, "a1")
    for number in (2, 3):
        vm.write(number)
        killed_worker(vm, f"a{number}")
    with captured(vm, a_request(vm, "a4")) as capture:
        assert capture.resumed_from == "a1" and [first_byte(disk) for disk in capture.disks] == [1, 1]
    assert vm.checkpoints() == [], "it was not kept"
    assert_nothing_left(vm, "a1", "a2", "a3", "a4")


def test_a_worker_that_leaves_with_its_supervisor_leaves_the_instant(vm: Vm) -> None:
    with captured(vm, a_request(vm, "a1")) as capture:
        capture.leave()
    vm.write(2)
    with captured(vm, a_request(vm, "a2")) as capture:
        assert capture.resumed_from == "a1" and [first_byte(disk) for disk in capture.disks] == [1, 1]
        capture.handing_in(True)
        capture.leave()
    assert vm.checkpoints() == [], "what is being handed in is nobody else's"
    assert_nothing_left(vm, "a1", "a2")


def test_another_run_takes_an_instant_of_its_own(vm: Vm) -> None:
    killed_worker(vm, "a1")
    vm.write(2)
    with captured(vm, replace(a_request(vm, "a2"), run_id="r2")) as capture:
        assert capture.resumed_from == "" and [first_byte(disk) for disk in capture.disks] == [2, 2]
    sweep(vm.hypervisor, vm.host.folder / "sw", vm.host.folder / "scratch", set(), set())
    assert vm.checkpoints() == []
    assert_nothing_left(vm, "a1", "a2")


def test_what_nobody_goes_on_with_ends_by_itself(vm: Vm) -> None:
    killed_worker(vm, "a1", hold_seconds=1.0)
    await_true(lambda: not vm.hypervisor.has_job(vm.vm_id), "its guard ends it", 60)
    await_true(lambda: held_captures(vm.host.folder / "sw") == [], "its guard leaves", 60)
    vm.write(2)
    with captured(vm, a_request(vm, "a2")) as capture:
        assert capture.resumed_from == "" and first_byte(capture.disks[0]) == 2
    sweep(vm.hypervisor, vm.host.folder / "sw", vm.host.folder / "scratch", set(), set())
    assert vm.checkpoints() == []
    assert_nothing_left(vm, "a1", "a2")


def test_a_foreign_job_is_neither_taken_over_nor_ended(vm: Vm) -> None:
    """Ours was ended, and somebody else's stands in its place."""
    killed_worker(vm, "a1")
    vm.hypervisor.end_backup(vm.vm_id)
    scratch, socket = vm.host.folder / "foreign.scratch", vm.host.folder / "foreign.sock"
    foreign = [BackupDisk("vda", scratch, None, checkpoint=True)]
    vm.hypervisor.begin_backup(vm.vm_id, foreign, socket, "nightly")
    try:
        with pytest.raises(Exception, match="not Seawall's"), captured(vm, a_request(vm, "a2")):
            pass
        await_true(lambda: held_captures(vm.host.folder / "sw") == [], "our guard leaves", 60)
        sweep(vm.hypervisor, vm.host.folder / "sw", vm.host.folder / "scratch", set(), set())
        assert vm.hypervisor.owns_active_job(vm.vm_id, socket) and vm.checkpoints() == ["nightly"]
    finally:
        vm.hypervisor.end_backup(vm.vm_id)
    assert not Path(places(vm.host.folder / "sw", vm.host.folder / "scratch", "a1").run).exists()
