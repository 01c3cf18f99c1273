"""Where restored disks go: new files, raw or qcow2. Nothing that exists is ever opened for writing."""

import os
from pathlib import Path
from typing import Protocol

from seawall.agent.disk import qcow2
from seawall.agent.disk.nbd import NbdPool
from seawall.agent.disk.unwritable import unwritable
from seawall.repository.blocks import write_at
from seawall.repository.clock import Clock
from seawall.repository.disks import DiskSink


class DiskTarget(DiskSink, Protocol):
    """A sink with an end."""

    def close(self) -> None:
        """Flushed and closed; repeating it is harmless. Raises DiskUnwritable."""

    def abandon(self) -> None:
        """Closed, whatever became of it; the file stays for its maker to remove. Never raises."""


class RawFile:
    """A sparse raw file. Thread-safe: every write names its place."""

    def __init__(self, path: Path, size_bytes: int) -> None:
        self._path = path
        try:
            self._fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
            os.ftruncate(self._fd, size_bytes)
        except OSError as error:
            raise unwritable(f"{path} could not be created", error) from error

    def write(self, offset: int, data: bytes | memoryview) -> None:
        try:
            write_at(self._fd, offset, data)
        except OSError as error:
            raise unwritable(f"{self._path} could not be written", error) from error

    def zero(self, offset: int, length: int) -> None:
        """Free: the file is new, and ranges never overlap, so what nobody writes is a hole."""

    def flush(self) -> None:
        try:
            os.fsync(self._fd)
        except OSError as error:
            raise unwritable(f"{self._path} could not be flushed", error) from error

    def close(self) -> None:
        if self._fd >= 0:
            self.flush()
            self.abandon()

    def abandon(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class Qcow2File:
    """A new qcow2 image, filled through qemu-nbd. Thread-safe through a pool of connections."""

    def __init__(self, path: Path, size_bytes: int, socket: Path, clock: Clock) -> None:
        qcow2.create(path, size_bytes)
        self._server = qcow2.serve(path, socket, clock)
        self._open = True
        try:
            self._pool = NbdPool(self._server.connect, qcow2.CONNECTIONS)
        except BaseException:
            self._server.kill()
            raise

    def write(self, offset: int, data: bytes | memoryview) -> None:
        with self._pool.lend() as connection:
            connection.write(offset, memoryview(data).cast("B"))

    def zero(self, offset: int, length: int) -> None:
        """Free: a new image reads as zeroes where nobody wrote."""

    def flush(self) -> None:
        with self._pool.lend() as connection:
            connection.flush()

    def close(self) -> None:
        if self._open:
            self.flush()
            self._open = False
            self._pool.close()
            self._server.wait()

    def abandon(self) -> None:
        if self._open:
            self._open = False
            self._pool.close()
            self._server.kill()


def create_target(path: Path, disk_format: str, size_bytes: int, socket: Path, clock: Clock) -> DiskTarget:
    """A new file of that format ("raw", "qcow2"). `socket` is a free path for qemu-nbd. Raises DiskUnwritable."""
    if disk_format == "qcow2":
        try:
            return Qcow2File(path, size_bytes, socket, clock)
        except OSError as error:
            raise unwritable(f"{path} could not be created", error) from error
    return RawFile(path, size_bytes)
