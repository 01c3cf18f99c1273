"""The guard of a capture, under a real libvirt and QEMU: whoever dies, stops or goes away, no job is left and no write fails."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import pytest

from seawall.agent.capture.guard.process import ANSWER_SECONDS
from seawall.agent.capture.guard.stale import MODULE, end_guards
from seawall.agent.capture.names import Places, places
from seawall.agent.capture.sweep import sweep
from seawall.agent.hypervisor.libvirt import LibvirtHypervisor
from support import capture_holder
from support.libvirt_host import LibvirtHost, await_true, disk_xml, domain_xml

pytestmark = pytest.mark.system
pytest_plugins = ["support.libvirt_fixtures"]

MIB = 1024 * 1024
DISK_BYTES = 64 * MIB
SOON = 60.0
"""Seconds for what takes less than two on a quiet machine."""
LARGEST_GUARD_KIB = 40 * 1024


class Vm:
    """A running VM with one qcow2 disk."""

    def __init__(self, host: LibvirtHost, hypervisor: LibvirtHypervisor, name: str) -> None:
        self.host, self.hypervisor, self.name = host, hypervisor, name
        image = host.image(f"{name}.qcow2", "qcow2", DISK_BYTES)
        self.vm_id = hypervisor.define(domain_xml(name, disk_xml(image, "vda", "qcow2")))
        hypervisor.start(self.vm_id)
        self.write(1)

    def write(self, pattern: int, size_mib: int = 16) -> None:
        """Raises RuntimeError when the guest would have seen an error."""
        self.host.qemu_io(self.name, "vda", f"write -P {pattern} 0 {size_mib}M")

    def has_job(self) -> bool:
        return self.hypervisor.has_job(self.vm_id)


@pytest.fixture
def vm(host: LibvirtHost, hypervisor: LibvirtHypervisor, request: pytest.FixtureRequest) -> Iterator[Vm]:
    vm = Vm(host, hypervisor, request.node.name.removeprefix("test_")[:30].replace("[", "-").replace("]", ""))
    yield vm
    hypervisor.stop(vm.vm_id)
    hypervisor.undefine(vm.vm_id)


class Worker:
    """A process that holds a capture. Killed with the test."""

    def __init__(
        self, vm: Vm, attempt: str, settings: Mapping[str, object] | None = None, *, held: bool = False
    ) -> None:
        self.vm, folder = vm, vm.host.folder
        self.places = places(folder / "sw", folder / "scratch", attempt)
        self.go = folder / f"go-{attempt}"
        self.said = ""
        told = {
            "vm": vm.vm_id,
            "attempt": attempt,
            "freeze": "never",
            "go": str(self.go) if held else "",
            "settings": {
                "run_dir": str(folder / "sw"),
                "scratch_dir": str(folder / "scratch"),
                "hypervisor": vm.host.uri,
                "watch_seconds": 0.05,
                **(settings or {}),
            },
        }
        self._process = subprocess.Popen(
            [sys.executable, capture_holder.__file__, json.dumps(told)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )

    def await_line(self, start: str) -> str:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith(start):
                return line.strip()
        raise AssertionError(f"it ended without saying {start!r}")

    def send(self, number: signal.Signals) -> None:
        os.kill(self._process.pid, number)

    def send_to_group(self, number: signal.Signals) -> None:
        os.killpg(self._process.pid, number)

    def close(self) -> None:
        """Its end, orderly where it still can be."""
        self.said, _ = self._process.communicate(timeout=SOON)

    def end(self) -> None:
        with suppress(ProcessLookupError):
            self.send(signal.SIGKILL)
        self._process.communicate()


@pytest.fixture
def workers() -> Iterator[list[Worker]]:
    started: list[Worker] = []
    yield started
    for worker in started:
        worker.end()
        end_guards(worker.places.run)


def guards(where: Places) -> list[int]:
    """Their process ids."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            arguments = (process / "cmdline").read_bytes().split(b"\0")
            if MODULE.encode() in arguments and str(where.run).encode() in arguments:
                found.append(int(process.name))
    return found


def peak_kib(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])


def left_behind(vm: Vm) -> list[Path]:
    folders = (vm.host.folder / "sw", vm.host.folder / "scratch")
    return [path for folder in folders if folder.exists() for path in folder.rglob("*") if not path.is_dir()]


