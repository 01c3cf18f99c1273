"""The locks that tell who is running: our own on the state directory, and those of a controller and an agent of an earlier start."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from seawall.cli.exits import CommandError, Exit


@contextmanager
def only_one(path: Path) -> Iterator[None]:
    """Held until the end of the block, and by no child. Raises CommandError/ALREADY_UP."""
    # Not readable by others: whoever can open a file can lock it.
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CommandError(
                Exit.REFUSED,
                "ALREADY_UP",
                f"`seawall up` runs already with {path.parent}{by_whom(path)}. `seawall status` asks it how things are.",
            ) from error
        yield


def is_held(path: Path) -> bool:
    """Whether a process holds this flock. A file that is not there is held by nobody."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def by_whom(path: Path) -> str:
    """ " (process 1234)", or "" where the kernel does not say."""
    pid = holder(path)
    return f" (process {pid})" if pid else ""


def holder(path: Path) -> int | None:
    """The process that holds a flock, from /proc/locks; by inode alone, because some file systems tell two device numbers."""
    with suppress(OSError, ValueError, IndexError):
        inode = path.stat().st_ino
        for line in Path("/proc/locks").read_text().splitlines():
            words = line.split()
            if words[1] == "FLOCK" and words[5].rsplit(":", 1)[1] == str(inode) and int(words[4]) > 0:
                return int(words[4])
    return None
