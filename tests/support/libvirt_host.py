"""A libvirt daemon of our own for system tests: private mount, PID, UTS and network namespaces, and one folder that both sides see.

Everything in it dies with the process that made it: `unshare` is killed with its parent, and the PID namespace with `unshare`.
"""

import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from xml.sax.saxutils import escape

import libvirt

_PRIVATE = {
    "/run": "run",
    "/var/lib/libvirt": "lib",
    "/etc/libvirt": "etc",
    "/var/log/libvirt": "log",
    "/var/cache/libvirt": "cache",
}
_QEMU_CONF = 'user = "root"\ngroup = "root"\nsecurity_driver = "none"\nnamespaces = []\ncgroup_controllers = []\n'

_OWN_NAMESPACES = (
    "setpriv --pdeathsig KILL unshare -m -u -n -p --fork --kill-child --mount-proc --propagation private".split()
)


class LibvirtHost:
    """A daemon whose sockets, guest disks and logs lie under `folder`. Use as a context manager."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.images = folder / "images"
        self.uri = f"qemu+unix:///system?socket={folder}/sock/libvirt-sock"
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    @contextmanager
    def temporary(cls) -> Iterator["LibvirtHost"]:
        """In a folder of its own with a short name: paths of unix sockets have 107 bytes."""
        folder = Path(tempfile.mkdtemp(prefix="swl-", dir="/tmp"))
        try:
            with cls(folder) as host:
                yield host
        finally:
            shutil.rmtree(folder)

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
        self.signal_qemu(vm, signal.SIGKILL)
        await_true(lambda: self.virsh("domstate", vm).strip() == "shut off", f"{vm} is off")

    def signal_qemu(self, vm: str, number: signal.Signals) -> None:
        """Stop, go on or die."""
        pid = (self.folder / f"run/libvirt/qemu/{vm}.pid").read_text().strip()
        self._inside("kill", f"-{number.value}", pid)

    def restart_daemon(self) -> None:
        """Another libvirtd in the same namespaces; the VMs run on."""
        pid = (self.folder / "run/libvirtd.pid").read_text().strip()
        self._inside("kill", pid)
        await_true(lambda: not self._answers(), "libvirtd is down")
        self.start_daemon()

    def kill_daemon(self) -> None:
        """As a crash would; the VMs run on."""
        pid = (self.folder / "run/libvirtd.pid").read_text().strip()
        self._inside("kill", "-9", pid)
        await_true(lambda: not self._answers(), "libvirtd is down")

    def start_daemon(self) -> None:
        """After `kill_daemon`."""
        await_true(self._started, "libvirtd starts again")
        await_true(self._answers, "libvirtd answers again")

    def image(self, name: str, disk_format: str, size_bytes: int, *options: str) -> Path:
        """A new, empty disk image."""
        path = self.images / name
        command = ["qemu-img", "create", "-q", "-f", disk_format, *options, str(path), str(size_bytes)]
        subprocess.run(command, check=True, capture_output=True)
        return path

    def truth(self, path: Path, disk_format: str) -> bytes:
        """The disk's content as the guest sees it now."""
        out = self.folder / f"truth-{uuid.uuid4()}.raw"
        subprocess.run(
            ["qemu-img", "convert", "-U", "-f", disk_format, "-O", "raw", str(path), str(out)], check=True, timeout=60
        )
        content = out.read_bytes()
        out.unlink()
        return content

    def _started(self) -> bool:
        """Not while the one before, which answers no more, still holds its pid file."""
        try:
            self._inside("libvirtd", "-d")
        except subprocess.CalledProcessError:
            return False
        return True

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
        script = f"set -e\n{binds}hostname seawall-test\nvirtlogd -d\nlibvirtd -d\nsleep infinity &\nwait\n"
        log = (self.folder / "libvirtd.log").open("wb")
        self._process = subprocess.Popen(
            [*_OWN_NAMESPACES, "sh", "-c", script],
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


def domain_xml(name: str, disks: str, *, extra: str = "") -> str:
    """A domain that boots nothing: its firmware finds no system and its disks change by qemu_io alone."""
    return f"""<domain type='qemu'><name>{escape(name)}</name><memory unit='MiB'>64</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='q35'>hvm</type></os><devices>{disks}<serial type='pty'/>{extra}</devices></domain>"""


def disk_xml(path: Path, target: str, disk_format: str, inner: str = "") -> str:
    """A virtio disk with discard, under the alias that qemu_io knows."""
    return f"""<disk type='file' device='disk'><driver name='qemu' type='{disk_format}' discard='unmap'/>
<source file='{path}'/><target dev='{target}' bus='virtio'/>{inner}<alias name='ua-{target}'/></disk>"""


def await_true(condition: Callable[[], bool], what: str, timeout_seconds: float = 30.0) -> None:
    """Ask until it holds. Raises TimeoutError."""
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(0.02)


def _only_child(pid: int) -> int:
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
