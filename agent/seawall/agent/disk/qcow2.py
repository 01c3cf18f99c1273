"""qcow2 files: their header, making one with qemu-img, and filling it through qemu-nbd."""

import os
import subprocess
from pathlib import Path

from seawall.agent.disk.qcow2_header import version_in
from seawall.agent.disk.qemu_nbd import NbdServer
from seawall.agent.disk.unwritable import unwritable
from seawall.agent.errors import AgentError
from seawall.repository.clock import Clock

_TOOL_TIMEOUT_SECONDS = 60
CONNECTIONS = 4


def keeps_bitmaps(path: str) -> bool:
    """Whether the file is qcow2 of version 3, the only format that stores dirty bitmaps. False when it cannot be read."""
    try:
        with open(path, "rb") as file:
            return version_in(file) >= 3
    except OSError:
        return False


def create(path: Path, size_bytes: int) -> None:
    """An empty image, version 3. The path must not exist. Raises DiskUnwritable."""
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))  # qemu-img would overwrite what is there
    _create(_as_file(path), size_bytes, path)


def create_for(path: Path, size_bytes: int, owner: tuple[int, int]) -> None:
    """The same in a folder that the owner may write to: what is filled and given away is the very file, whatever its name means by then.

    Raises DiskUnwritable, OSError.
    """
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
    try:
        _create(f"file:/proc/self/fd/{descriptor}", size_bytes, path, (descriptor,))
        os.fchown(descriptor, *owner)
    finally:
        os.close(descriptor)


def _create(file: str, size_bytes: int, path: Path, inherited: tuple[int, ...] = ()) -> None:
    command = ["qemu-img", "create", "-q", "-f", "qcow2", "-o", "compat=1.1", "--", file, str(size_bytes)]
    try:
        subprocess.run(
            command, check=True, capture_output=True, text=True, timeout=_TOOL_TIMEOUT_SECONDS, pass_fds=inherited
        )
    except (subprocess.SubprocessError, OSError) as error:
        raise unwritable(f"qemu-img could not create {path}", AgentError(_said(error))) from error


def serve(path: Path, socket: Path, clock: Clock) -> NbdServer:
    """A server that lets us fill the image. Raises DiskUnwritable, as all that it does."""
    options = ["--format=qcow2", "--discard=unmap", "--detect-zeroes=off", f"--shared={CONNECTIONS}"]
    return NbdServer([*options, _as_file(path)], str(path), socket, clock, unwritable)


def _as_file(path: Path) -> str:
    """QEMU reads a name with a colon as a protocol; this prefix makes it a file whatever it contains."""
    return f"file:{path}"


def _said(error: Exception) -> str:
    return str(getattr(error, "stderr", None) or error).strip()
