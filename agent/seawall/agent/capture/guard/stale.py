"""The guards of dead attempts, seen from the sweep: one that works is waited for, one that cannot is killed."""

import os
import select
import signal
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

MODULE = "seawall.agent.capture.guard"
GONE_MILLISECONDS = 5000


def is_guarded(folder: Path) -> bool:
    """Whether a guard works for the capture of this folder. It may wait for a job that its worker asked for in its last moment.

    It leaves by itself, but for one that somebody stopped: that is killed.
    """
    at_work = False
    for pid in _guards(folder):
        if _is_stopped(pid):
            _end(pid, folder)
        else:
            at_work = True
    return at_work


def end_guards(folder: Path, but: int = 0) -> None:
    """Kill what guards the capture of this folder, and wait until it is gone. `but`: the process that takes over from them."""
    for pid in _guards(folder):
        if pid != but:
            _end(pid, folder)


def _end(pid: int, folder: Path) -> None:
    with suppress(ProcessLookupError), closing(_Process(pid)) as process:
        if _is_guard(pid, folder):  # still: the id may have passed to another process meanwhile
            process.kill()


class _Process:
    """Cannot be taken for another of the same id. Raises ProcessLookupError when there is none."""

    def __init__(self, pid: int) -> None:
        self._descriptor = os.pidfd_open(pid)

    def kill(self) -> None:
        signal.pidfd_send_signal(self._descriptor, signal.SIGKILL)
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        poll.poll(GONE_MILLISECONDS)

    def close(self) -> None:
        os.close(self._descriptor)


def _guards(folder: Path) -> Iterator[int]:
    for process in Path("/proc").glob("[0-9]*"):
        if _is_guard(int(process.name), folder):
            yield int(process.name)


def _is_guard(pid: int, folder: Path) -> bool:
    """Its command line names the module and the folder: no other process does."""
    try:
        arguments = [os.fsdecode(one) for one in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")]
    except OSError:
        return False
    return MODULE in arguments and str(folder) in arguments


def _is_stopped(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "Tt"
    except OSError:
        return False
