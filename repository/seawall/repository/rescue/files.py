"""The folder that a rescue writes to. Every name is looked up below one open descriptor, no link in it is ever followed.

What is unfinished has a name of its own; a final name is given once, to what is complete, and never to something that was there.
"""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG
from types import TracebackType

from seawall.repository.rescue.errors import TargetBusy, TargetExists, TargetFull, TargetUnfit, TargetUnwritable

PARTIAL = ".seawall-partial"
JOURNAL = ".seawall-journal"
DAMAGED = ".damaged.json"

_FULL = {errno.ENOSPC, errno.EDQUOT}
_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS}


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What lies under a name. `mine`: a plain file of this user. `names`: how many it has, all over the file system."""

    inode: int
    mine: bool
    names: int
    stored_bytes: int


@contextmanager
def target_errors(label: str) -> Iterator[None]:
    """Turns an OSError inside into TargetFull or TargetUnwritable."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise TargetFull(
                f"{label}: no space is left. Make room, then run the same command again: it goes on where it stopped."
            ) from error
        if error.errno == errno.EFBIG:
            raise TargetUnwritable(
                f"{label}: this file system holds no file of that size. Choose a directory on another one."
            ) from error
        raise TargetUnwritable(f"{label}: {error.strerror or error}") from error


class TargetFolder:
    """An open folder. `path` is for messages."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.descriptor = descriptor

    def __enter__(self) -> "TargetFolder":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self.descriptor)

    def lock(self) -> None:
        """One rescue per folder, until it is closed. Raises TargetBusy."""
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise TargetBusy(f"{self.path}: another rescue is writing there. Wait for it, or end it.") from error
        except OSError:
            return  # NFS locks no folders; each image has a lock of its own

    def facts(self, name: str) -> FileFacts | None:
        """Raises TargetUnwritable."""
        with target_errors(str(self.path / name)):
            try:
                status = os.stat(name, dir_fd=self.descriptor, follow_symlinks=False)
            except FileNotFoundError:
                return None
        mine = S_ISREG(status.st_mode) and status.st_uid == os.geteuid()
        return FileFacts(status.st_ino, mine, status.st_nlink, status.st_blocks * 512)

    def create(self, name: str) -> int:
        """A descriptor of a new file, mode 0600. Raises TargetExists, TargetFull, TargetUnwritable."""
        with target_errors(str(self.path / name)):
            try:
                return self._open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL)
            except FileExistsError as error:
                raise TargetExists(
                    f"{self.path / name} exists. Nothing is ever overwritten: choose another directory."
                ) from error

    def reopen(self, name: str) -> int:
        """A descriptor of a file whose `facts` were looked at. Raises TargetUnwritable."""
        with target_errors(str(self.path / name)):
            return self._open(name, os.O_RDWR | os.O_NONBLOCK)

    def read(self, name: str, limit_bytes: int) -> bytes:
        """The beginning of a file. Raises TargetUnwritable."""
        with target_errors(str(self.path / name)), open(self._open(name, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            return file.read(limit_bytes) or b""

    def write_whole(self, name: str, body: bytes) -> None:
        """A small file, there at once or not at all; the same bytes may be there already.

        Raises TargetExists, TargetFull, TargetUnwritable.
        """
        if self.holds(name, body):
            return
        partial = name + PARTIAL
        self.remove(partial)
        with open(self.create(partial), "wb") as file, target_errors(str(self.path / name)):
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        self.name_finally(partial, name)

    def replace_whole(self, name: str, body: bytes) -> None:
        """`write_whole`, in the place of a file of ours. Raises as it does."""
        found = self.facts(name)
        if found is not None and found.mine:
            self.remove(name)
        self.write_whole(name, body)

    def holds(self, name: str, body: bytes) -> bool:
        """Whether a file of ours with just these bytes is there. Raises TargetExists where something else is."""
        found = self.facts(name)
        if found is None:
            return False
        if found.mine and self.read(name, len(body) + 1) == body:
            return True
        raise TargetExists(f"{self.path / name} exists. Nothing is ever overwritten: choose another directory.")

    def name_finally(self, partial: str, name: str) -> None:
        """Gives the final name, only if it is free, and makes that durable. Raises TargetExists, TargetUnwritable."""
        where = {"src_dir_fd": self.descriptor, "dst_dir_fd": self.descriptor}
        with target_errors(str(self.path / name)):
            try:
                os.link(partial, name, follow_symlinks=False, **where)
            except FileExistsError as error:
                raise TargetExists(
                    f"{self.path / name} appeared meanwhile; {partial} beside it is complete."
                ) from error
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                # FAT and some network file systems know no links: the name is taken first, then replaced by the image.
                os.close(self.create(name))
                os.rename(partial, name, **where)
        self.remove(partial)
        self.sync()

    def remove(self, name: str) -> None:
        """What is under a name of ours; nothing there is success."""
        with target_errors(str(self.path / name)), suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self.descriptor)

    def sync(self) -> None:
        with target_errors(str(self.path)):
            os.fsync(self.descriptor)

    def free_bytes(self) -> int:
        """For this user."""
        with target_errors(str(self.path)):
            found = os.fstatvfs(self.descriptor)
        return found.f_bavail * found.f_frsize

    def _open(self, name: str, flags: int) -> int:
        return os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=self.descriptor)


def open_folder(path: Path, *, make: bool) -> TargetFolder:
    """The folder that the operator named; `make`: a missing last part of it, mode 0700. Raises TargetUnfit, TargetUnwritable."""
    with target_errors(str(path)):
        try:
            if make:
                with suppress(FileExistsError):
                    path.mkdir(0o700)
            return TargetFolder(path, os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        except NotADirectoryError as error:
            raise TargetUnfit(
                f"{path} is no directory. --to names a directory; a device is written with --to-device."
            ) from error
        except FileNotFoundError as error:
            if path.is_symlink():
                raise TargetUnfit(f"{path} is a link that leads nowhere. Name another directory.") from error
            what = "nor does its parent: make that first" if make else "make it first"
            raise TargetUnfit(f"{path} does not exist{', ' if make else ': '}{what}.") from error
