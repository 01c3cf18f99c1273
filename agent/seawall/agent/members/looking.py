"""Reading one small file of a running VM's: whole, and so that it can be told whether it changed between two looks."""

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from seawall.agent.members.names import LARGEST_BYTES

TRIES = 5


class NotTakable(Exception):
    """The file cannot be a member. Says why, as part of a sentence."""


@dataclass(frozen=True, slots=True)
class Look:
    """What a file was. Equal looks: it did not change in between. `whole` is False for one that changed while it was read, each time."""

    body: bytes
    mark: tuple[int, int, int]  # inode, time of the last change in nanoseconds, length
    whole: bool = True


def look(path: Path) -> Look:
    """Raises NotTakable.

    QEMU's or swtpm's user may have laid a link or a pipe there: nothing is followed, nothing waited for.
    """
    try:
        return _look(path)
    except OSError as error:
        raise NotTakable(f"{path} cannot be read: {error.strerror}") from error


def _look(path: Path) -> Look:
    body, before = b"", (0, 0, 0)
    for _ in range(
        TRIES
    ):  # swtpm replaces its file, QEMU writes into its own: a second look finds one that stood still
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            before = _mark(os.fstat(descriptor), path)
            body = file.read(LARGEST_BYTES + 1)
            if _mark(os.fstat(descriptor), path) == before and len(body) == before[2]:
                return Look(body, before)
    return Look(body, before, whole=False)


def _mark(found: os.stat_result, path: Path) -> tuple[int, int, int]:
    if not stat.S_ISREG(found.st_mode):
        raise NotTakable(f"{path} is no regular file")
    if found.st_size > LARGEST_BYTES:
        raise NotTakable(f"{path} has {found.st_size} bytes, and a member has {LARGEST_BYTES} at most")
    return found.st_ino, found.st_mtime_ns, found.st_size
