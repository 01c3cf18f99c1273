"""Processes that somebody else began and that became our children: as process 1 of a container we inherit what outlives a worker.

A guard may end after its worker. Nobody else would see it off, and what has ended stays in the table of processes until its parent does.
Used by the supervisor and by `seawall up`.
"""

import os
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path


def inherits_orphans() -> bool:
    """Whether the kernel gives us the children of processes that died."""
    return os.getpid() == 1


class Adopted:
    """Of one process; asked every few seconds."""

    def __init__(self) -> None:
        self._ended_before: frozenset[int] = frozenset()

    def see_off(self, own: Collection[int]) -> list[int]:
        """Reap what had ended at the last look already; the process ids. `own`: children whose end somebody waits for.

        A child of our own that is not among `own`, a tool that was called, was waited for long before the second look.
        """
        ended = frozenset(pid for pid in _children() if pid not in own and _has_ended(pid))
        reaped = sorted(ended & self._ended_before)
        for pid in reaped:
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        self._ended_before = ended - set(reaped)
        return reaped


def _children() -> list[int]:
    """Of all our threads."""
    found: list[int] = []
    for thread in Path("/proc/self/task").iterdir():
        with suppress(OSError):  # the thread has ended
            found += [int(word) for word in (thread / "children").read_text().split()]
    return found


def _has_ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return False
