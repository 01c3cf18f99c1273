"""The processes of a laboratory that a test kills, stops for a while, and brings back."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from deploy.lab.guest_vm import GuestVm
from deploy.lab.laboratory import Laboratory
from deploy.lab.namespaces import NamespaceHost
from deploy.lab.waiting import LabFailed, wait_for


@dataclass(frozen=True)
class Scene:
    """Where the victims live: `host` is the hypervisor host at work, `guest` the VM that is backed up on it."""

    lab: Laboratory
    host: str
    guest: GuestVm


BOOT_SECONDS = 240
"""An emulated guest on a busy machine."""

Act = Callable[[Scene], None]


@dataclass(frozen=True)
class Victim:
    """`pattern` finds its processes by their command lines, on `hub` or on the scene's host. `revive` after a kill; a worker needs none."""

    name: str
    pattern: str
    on_hub: bool
    kill: Act
    revive: Act

    def pids(self, scene: Scene) -> list[str]:
        """Inside their host."""
        return self._host(scene).run(["pgrep", "-f", self.pattern], check=False).stdout.split()

    @contextmanager
    def stopped(self, scene: Scene) -> Iterator[None]:
        """SIGSTOP until left, then SIGCONT; those that ended meanwhile are let be."""
        host, pids = self._host(scene), self.pids(scene)
        if not pids:
            raise LabFailed(f"there is no {self.name} to stop")
        host.run(["kill", "-STOP", *pids])
        try:
            yield
        finally:
            host.run(["kill", "-CONT", *pids], check=False)
            host.wake()

    def _host(self, scene: Scene) -> NamespaceHost:
        return scene.lab.hosts["hub" if self.on_hub else scene.host]


def _kill_worker(scene: Scene) -> None:
    """Returns when none of these processes is there any more."""
    host = scene.lab.hosts[scene.host]
    pids = WORKER.pids(scene)
    if not pids:
        raise LabFailed("there is no worker to kill")
    host.run(["kill", "-9", *pids])
    wait_for("the worker's end", lambda: not set(pids) & set(WORKER.pids(scene)), 20, every_seconds=0.1)


def _start_qemu(scene: Scene) -> None:
    scene.guest.start()
    verdict = scene.guest.await_verdict(BOOT_SECONDS)
    if not verdict.ok:
        raise LabFailed(f"the guest found its disks bad after a power loss: {verdict.line}")


def _nothing(scene: Scene) -> None:
    pass


WORKER = Victim("worker", "seawall.agent.worker", False, _kill_worker, _nothing)
SUPERVISOR = Victim(
    "supervisor",
    "seawall agent run",
    False,
    lambda scene: scene.lab.kill_service(f"agent-{scene.host}"),
    lambda scene: scene.lab.start_agent(scene.host),
)
CONTROLLER = Victim(
    "controller",
    "seawall controller run",
    True,
    lambda scene: scene.lab.kill_service("controller"),
    lambda scene: scene.lab.start_controller(),
)
QEMU = Victim("qemu", "qemu-system", False, lambda scene: scene.guest.kill_qemu(), _start_qemu)
LIBVIRTD = Victim(
    "libvirtd",
    "^libvirtd",
    False,
    lambda scene: scene.lab.hypervisors[scene.host].kill_libvirtd(),
    lambda scene: scene.lab.hypervisors[scene.host].start(),
)
S3 = Victim(
    "s3",
    "weed .*server",
    True,
    lambda scene: scene.lab.kill_service("s3"),
    lambda scene: scene.lab.start_s3(),
)
