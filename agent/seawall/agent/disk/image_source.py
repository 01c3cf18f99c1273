"""A disk of a VM that is off, read through a qemu-nbd of our own, which takes no lock that the VM's start would meet."""

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from seawall.agent.disk.nbd_source import NbdSource
from seawall.agent.disk.qemu_nbd import NbdServer
from seawall.agent.errors import AgentError, DiskUnreadable
from seawall.agent.hypervisor.port import DiskImage
from seawall.repository.clock import Clock


class ImageSource:
    """The server and its client. Ends the server when it is closed; one whose client is killed ends by itself."""

    def __init__(
        self,
        image: DiskImage,
        socket: Path,
        clock: Clock,
        *,
        bitmap: str | None = None,
        connections: int = 3,
        timeout_seconds: float = 60.0,
    ) -> None:
        """`bitmap`: the name of one in the image; None = all is dirty. Raises DiskUnreadable."""
        descriptors = [_filled(secret) for _, secret in image.secrets]
        names = [name for name, _ in image.secrets]
        try:
            self._server = NbdServer(
                _arguments(image, zip(names, descriptors, strict=True), bitmap, connections),
                f"disk {image.target}",
                socket,
                clock,
                _unreadable,
                timeout_seconds=timeout_seconds,
                descriptors=descriptors,
            )
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        context = f"qemu:dirty-bitmap:{bitmap}" if bitmap else None
        try:
            self.source = self._server.connected(
                lambda: NbdSource(
                    socket,
                    image.target,
                    clock,
                    bitmap=context,
                    connections=connections,
                    timeout_seconds=timeout_seconds,
                )
            )
        except BaseException:
            self._server.kill()
            raise

    def close(self) -> None:
        """Never raises: what was read is read."""
        self.source.close()
        with suppress(AgentError):
            self._server.kill()


def _arguments(
    image: DiskImage, secrets: "zip[tuple[str, int]]", bitmap: str | None, connections: int
) -> Sequence[str]:
    return [
        "--read-only",
        f"--export-name={image.target}",
        f"--shared={connections}",
        *([f"--bitmap={bitmap}"] if bitmap else []),
        *(f"--object=secret,id={name},file=/dev/fd/{descriptor}" for name, descriptor in secrets),
        f"json:{json.dumps(dict(image.options))}",
    ]


def _filled(secret: bytes) -> int:
    """A file in memory: neither a command line nor a disk shows what it holds."""
    descriptor = os.memfd_create("secret")
    os.write(descriptor, secret)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _unreadable(what: str, error: Exception) -> AgentError:
    return DiskUnreadable(f"{what}: {error}.")
