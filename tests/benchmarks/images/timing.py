"""One command, timed from its start to its exit, as a user waits for it."""

import os
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.lab.namespaces import NamespaceHost
from deploy.lab.waiting import LabFailed

from seawall.repository.blocks import data_ranges

_READ_BYTES = 4 << 20


@dataclass(frozen=True)
class Timed:
    """`cpu_seconds` and `peak_mib` are those of the command and of what it waited for."""

    wall_seconds: float
    cpu_seconds: float
    peak_mib: float
    output: str


def timed(host: NamespaceHost, argv: Sequence[str], env: Mapping[str, str]) -> Timed:
    """Run inside the host. Raises LabFailed with what was said when it fails."""
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        began = time.monotonic()
        process = subprocess.Popen(
            [*host.enter(), *argv], stdin=subprocess.DEVNULL, stdout=output, stderr=errors, env=host.environment(env)
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        said = output.read().decode(errors="replace")
        if process.returncode != 0:
            errors.seek(0)
            complaint = errors.read().decode(errors="replace")
            raise LabFailed(f"{' '.join(argv)} ended with {process.returncode}\n{said[-2000:]}{complaint[-4000:]}")
    return Timed(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, said)


def settle(disk: Path | None = None) -> None:
    """Before a timed run: what was written is on the disk, and what will be read is in memory, for every tool alike."""
    os.sync()
    if disk is not None:
        with open(disk, "rb", buffering=0) as file:
            for offset, length in data_ranges(file.fileno(), 0, disk.stat().st_size):
                for position in range(offset, offset + length, _READ_BYTES):
                    os.pread(file.fileno(), min(_READ_BYTES, offset + length - position), position)
