"""`seawall up` as a child process: started, read, ended; and a look at what is left of it."""

import fcntl
import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.cli_command import Answer, Cli
from support.libvirt_host import await_true

NO_LIBVIRT = "qemu+unix:///system?socket=/nonexistent"
"""A machine whose libvirt does not answer: all the rest of `up` is the same."""
STOP_SECONDS = 60


@dataclass
class Life:
    """One `seawall up` that is ready."""

    process: "subprocess.Popen[str]"
    document: dict[str, Any]
    errors: Path

    @property
    def controller(self) -> int:
        return int(self.document["pids"]["controller"])

    @property
    def agent(self) -> int:
        return int(self.document["pids"]["agent"])

    @property
    def told(self) -> str:
        """Standard error until now."""
        return self.errors.read_text()

    def await_told(self, text: str, timeout_seconds: float = 60) -> None:
        await_true(lambda: text in self.told, f"{text!r} to be told", timeout_seconds)

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        """The exit code."""
        self.process.send_signal(number)
        return self.process.wait(STOP_SECONDS)


@dataclass(frozen=True)
class UpHome:
    """One machine as `up` sees it: a state directory, and who asks."""

    root: Path
    hypervisor: str = NO_LIBVIRT
    extra: dict[str, str] = field(default_factory=dict)

    @property
    def state(self) -> Path:
        return self.root / "state"

    @property
    def words(self) -> list[str]:
        return [
            "up",
            "--state-dir",
            str(self.state),
            "--run-dir",
            str(self.root / "r"),
            "--hypervisor",
            self.hypervisor,
        ]

    @property
    def seawall(self) -> Cli:
        return Cli(self.root, self.state / "operator.toml", self.extra)

    def refused(self, *words: str) -> Answer:
        """An `up` that must not come up, and must leave no process."""
        answer = self.seawall(*self.words, *words, "--json")
        assert self.processes() == []
        return answer

    @contextmanager
    def up(self, *words: str) -> Iterator[Life]:
        """Ready; killed at the end if it still runs, and then no child may stay."""
        errors = self.root / "errors"
        with _one_at_a_time() as ready:
            with errors.open("w") as told:
                process = subprocess.Popen(
                    ["setpriv", "--pdeathsig", "KILL", *self.seawall.line(*self.words, *words, "--json")],
                    env=self.seawall.environment,
                    cwd=self.root,
                    text=True,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=told,
                )
            try:
                document = _document(process, errors)
                ready()
                yield Life(process, document, errors)
            finally:
                process.kill()
                process.communicate()
                await_true(lambda: self.processes() == [], "all processes to be gone", STOP_SECONDS)

    def processes(self) -> list[int]:
        """Whatever has our state directory on its command line."""
        return [pid for pid in _pids() if str(self.state) in _command_line(pid)]

    def facts(self) -> dict[str, Any]:
        """What must be the same after any number of starts. While it is up."""
        hosts = self.seawall("host", "list", "--json").json["hosts"]
        repositories = self.seawall("repo", "list", "--json").json["repositories"]
        return {
            "cluster": (self.state / "controller" / "cluster-id").read_text(),
            "hosts": [host["host_id"] for host in hosts],
            "repositories": [(each["repository_id"], each["url"]) for each in repositories],
        }


@contextmanager
def _one_at_a_time() -> Iterator[Callable[[], None]]:
    """Two that look for free ports at one moment, in tests side by side, find the same ones. Until what is yielded is called."""
    build = Path(__file__).parents[2] / "build"
    build.mkdir(exist_ok=True)
    with (build / "tests-up.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield lambda: fcntl.flock(lock, fcntl.LOCK_UN)


def _document(process: "subprocess.Popen[str]", errors: Path) -> dict[str, Any]:
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line == "}\n":
            document: dict[str, Any] = json.loads("".join(lines))
            assert "error" not in document, document
            return document
    raise AssertionError(f"ended with {process.wait()}: {errors.read_text()}")


def _pids() -> Iterator[int]:
    return (int(entry.name) for entry in os.scandir("/proc") if entry.name.isdigit())


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except (FileNotFoundError, ProcessLookupError):
        return ""
