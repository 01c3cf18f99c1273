"""The load-generating processes as one: orders to all of them, what they say in one place."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.parent_death import dying_with_parent

from .served import PROJECT, cpu_seconds

MODULE = "tests.benchmarks.controller.agents"


@dataclass
class Assigned:
    """When the host of a run knew of it, microseconds since 1970."""

    run_id: str
    at_us: int


@dataclass
class Fleet:
    """`start`, then `tell` and look; `close` ends the processes. Everything may be read from any thread."""

    files: Sequence[Path]
    vms_each: int
    log: Path
    assigned: list[Assigned] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    pressed: list[dict[str, float]] = field(default_factory=list)
    _states: dict[int, dict[str, float]] = field(default_factory=dict)
    _processes: list["subprocess.Popen[str]"] = field(default_factory=list)

    def start(self) -> None:
        for number, file in enumerate(self.files):
            with self.log.open("ab") as log:
                process = subprocess.Popen(
                    dying_with_parent([sys.executable, "-m", MODULE, str(file), str(self.vms_each)]), cwd=PROJECT, text=True,
                    env=os.environ | {"PYTHONPATH": f"{PROJECT / 'tests'}:{PROJECT}:{os.environ.get('PYTHONPATH', '')}"},
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
                )  # fmt: skip
            self._processes.append(process)
            threading.Thread(target=self._listen, args=(number, process), daemon=True).start()

    def tell(self, **order: Any) -> None:
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.write(json.dumps(order) + "\n")
            process.stdin.flush()

    def total(self, name: str) -> int:
        """Of all processes, as they said last. AssertionError when one of them died."""
        ended = [process.returncode for process in self._processes if process.poll() is not None]
        assert not ended, f"load processes ended with {ended}: {self.log.read_text()[-4000:]}"
        return int(sum(state.get(name, 0) for state in list(self._states.values())))

    def last_change(self) -> float:
        """When a total changed last, by the monotonic clock."""
        return max((state["at"] for state in list(self._states.values())), default=0.0)

    def cpu_seconds(self) -> float:
        """Of all processes since their start: the bench's own share of the machine."""
        return sum(cpu_seconds(process.pid) for process in self._processes)

    def close(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()

    def _listen(self, number: int, process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None
        for line in process.stdout:
            said = json.loads(line)
            match said.pop("event"):
                case "state":
                    self._states[number] = said
                case "assigned":
                    self.assigned.append(Assigned(said["run"], said["at_us"]))
                case "failed":
                    self.failures.append(f"{said['run']}: {said['why']}")
                case "pressed":
                    self.pressed.append(said)
