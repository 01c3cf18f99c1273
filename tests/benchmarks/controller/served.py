"""The real controller as a process of its own, as `seawall controller run` starts it, and what the kernel says of it alone."""

import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from support.cli_command import Cli
from support.controller_application import free_port
from support.controller_process import await_port
from support.parent_death import dying_with_parent

PROJECT = Path(__file__).parents[3]
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Consumed:
    """Of one process since its start. `cpu_seconds`: user and system, of all of its threads."""

    at: float
    cpu_seconds: float
    rss_mib: float
    peak_mib: float

    @property
    def rss_mb(self) -> float:
        """Of 10^6 bytes."""
        return self.rss_mib * 1.048576

    def percent_of_core(self, before: "Consumed") -> float:
        """Since then: the share of one processor."""
        return 100 * (self.cpu_seconds - before.cpu_seconds) / (self.at - before.at)


class ServedController:
    """`start` after `initialise`; `kill` is SIGKILL. Default timings but for what `settings` says."""

    def __init__(self, folder: Path, database: str = "", settings: dict[str, float] | None = None) -> None:
        self.operator, self.agent = free_port(), free_port()
        self.state = folder / "state"
        self.config = folder / "controller.toml"
        self.log = folder / "controller.log"
        self.cli = Cli(folder, self.state / "operator.toml")
        lines = [f'state_dir = "{self.state}"', f'operator_listen = "127.0.0.1:{self.operator}"']
        lines += [f'agent_listen = "127.0.0.1:{self.agent}"', f'agent_address = "127.0.0.1:{self.agent}"']
        lines += [f'enrol_address = "127.0.0.1:{self.operator}"', 'log_level = "warning"']
        lines += [f'database = "{database}"'] if database else []
        lines += ["[timings]", *(f"{name} = {value}" for name, value in (settings or {}).items())]
        self.config.write_text("\n".join(lines) + "\n")
        self._process: subprocess.Popen[bytes] | None = None

    def initialise(self) -> None:
        made = self.cli("controller", "init", "--config-file", self.config)
        assert made.code == 0, made

    def start(self) -> tuple[float, float]:
        """(when it was executed, when its agent port was open), both by the monotonic clock."""
        begun = time.monotonic()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                dying_with_parent(self.cli.line("controller", "run", "--config-file", self.config)),
                env=self.cli.environment, stdout=log, stderr=log,
            )  # fmt: skip
        await_port(self.agent, self._process, self.log)
        opened = time.monotonic()
        await_port(self.operator, self._process, self.log)
        return begun, opened

    def kill(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def consumed(self) -> Consumed:
        status = dict(line.split(":", 1) for line in Path(f"/proc/{self.pid}/status").read_text().splitlines())
        sizes = {name: int(status[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM")}
        return Consumed(time.monotonic(), cpu_seconds(self.pid), sizes["VmRSS"], sizes["VmHWM"])


def cpu_seconds(pid: int) -> float:
    """User and system, of all threads of the process since its start."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def machine_load() -> str:
    """The kernel's mean of runnable processes over 1 and 5 minutes."""
    return "{:.1f} {:.1f}".format(*os.getloadavg()[:2])
