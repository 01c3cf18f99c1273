"""Small file systems over directories of a laboratory's hosts, to be filled to the last byte. They end with their host."""

import ctypes
import os
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from deploy.lab.namespaces import NamespaceHost
from deploy.lab.waiting import LabFailed

FILLER = ".filler"
_OPEN_TREE, _MOVE_MOUNT = 428, 429  # system calls, of all architectures
_CLONE, _EMPTY_PATH = 1, 4
_AT_FDCWD = -100


@contextmanager
def small_disk(host: NamespaceHost, path: str, megabytes: int) -> Iterator["SmallDisk"]:
    """A tmpfs over the directory, holding what that held; afterwards the directory holds what the tmpfs held.

    Whoever has files open in there is stopped by the caller, both times.
    """
    aside, here = "/run/small-disk", shlex.quote(path)
    _shell(
        host, f"mkdir -p {aside} {here} && mount -t tmpfs -o size={megabytes}m small {aside} && cp -a {here}/. {aside}/"
    )
    _shell(host, f"mount --move {aside} {here}")
    disk = SmallDisk(host, path)
    try:
        yield disk
    finally:
        disk.free()
        _shell(host, f"mkdir -p {aside} && cp -a {here}/. {aside}/ && umount {here} && find {here} -mindepth 1 -delete")
        _shell(host, f"cp -a {aside}/. {here}/ && rm -r {aside}")


@contextmanager
def shared_disk(hosts: Sequence[NamespaceHost], path: str, megabytes: int) -> Iterator["SmallDisk"]:
    """One tmpfs at the same path of several hosts, as a folder that all of them mount."""
    first, *others = hosts
    _shell(first, f"mkdir -p {shlex.quote(path)} && mount -t tmpfs -o size={megabytes}m shared {shlex.quote(path)}")
    for host in others:
        _shell(host, f"mkdir -p {shlex.quote(path)}")
        _lend(first, host, path)
    try:
        yield SmallDisk(first, path)
    finally:
        for host in hosts:
            _shell(host, f"umount {shlex.quote(path)}")


class SmallDisk:
    """One of them."""

    def __init__(self, host: NamespaceHost, path: str) -> None:
        self._host = host
        self._filler = f"{shlex.quote(path)}/{FILLER}"
        self._path = shlex.quote(path)

    def fill(self, leave_bytes: int = 0) -> None:
        """Only so much is free afterwards."""
        free = f"$(($(stat -f -c '%a * %S' {self._path}) - {leave_bytes}))"
        _shell(self._host, f"n={free}; [ $n -le 0 ] || fallocate -l $n {self._filler}")

    def free(self) -> None:
        _shell(self._host, f"rm -f {self._filler}")


def _shell(host: NamespaceHost, command: str) -> None:
    host.run(["sh", "-c", command])


def _lend(owner: NamespaceHost, borrower: NamespaceHost, path: str) -> None:
    """The same mount in another host's mount namespace. A child enters the two: it is of one thread, as setns wants it."""
    if owner.init is None or borrower.init is None:
        raise LabFailed("a host is not running")
    child = os.fork()
    if child == 0:
        try:
            _carry(Path(f"/proc/{owner.init.pid}"), Path(f"/proc/{borrower.init.pid}"), path.encode())
        except OSError as error:
            os.write(2, f"{path}: {error}\n".encode())
            os._exit(1)
        os._exit(0)
    if os.waitpid(child, 0)[1] != 0:
        raise LabFailed(f"{path} could not be shared with {borrower.name}")


def _carry(owner: Path, borrower: Path, path: bytes) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    namespaces = [os.open(process / "ns/mnt", os.O_RDONLY) for process in (owner, borrower)]
    _checked(libc.setns(namespaces[0], 0))
    tree = _checked(libc.syscall(_OPEN_TREE, _AT_FDCWD, path, _CLONE))
    _checked(libc.setns(namespaces[1], 0))
    _checked(libc.syscall(_MOVE_MOUNT, tree, b"", _AT_FDCWD, path, _EMPTY_PATH))


def _checked(result: int) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
