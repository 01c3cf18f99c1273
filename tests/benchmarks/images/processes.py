"""CPU seconds and memory of processes, from /proc.

A process's own time and that of its children that ended are one sum: nothing gets lost.
"""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
MIB = 1 << 20


@dataclass(frozen=True)
class ProcessTimes:
    """One process now. `cpu_seconds` includes the children it has waited for."""

    pid: int
    command: str
    cpu_seconds: float


def of_namespace(inode: int) -> list[ProcessTimes]:
    """Every process of a PID namespace."""
    return [found for pid in _all_pids() if _namespace(pid) == inode and (found := times_of(pid)) is not None]


def times_of(pid: int) -> ProcessTimes | None:
    """None when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return ProcessTimes(pid, command, sum(int(fields[place]) for place in (11, 12, 13, 14)) / TICKS)


def cpu_seconds(processes: Iterable[ProcessTimes], chosen: Callable[[str], bool]) -> float:
    """Of those whose command line is chosen."""
    return sum(process.cpu_seconds for process in processes if chosen(process.command))


def memory_mib(pid: int, field: str) -> float:
    """`VmRSS` or `VmHWM` of a process; 0 when it is gone or ending."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return next((int(line.split()[1]) * 1024 / MIB for line in lines if line.startswith(f"{field}:")), 0.0)


def children(pid: int) -> list[int]:
    """Direct ones; cheap, unlike a look at every process."""
    found: list[int] = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            found += [int(word) for word in Path(f"/proc/{pid}/task/{task}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return found
    return found


def _all_pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _namespace(pid: int) -> int:
    try:
        return os.stat(f"/proc/{pid}/ns/pid").st_ino
    except OSError:  # gone
        return 0
