"""Giving a complete disk its own name, never over another file. Called by the restore's end."""

import ctypes
import errno
import os
from pathlib import Path

from seawall.agent.disk.unwritable import unwritable
from seawall.agent.errors import DiskUnwritable
from seawall.repository.store.files import sync_folder

_AT_FDCWD = -100
_RENAME_NOREPLACE = 1
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
"""What file systems without hard links (FAT, many FUSE and CIFS mounts) answer to link()."""


def put_in_place(unfinished: Path, final: Path) -> None:
    """Give the file its name, durably, unless something has it. Raises DiskUnwritable."""
    try:
        _rename(unfinished, final)
        sync_folder(final.parent)
    except FileExistsError as error:
        raise DiskUnwritable(
            f"{final} appeared while it was being restored.",
            next_step="Give another name or folder: --as NAME, --directory DIR.",
        ) from error
    except OSError as error:
        raise unwritable(f"{final} could not be made", error) from error


def _rename(unfinished: Path, final: Path) -> None:
    """By a link where there are links, as every kernel and file system server has them; else by the rename that replaces nothing."""
    try:
        os.link(unfinished, final)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        rename_without_replacing(unfinished, final)
        return
    unfinished.unlink()


def rename_without_replacing(source: Path, target: Path) -> None:
    """renameat2 with RENAME_NOREPLACE. Raises OSError, FileExistsError among them."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), _RENAME_NOREPLACE) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(target))
