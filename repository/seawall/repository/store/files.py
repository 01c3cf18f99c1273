"""Whole files, written so that nobody sees half of one. Called by the folder store and, for `file://` URLs, by the presigned client.

A write goes to a hidden neighbour (`.put-…`), is synced, and gets its name by `link` (create-only) or `rename`. What a killed writer leaves
is such a neighbour: never listed, never read, removed by `FolderStore.remove_leftovers`.
"""

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from seawall.repository.errors import (
    ObjectExists,
    ObjectMissing,
    RepositoryError,
    StoreFull,
    StoreRefused,
    StoreUnavailable,
)

HIDDEN = ".put-"
_FULL = {errno.ENOSPC, errno.EDQUOT}
_REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EISDIR}


@contextmanager
def our_errors(label: str) -> Iterator[None]:
    """Turns an OSError inside into one of ours."""
    try:
        yield
    except OSError as error:
        raise _map(error, label) from error


def write_file(path: Path, body: bytes | memoryview, *, create_only: bool) -> None:
    """Durable when it returns, with its name. The folder must exist. Raises ObjectExists, and OSError (map it with `our_errors`)."""
    hidden = path.with_name(f"{HIDDEN}{secrets.token_hex(8)}")
    try:
        _write_synced(hidden, body)
        if create_only:
            _link(hidden, path)
        else:
            os.rename(hidden, path)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(hidden)
    sync_folder(path.parent)


def read_file(path: Path, offset: int = 0, length: int | None = None) -> bytes:
    """`length` bytes from `offset` on, fewer where the file ends; all of the rest for None. Raises OSError."""
    with _opened(path) as (descriptor, size):
        return _read_open(descriptor, offset, size, length)


def read_suffix(path: Path, length: int) -> bytes:
    """The last `length` bytes, or all of a shorter file. Raises OSError."""
    with _opened(path) as (descriptor, size):
        return _read_open(descriptor, max(0, size - length), size, length)


def sync_folder(path: Path) -> None:
    """Makes the names in it durable. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[int, int]]:
    """(descriptor, size). What is no regular file is no object: a pipe that somebody put there would hold the caller for ever."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ENXIO:  # a socket
            raise FileNotFoundError(errno.ENOENT, "no object") from error
        raise
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise FileNotFoundError(errno.ENOENT, "no object")
        yield descriptor, status.st_size
    finally:
        os.close(descriptor)


def _write_synced(path: Path, body: bytes | memoryview) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        rest = memoryview(body).cast("B")
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _link(hidden: Path, path: Path) -> None:
    try:
        os.link(hidden, path)
    except FileExistsError as error:
        # The first writer may have died before it synced the name: who hears "exists" relies on it as if it had written it.
        sync_folder(path.parent)
        raise ObjectExists(f"{path} exists") from error


def _read_open(descriptor: int, offset: int, size: int, length: int | None) -> bytes:
    end = size if length is None else min(size, offset + length)
    parts: list[bytes] = []
    while offset < end:
        part = os.pread(descriptor, end - offset, offset)
        if not part:
            raise OSError(errno.EIO, "the file became shorter while it was read")
        parts.append(part)
        offset += len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _map(error: OSError, label: str) -> RepositoryError:
    if error.errno == errno.ENOENT:
        return ObjectMissing(f"{label} does not exist")
    if error.errno in _FULL:
        return StoreFull(f"{label}: {error.strerror}")
    if error.errno in _REFUSED:
        return StoreRefused(f"{label}: {error.strerror}")
    return StoreUnavailable(f"{label}: {error.strerror}")
