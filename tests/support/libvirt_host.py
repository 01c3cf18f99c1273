"""A libvirt daemon of our own for system tests: private mount, PID, UTS and network namespaces, and one folder that both sides see.

Everything in it dies with the process that made it: `unshare` is killed with its parent, and the PID namespace with `unshare`.
"""

import subprocess
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import libvirt

_PRIVATE = {
    "/run": "run",
    "/var/lib/libvirt": "lib",
    "/etc/libvirt": "etc",
    "/var/log/libvirt": "log",
    "/var/cache/libvirt": "cache",
}
_QEMU_CONF = 'user = "root"\ngroup = "root"\nsecurity_driver = "none"\nnamespaces = []\ncgroup_controllers = []\n'


class LibvirtHost:
    """A daemon whose sockets, guest disks and logs lie under `folder`. Use as a context manager."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.images = folder / "images"
        self.uri = f"qemu+unix:///system?socket={folder}/sock/libvirt-sock"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "LibvirtHost":
        libvirt.registerErrorHandler(lambda _context, _error: None, None)
        for name in (*_PRIVATE.values(), "sock", "images"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        (self.folder / "etc/qemu.conf").write_text(_QEMU_CONF)
        (self.folder / "etc/libvirtd.conf").write_text(
            f'unix_sock_dir = "{self.folder}/sock"\nauth_unix_rw = "none"\nhost_uuid = "{uuid.uuid4()}"\n'
        )
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def virsh(self, *arguments: str) -> str:
        """Its output. Raises CalledProcessError."""
        return subprocess.run(
            ["virsh", "-c", self.uri, *arguments], check=True, capture_output=True, text=True, timeout=60
        ).stdout

    def qemu_io(self, vm: str, target: str, command: str) -> None:
        """Play a guest's write: `write -P 7 0 1M`, `discard 0 64k`, `write -z 0 1M`."""
        device = f"/machine/peripheral/ua-{target}/virtio-backend"
        out = self.virsh("qemu-monitor-command", "--hmp", vm, f'qemu-io -d {device} "{command}"')
        if "rror" in out or "failed" in out:
            raise RuntimeError(out)

    def kill_qemu(self, vm: str) -> None:
        """SIGKILL, as a power loss would; returns when libvirt knows."""
        pid = (self.folder / f"run/libvirt/qemu/{vm}.pid").read_text().strip()
        self._inside("kill", "-9", pid)
        await_true(lambda: self.virsh("domstate", vm).strip() == "shut off", f"{vm} is off")

    def _inside(self, *command: str) -> None:
        init = _only_child(self._running.pid)
        subprocess.run(["nsenter", "-t", str(init), "-m", "-p", *command], check=True, capture_output=True)

    @property
    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError("not started")
        return self._process

    def _start(self) -> None:
        binds = "".join(f"mount --bind {self.folder}/{name} {place}\n" for place, name in _PRIVATE.items())
        # A shell stays as PID 1: libvirtd would not reap the QEMUs that it has seen daemonize, and waits for them to vanish.
        script = f"set -e\n{binds}hostname seawall-test\nvirtlogd -d\nlibvirtd &\nwait\n"
        log = (self.folder / "libvirtd.log").open("wb")
        self._process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "unshare", "-m", "-u", "-n", "-p", "--fork", "--kill-child"]
            + ["--mount-proc", "--propagation", "private", "sh", "-c", script],
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
        )
        log.close()
        await_true(self._answers, "libvirtd answers")

    def _answers(self) -> bool:
        if self._running.poll() is not None:
            raise RuntimeError((self.folder / "libvirtd.log").read_text())
        try:
            libvirt.open(self.uri).close()
        except libvirt.libvirtError:
            return False
        return True


def await_true(condition: Callable[[], bool], what: str, timeout_seconds: float = 30.0) -> None:
    """Ask until it holds. Raises TimeoutError."""
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(0.02)


def _only_child(pid: int) -> int:
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
