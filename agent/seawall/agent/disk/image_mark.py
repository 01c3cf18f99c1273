"""Whether an image stays as it is while we read it without a lock: by what its file or device tells of writers, and by QEMU's locks.

Nothing is locked for it, not for a moment: a VM that starts would be refused.
"""

import fcntl
import os
import stat
import struct
from dataclasses import dataclass
from pathlib import Path

from seawall.agent.errors import DiskUnreadable

_F_OFD_GETLK = 36
_FLOCK = struct.Struct("hhqqi4x")  # struct flock of 64-bit Linux: type, whence, start, length, pid
_WRITES_AT, _RESIZES_AT = 101, 103
"""Bytes that QEMU locks in an image which it writes, or may resize."""
_WRITE_COUNTERS = (4, 6, 11, 13)
"""Of /sys/dev/block/*/stat: writes, sectors written, discards, sectors discarded."""


@dataclass(frozen=True, slots=True)
class ImageMark:
    """Equal marks: nobody wrote in between."""

    identity: tuple[int, ...]
    changes: tuple[int, ...]  # time of the last write in nanoseconds, length; counters of writes for a device


def mark_of(path: str) -> ImageMark:
    """Raises DiskUnreadable."""
    try:
        found = os.stat(path)
        if stat.S_ISBLK(found.st_mode):
            return ImageMark((found.st_rdev,), _counters(found.st_rdev))
    except OSError as error:
        raise DiskUnreadable(f"{path} cannot be looked at: {error.strerror}.") from error
    return ImageMark((found.st_dev, found.st_ino), (found.st_mtime_ns, found.st_size))


def is_written(path: str) -> bool:
    """Whether a QEMU has it open for writing, be it on another host where the file system shares locks. Raises DiskUnreadable."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise DiskUnreadable(f"{path} cannot be opened: {error.strerror}.") from error
    try:
        return any(_is_locked(descriptor, at) for at in (_WRITES_AT, _RESIZES_AT))
    finally:
        os.close(descriptor)


def _is_locked(descriptor: int, at: int) -> bool:
    """Asks, and locks nothing. False where the file system knows no locks."""
    wanted = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, at, 1, 0)
    try:
        answer = fcntl.fcntl(descriptor, _F_OFD_GETLK, wanted)
    except OSError:
        return False
    return int(_FLOCK.unpack(answer)[0]) != fcntl.F_UNLCK


def _counters(device: int) -> tuple[int, ...]:
    """Empty where the kernel keeps none."""
    place = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/stat")
    try:
        counters = [int(one) for one in place.read_text().split()]
    except (OSError, ValueError):
        return ()
    return tuple(counters[at] for at in _WRITE_COUNTERS if at < len(counters))
