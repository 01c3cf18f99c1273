"""What a laboratory writes down about itself. By that the next run tells a living one from the remains of a killed one, and sweeps."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from deploy.lab.namespaces import BRIDGE
from deploy.lab.processes import ProcessName, all_pids, name_process, start_ticks
from deploy.lab.waiting import LabFailed, wait_for

_FILE = "laboratory.json"


@dataclass(frozen=True)
class HostRecord:
    """Process 1 of a host and the inode numbers of its namespaces."""

    name: str
    init: ProcessName
    namespaces: dict[str, int]


@dataclass(frozen=True)
class Record:
    """One laboratory. `owner` is the process that runs it; a kept one outlives it."""

    directory: Path
    owner: ProcessName
    keep: bool
    hosts: list[HostRecord] = field(default_factory=list)

    def write(self) -> None:
        plain = {**asdict(self), "directory": str(self.directory)}
        new = self.directory / f"{_FILE}.new"
        new.write_text(json.dumps(plain, indent=2) + "\n")
        new.replace(self.directory / _FILE)


def read_record(directory: Path) -> Record | None:
    """None when there is none: nothing of a laboratory ever started there."""
    try:
        plain = json.loads((directory / _FILE).read_text())
    except FileNotFoundError:
        return None
    hosts = [HostRecord(each["name"], ProcessName(**each["init"]), each["namespaces"]) for each in plain["hosts"]]
    return Record(directory, ProcessName(**plain["owner"]), plain["keep"], hosts)


def end(record: Record) -> None:
    """Kill the hosts of a laboratory that is not ours to stop politely, and remove its directory."""
    for host in record.hosts:
        host.init.kill()
    wait_for(f"the end of {record.directory.name}", lambda: not any(host.init.alive() for host in record.hosts), 20)
    shutil.rmtree(record.directory, onerror=_gone_is_fine)


def _gone_is_fine(function: Callable[..., object], path: str, error: Any) -> None:
    """Two laboratories that begin at once sweep the same dead ones."""
    if not isinstance(error[1], FileNotFoundError):
        raise error[1]


def sweep(base: Path) -> list[str]:
    """Remove what killed runs left below `base`. Living and kept laboratories stay. Returns the names of those removed."""
    swept = []
    for directory in sorted(base.iterdir()) if base.is_dir() else []:
        record = read_record(directory)
        if record is None or record.owner.alive() or (record.keep and any(host.init.alive() for host in record.hosts)):
            continue
        end(record)
        swept.append(directory.name)
    return swept


def claim(directory: Path, keep: bool) -> Record:
    """A fresh directory in our name. Raises LabFailed when a laboratory of that name lives."""
    found = read_record(directory)
    if found is not None and any(host.init.alive() for host in found.hosts):
        raise LabFailed(f"the laboratory {directory.name!r} is running already: `make demo-down` stops a kept one")
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True, mode=0o700)
    record = Record(directory, name_process(os.getpid()), keep)
    record.write()
    return record


def leftovers(record: Record, stopped_ticks: int) -> list[str]:
    """Everything of the laboratory that still is on this machine, a line each. Empty is what a stop must leave.

    `stopped_ticks` is when its hosts were gone: the kernel gives the inode numbers of their namespaces to whoever comes next.
    """
    return [*_processes(record, stopped_ticks), *_mounts(record), *_sockets(record), *_links(record), *_files(record)]


def _processes(record: Record, stopped_ticks: int) -> list[str]:
    spaces = {inode for host in record.hosts for inode in host.namespaces.values()}
    suspects = [pid for pid in all_pids() if spaces & _spaces_of(pid)]
    return [f"process {pid}: {_command(pid)}" for pid in suspects if (start_ticks(pid) or 0) <= stopped_ticks]


def _spaces_of(pid: int) -> set[int]:
    found = set()
    for kind in ("mnt", "uts", "net", "pid"):
        try:
            found.add(os.stat(f"/proc/{pid}/ns/{kind}").st_ino)
        except OSError:  # ended meanwhile, or a kernel thread
            continue
    return found


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return "(ended)"


def _mounts(record: Record) -> list[str]:
    table = Path("/proc/self/mountinfo").read_text().splitlines()
    return [f"mount {line}" for line in table if str(record.directory) in line]


def _sockets(record: Record) -> list[str]:
    table = Path("/proc/net/unix").read_text().splitlines()
    return [f"socket {line}" for line in table if str(record.directory) in line]


def _links(record: Record) -> list[str]:
    names = {f"to-{host.name}" for host in record.hosts} | {BRIDGE}
    return [f"link {name}" for name in os.listdir("/sys/class/net") if name in names]


def _files(record: Record) -> list[str]:
    return [f"directory {record.directory}"] if record.directory.exists() else []
