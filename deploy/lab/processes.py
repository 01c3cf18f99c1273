"""Processes of the laboratory as seen from the machine: finding, naming surely, ending."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from deploy.lab.waiting import LabFailed


@dataclass(frozen=True)
class ProcessName:
    """A process that cannot be taken for another one: process ids are reused, start times are not."""

    pid: int
    start_ticks: int

    def alive(self) -> bool:
        return start_ticks(self.pid) == self.start_ticks

    def kill(self) -> None:
        if self.alive():
            os.kill(self.pid, signal.SIGKILL)


def name_process(pid: int) -> ProcessName:
    """Raises ProcessLookupError when there is none, or only its remains."""
    ticks = start_ticks(pid)
    if ticks is None:
        raise ProcessLookupError(pid)
    return ProcessName(pid, ticks)


def start_ticks(pid: int) -> int | None:
    """Clock ticks from the machine's boot to the process's start. None for no process and for a zombie."""
    fields = _stat(pid)
    return None if fields is None or fields[0] in ("Z", "X") else int(fields[19])


def now_ticks() -> int:
    """The present, in the same measure."""
    return int(time.clock_gettime(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK"))


def children(pid: int) -> list[int]:
    """Direct children, from /proc."""
    return [child for child in all_pids() if (fields := _stat(child)) is not None and int(fields[1]) == pid]


def all_pids() -> Iterator[int]:
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            yield int(entry.name)


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat behind the command's name: state, parent, ..."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


class Service:
    """A long-running process that was started inside a host: `pid` is the process itself, not the `nsenter` before it."""

    def __init__(self, name: str, entry: subprocess.Popen[bytes], log: Path) -> None:
        self.name = name
        self.log = log
        self._entry = entry
        self.process = self._find()

    def _find(self) -> ProcessName:
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline and self._entry.poll() is None:
            for child in children(self._entry.pid):
                return name_process(child)
            time.sleep(0.005)
        raise LabFailed(f"{self.name} ended at once\n{self.log_tail()}")

    def running(self) -> bool:
        return self._entry.poll() is None

    def stop(self, timeout_seconds: float = 10.0) -> int:
        """SIGTERM, then SIGKILL. Returns the exit code (negative: the signal). Stopping a stopped one is success."""
        if self.process.alive():
            os.kill(self.process.pid, signal.SIGTERM)
        try:
            return self._entry.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            return self.kill()

    def kill(self) -> int:
        """kill -9, as a crash would."""
        self.process.kill()
        return self._entry.wait(10)

    def log_tail(self, lines: int = 25) -> str:
        return f"--- {self.name}, end of {self.log}\n" + tail(self.log, lines)


def tail(path: Path, lines: int = 25) -> str:
    if not path.exists():
        return "(no such file)"
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
