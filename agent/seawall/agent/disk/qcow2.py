"""qcow2 files: their header, making one with qemu-img, and a qemu-nbd that lets us fill it."""

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

from seawall.agent.disk.nbd import NbdConnection
from seawall.agent.disk.unwritable import unwritable
from seawall.agent.errors import AgentError, DiskUnwritable
from seawall.repository.clock import Clock

_MAGIC = b"QFI\xfb"
_TOOL_TIMEOUT_SECONDS = 60
_SERVER, _SOCKET = "qemu-nbd", "--socket="
CONNECTIONS = 4


def keeps_bitmaps(path: str) -> bool:
    """Whether the file is qcow2 of version 3, the only format that stores dirty bitmaps. False when it cannot be read."""
    try:
        with open(path, "rb") as file:
            header = file.read(8)
    except OSError:
        return False
    return header[:4] == _MAGIC and int.from_bytes(header[4:8], "big") >= 3


def create(path: Path, size_bytes: int) -> None:
    """An empty image, version 3. The path must not exist. Raises DiskUnwritable."""
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))  # qemu-img would overwrite what is there
    command = ["qemu-img", "create", "-q", "-f", "qcow2", "-o", "compat=1.1", "--", _as_file(path), str(size_bytes)]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=_TOOL_TIMEOUT_SECONDS)
    except (subprocess.SubprocessError, OSError) as error:
        raise unwritable(f"qemu-img could not create {path}", AgentError(_said(error))) from error


def kill_servers(folder: Path) -> list[Path]:
    """End every qemu-nbd whose socket lies in this folder; returns the sockets. For those of a process that died before it connected."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            arguments = [os.fsdecode(one) for one in (process / "cmdline").read_bytes().split(b"\0")]
        except OSError:
            continue  # it ended meanwhile
        sockets = [Path(one.removeprefix(_SOCKET)) for one in arguments if one.startswith(_SOCKET)]
        if Path(arguments[0]).name == _SERVER and any(socket.parent == folder for socket in sockets):
            with suppress(ProcessLookupError):
                os.kill(int(process.name), signal.SIGKILL)
            found += sockets
    return found


class Qcow2Server:
    """A qemu-nbd for one image. It ends with its last client, so it does not outlive this process once connected.

    Before that it belongs to this process' group, which the supervisor kills as a whole, and `kill_servers` finds it by its socket.
    """

    def __init__(self, path: Path, socket: Path, clock: Clock, timeout_seconds: float = 60.0) -> None:
        """Starts it. Raises DiskUnwritable."""
        self._path, self._socket, self._clock = path, socket, clock
        self._timeout_seconds = timeout_seconds
        command = [_SERVER, "--format=qcow2", "--discard=unmap", "--detect-zeroes=off", f"--shared={CONNECTIONS}"]
        try:
            self._process = subprocess.Popen(
                [*command, f"{_SOCKET}{socket}", _as_file(path)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
        except OSError as error:
            raise DiskUnwritable(
                f"qemu-nbd could not be started: {error}.", next_step="Install qemu-utils on that host."
            ) from error

    def connect(self) -> NbdConnection:
        """A connection; waits for the server to listen."""
        deadline = self._clock.monotonic_seconds() + self._timeout_seconds
        while not self._socket.exists() and self._process.poll() is None:
            if self._clock.monotonic_seconds() > deadline:
                raise DiskUnwritable(f"qemu-nbd for {self._path} did not listen in time.")
            self._clock.sleep_seconds(0.01)
        if self._process.poll() is not None:
            raise DiskUnwritable(f"qemu-nbd for {self._path} ended: {self._last_words()}")
        return NbdConnection(self._socket, "", (), self._clock, self._timeout_seconds, unwritable)

    def wait(self) -> None:
        """After the last connection was closed: until the image is closed too. Raises DiskUnwritable when that fails."""
        try:
            code = self._process.wait(self._timeout_seconds)
        except subprocess.TimeoutExpired as error:
            self.kill()
            raise DiskUnwritable(f"qemu-nbd for {self._path} did not end.") from error
        if code:
            raise DiskUnwritable(f"qemu-nbd for {self._path} failed: {self._last_words()}")
        self._close()

    def kill(self) -> None:
        """End it now; the image may be torn."""
        self._process.kill()
        self._process.wait()
        self._close()

    def _last_words(self) -> str:
        stderr = self._process.stderr
        return "" if stderr is None or stderr.closed else stderr.read(2000).decode(errors="replace").strip()

    def _close(self) -> None:
        if self._process.stderr is not None:
            self._process.stderr.close()
        self._socket.unlink(missing_ok=True)


def _as_file(path: Path) -> str:
    """QEMU reads a name with a colon as a protocol; this prefix makes it a file whatever it contains."""
    return f"file:{path}"


def _said(error: Exception) -> str:
    return str(getattr(error, "stderr", None) or error).strip()