def capturing(workers: list[Worker], vm: Vm, attempt: str, **settings: object) -> Worker:
    worker = Worker(vm, attempt, settings)
    workers.append(worker)
    worker.await_line("captured")
    return worker


def judge_swept(vm: Vm) -> None:
    """The guest writes on, and the next sweep leaves nothing."""
    folder = vm.host.folder
    vm.write(9)
    assert sweep(vm.hypervisor, folder / "sw", folder / "scratch", set(), set()).failed == []
    assert left_behind(vm) == [] and vm.hypervisor.checkpoints(vm.vm_id) == []


def test_a_guard_is_small_and_leaves_with_its_capture(vm: Vm, workers: list[Worker]) -> None:
    worker = capturing(workers, vm, "a1")
    (pid,) = guards(worker.places)
    assert peak_kib(pid) < LARGEST_GUARD_KIB
    worker.close()
    assert guards(worker.places) == [] and not vm.has_job()
    assert left_behind(vm) == []


@pytest.mark.parametrize("held", [False, True], ids=["running", "about to begin"])
def test_the_job_of_a_killed_worker_is_ended(vm: Vm, workers: list[Worker], held: bool) -> None:
    """Nobody else is there: worker and supervisor are dead."""
    worker = Worker(vm, "b1", held=held)
    workers.append(worker)
    worker.await_line("beginning" if held else "captured")
    if not held:
        vm.write(2)
    worker.send(signal.SIGKILL)
    if held:  # what it asked for comes after its death
        vm.host.virsh("backup-begin", vm.name, str(backup_xml(worker)), "--reuse-external")
    await_true(lambda: not vm.has_job(), "the job is ended", SOON)
    vm.write(3)
    await_true(lambda: guards(worker.places) == [], "the guard has left", SOON)
    judge_swept(vm)


