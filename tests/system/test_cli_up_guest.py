"""`seawall up` on a hypervisor host with a running guest, in the places that it takes by itself: the first hour of somebody new."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from deploy.lab.answers import TRANSFERRING_OR_LATER, parse_run
from deploy.lab.guest_image import run_tool
from deploy.lab.guest_vm import IMAGES, GuestVm
from deploy.lab.hypervisor_host import HypervisorHost
from deploy.lab.laboratory import Laboratory, seawall_command
from deploy.lab.processes import Service
from deploy.lab.waiting import wait_for

pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.timeout(900)]

BUSY_SECONDS = 240


@pytest.fixture
def hypervisor() -> Iterator[HypervisorHost]:
    """A host of a laboratory of its own: in the shared one an agent may serve already."""
    with Laboratory(f"up-{os.getpid()}") as laboratory:
        alpha = laboratory.hypervisors["alpha"]
        alpha.start()
        guest = GuestVm("web1", alpha)
        guest.create(laboratory.guest_image())
        assert guest.await_verdict(BUSY_SECONDS).ok
        yield alpha
    assert laboratory.leftovers() == []


class Operator:
    """Somebody with two terminals on that host: `up` in one, commands in the other."""

    def __init__(self, hypervisor: HypervisorHost) -> None:
        self.host = hypervisor.host

    def up(self) -> Service:
        """Ready: it says what to do next."""
        log = self.host.log_directory / "up.log"
        log.unlink(missing_ok=True)
        service = self.host.serve("up", [seawall_command(), "up"])

        def ready() -> bool:
            assert service.running(), service.log_tail()
            return "seawall vm list" in log.read_text()

        wait_for("`up` to be ready", ready, BUSY_SECONDS, service.log_tail)
        return service

    def end(self, service: Service) -> None:
        """Ctrl-C: it ends well, and no process of ours stays."""
        os.kill(service.process.pid, signal.SIGINT)
        wait_for("`up` to end", lambda: not service.running(), 90, service.log_tail)
        assert service.stop() == 0, service.log_tail()
        assert "seawall" not in self.host.run(["ps", "-eo", "args"]).stdout

    def asks(self, *words: str) -> Any:
        """A command as it is typed, without any option that says where the controller is."""
        line = [seawall_command(), *words, "--json"]
        return json.loads(self.host.run(line, timeout_seconds=BUSY_SECONDS).stdout)

    def points(self) -> list[str]:
        return [point["point_id"] for point in self.asks("point", "list")["points"]]


def test_from_nothing_to_a_restored_disk_and_back_after_a_stop(hypervisor: HypervisorHost, tmp_path: Path) -> None:
    operator, guest = Operator(hypervisor), GuestVm("web1", hypervisor)
    service = operator.up()
    assert [vm["name"] for vm in operator.asks("vm", "list")["vms"]] == ["web1"]

    guest.await_writes(10, BUSY_SECONDS)
    truth = guest.copy_truth(tmp_path)  # suspended
    backup = parse_run(operator.asks("backup", "web1", "--freeze", "never", "--wait"))
    guest.resume()
    assert backup.succeeded, backup.failure
    for disk in truth:
        directory = f"{IMAGES}/restored-{disk}"
        operator.host.outside(directory).mkdir()
        words = ("--to", "alpha", "--disk", disk, "--directory", directory, "--wait")
        assert parse_run(operator.asks("restore", backup.point_id, *words)).succeeded
        assert_same_content(truth[disk], operator.host.outside(directory))

    interrupted = parse_run(operator.asks("backup", "web1"))
    wait_for(
        "the backup to be under way",
        lambda: _run(operator, interrupted.run_id).attempt_state in TRANSFERRING_OR_LATER,
        BUSY_SECONDS,
        service.log_tail,
    )
    operator.end(service)
    assert list(operator.host.outside("/var/lib/seawall/scratch").rglob("*.*")) == []
    assert "None" in hypervisor.virsh("domjobinfo", "web1")
    guest.await_writes(5, BUSY_SECONDS)

    service = operator.up()
    assert backup.point_id in operator.points()
    wait_for("the backup to be made up for", lambda: _run(operator, interrupted.run_id).over, BUSY_SECONDS)
    assert _run(operator, interrupted.run_id).succeeded
    assert len(operator.points()) == 2
    operator.end(service)


def _run(operator: Operator, run_id: str) -> Any:
    return parse_run(operator.asks("run", "show", run_id))


def assert_same_content(truth: Path, directory: Path) -> None:
    """qemu-img is the judge."""
    (restored,) = (path for path in directory.iterdir() if path.is_file())
    info = subprocess.run(["qemu-img", "info", "--output=json", restored], capture_output=True, text=True, check=True)
    described = json.loads(info.stdout)
    assert described["virtual-size"] == truth.stat().st_size
    run_tool("qemu-img", "compare", "-f", "raw", "-F", described["format"], str(truth), str(restored))
