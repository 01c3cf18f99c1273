"""A block device that a disk is rescued to. It has no name to finish and no journal: a repeated rescue may compare before it writes."""

import errno
import fcntl
import os
import struct
from contextlib import suppress
from pathlib import Path
from stat import S_ISBLK

from seawall.repository.blocks import pieces, write_zeroes
from seawall.repository.rescue.errors import TargetBusy, TargetUnfit
from seawall.repository.rescue.files import target_errors
from seawall.repository.rescue.open_target import OpenTarget

_BLKZEROOUT = 0x127F
_ZERO_PIECE_BYTES = 64 * 1024 * 1024
_ALIGNED_BYTES = 4096


class BlockDevice(OpenTarget):
    """A DiskSink that can be read back, over the first bytes of a device. Thread-safe. Raises TargetFull, TargetUnwritable."""

    def __init__(self, path: Path, descriptor: int, size_bytes: int) -> None:
        super().__init__(descriptor, str(path))
        self.size_bytes = size_bytes

    def zero(self, offset: int, length: int) -> None:
        """By the device itself where it can; what was on it before is gone either way."""
        with target_errors(self._label):
            for at, size in pieces(offset, length, _ZERO_PIECE_BYTES):
                if not self._zeroed_by_device(at, size):
                    write_zeroes(self._descriptor, at, size)

    def finish(self) -> None:
        self.flush()

    def close(self) -> None:
        """Raises TargetUnwritable when the device says only now that it failed."""
        with target_errors(self._label):
            os.close(self._descriptor)

    def _zeroed_by_device(self, offset: int, length: int) -> bool:
        if offset % _ALIGNED_BYTES or length % _ALIGNED_BYTES:
            return False
        with suppress(OSError):
            fcntl.ioctl(self._descriptor, _BLKZEROOUT, struct.pack("QQ", offset, length))
            return True
        return False


def device_size(path: Path) -> int:
    """Bytes. Raises TargetUnfit when it is no block device, TargetUnwritable."""
    with target_errors(str(path)):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            return _size(path, descriptor)
        finally:
            os.close(descriptor)


def open_device(path: Path, need_bytes: int) -> BlockDevice:
    """For writing, and nobody else's: the kernel refuses what is mounted or part of something (LVM, RAID, swap, dm).

    Raises TargetUnfit (no block device, too small), TargetBusy, TargetUnwritable.
    """
    device_size(path)  # O_EXCL on what is no device would mean something else
    with target_errors(str(path)):
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_EXCL | os.O_CLOEXEC)
        except OSError as error:
            if error.errno == errno.EBUSY:
                raise TargetBusy(
                    f"{path} is in use: mounted, or part of LVM, RAID or swap. Free it, or choose another device."
                ) from error
            raise
    try:
        with target_errors(str(path)):
            size_bytes = _size(path, descriptor)
        if size_bytes < need_bytes:
            raise TargetUnfit(f"{path} has {size_bytes} bytes; the disk has {need_bytes}. Choose a larger device.")
    except BaseException:
        os.close(descriptor)
        raise
    return BlockDevice(path, descriptor, size_bytes)


def _size(path: Path, descriptor: int) -> int:
    if not S_ISBLK(os.fstat(descriptor).st_mode):
        raise TargetUnfit(f"{path} is no block device. Image files are written with --to DIRECTORY.")
    return os.lseek(descriptor, 0, os.SEEK_END)