def test_a_sweep_leaves_a_guard_that_waits_for_a_job(vm: Vm, workers: list[Worker]) -> None:
    """libvirt may still carry out what a killed worker asked for. A guard that is stopped is of no use, and is killed."""
    worker, folder = Worker(vm, "l1", held=True), vm.host.folder
    workers.append(worker)
    worker.await_line("beginning")
    worker.send(signal.SIGKILL)
    swept = sweep(vm.hypervisor, folder / "sw", folder / "scratch", set(), set())
    assert any("waits for a job" in one for one in swept.failed)
    (pid,) = guards(worker.places)
    assert worker.places.run.exists()
    os.kill(pid, signal.SIGSTOP)
    await_true(lambda: Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T", "it is stopped")
    judge_swept(vm)
    assert guards(worker.places) == []


def backup_xml(worker: Worker) -> Path:
    path = worker.vm.host.folder / "late.xml"
    path.write_text(
        f"""<domainbackup mode='pull'><server transport='unix' socket='{worker.places.socket}'/><disks>
<disk name='vda' type='file'><driver type='qcow2'/><scratch file='{worker.places.scratch_file("vda")}'/></disk></disks></domainbackup>"""
    )
    return path


def test_a_signal_to_the_workers_group_spares_the_guard(vm: Vm, workers: list[Worker]) -> None:
    worker = capturing(workers, vm, "c1")
    (pid,) = guards(worker.places)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        os.kill(pid, number)
    worker.send_to_group(signal.SIGKILL)  # as the supervisor does to a worker that will not end
    await_true(lambda: not vm.has_job(), "the job is ended", SOON)
    await_true(lambda: guards(worker.places) == [], "the guard has left", SOON)
    judge_swept(vm)


def test_scratch_limit_while_the_worker_is_stopped(vm: Vm, workers: list[Worker]) -> None:
    worker = capturing(workers, vm, "d1", scratch_quota_bytes=4 * MIB)
    worker.send(signal.SIGSTOP)
    vm.write(2, 8)
    await_true(lambda: not vm.has_job(), "the job is ended", SOON)
    await_true(lambda: guards(worker.places) == [], "the guard has left", SOON)
    vm.write(3)
    worker.send(signal.SIGCONT)
    assert worker.await_line("ended") == "ended SCRATCH_FULL"
    worker.await_line("closed")
    assert left_behind(vm) == []


def test_a_worker_that_is_stopped_for_too_long_hears_why_its_job_is_gone(vm: Vm, workers: list[Worker]) -> None:
    worker = capturing(workers, vm, "e1", owner_silence_seconds=1.0)
    worker.send(signal.SIGSTOP)
    await_true(lambda: not vm.has_job(), "the job is ended", SOON)
    worker.send(signal.SIGCONT)
    assert worker.await_line("ended") == "ended OWNER_SILENT"


@pytest.mark.slow
def test_a_host_that_stands_still_for_a_while_loses_nothing(vm: Vm, workers: list[Worker]) -> None:
    """Worker and guard are stopped, for longer than one waits for the other's answer: neither takes that for the other's fault."""
    worker = capturing(workers, vm, "f1")
    (pid,) = guards(worker.places)
    os.kill(pid, signal.SIGSTOP)
    stand_still(0.5)  # the worker asks, and waits for the answer
    worker.send(signal.SIGSTOP)
    stand_still(ANSWER_SECONDS + 1)
    worker.send(signal.SIGCONT)
    os.kill(pid, signal.SIGCONT)
    vm.write(2)
    worker.close()
    assert "ended" not in worker.said and left_behind(vm) == [] and not vm.has_job()


def stand_still(seconds: float) -> None:
    until = time.monotonic() + seconds
    await_true(lambda: time.monotonic() > until, "time has passed", SOON)


@pytest.mark.parametrize("number", [signal.SIGKILL, pytest.param(signal.SIGSTOP, marks=pytest.mark.slow)])
def test_a_lost_guard_ends_the_capture(vm: Vm, workers: list[Worker], number: signal.Signals) -> None:
    worker = capturing(workers, vm, "g1")
    (pid,) = guards(worker.places)
    os.kill(pid, number)
    assert worker.await_line("ended") == "ended GUARD_LOST"
    worker.await_line("closed")
    assert guards(worker.places) == [] and not vm.has_job()
    vm.write(2)
    assert left_behind(vm) == []


def test_a_stopped_guard_of_a_dead_worker_is_swept(vm: Vm, workers: list[Worker]) -> None:
    worker = capturing(workers, vm, "h1")
    (pid,) = guards(worker.places)
    os.kill(pid, signal.SIGSTOP)
    worker.send(signal.SIGKILL)
    folder = vm.host.folder
    removed = sweep(vm.hypervisor, folder / "sw", folder / "scratch", set(), set()).removed
    assert any("job of attempt h1" in one for one in removed)
    assert guards(worker.places) == [] and not vm.has_job()
    judge_swept(vm)


def test_the_next_attempt_is_not_hindered(vm: Vm, workers: list[Worker]) -> None:
    old = capturing(workers, vm, "i1")
    (pid,) = guards(old.places)
    os.kill(pid, signal.SIGSTOP)
    old.send(signal.SIGKILL)
    new = capturing(workers, vm, "i2")
    assert guards(old.places) == []  # had it been left, it might go on now with what it was about to do
    assert vm.hypervisor.owns_active_job(vm.vm_id, new.places.socket)
    new.close()
    judge_swept(vm)


@pytest.mark.slow
def test_libvirtd_dies_and_comes_back(vm: Vm, workers: list[Worker]) -> None:
    """Its worker dies meanwhile. The job cannot be ended before libvirt answers again; then it is, by the guard alone."""
    worker = capturing(workers, vm, "j1")
    vm.host.kill_daemon()
    worker.send(signal.SIGKILL)
    assert guards(worker.places) != []
    vm.host.start_daemon()
    await_true(lambda: not vm.has_job(), "the job is ended", SOON)
    await_true(lambda: guards(worker.places) == [], "the guard has left", SOON)
    judge_swept(vm)


def test_a_guard_leaves_when_qemu_and_libvirt_are_gone(tmp_path: Path) -> None:
    """The machine goes down: no process of ours waits for what will not come back."""
    with LibvirtHost.temporary() as host:
        hypervisor = LibvirtHypervisor(host.uri)
        vm = Vm(host, hypervisor, "gone")
        worker = Worker(vm, "k1")
        try:
            worker.await_line("captured")
            where = worker.places
        finally:
            host._running.kill()
            worker.end()
        await_true(lambda: guards(where) == [], "the guard has left", SOON)
