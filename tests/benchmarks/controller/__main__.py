"""`make bench-controller`: what a large fleet costs the controller. Debian 12, as root for PostgreSQL; under twelve minutes on two cores.

On SQLite and on a real PostgreSQL 15 in turn: the scheduler's tick over 20,000 VMs in this process; then a real controller process with
1,000 agents, each over its own mTLS connection and certificate: its processor time and memory while they only beat, the first page of
20,000 VMs, from a run's due time to its host's knowing of it while a policy fires, progress rows a second, and how soon all are back after
40 s without a controller. The results are in build/bench/controller.json, whose top level is SQLite's; the output ends with a table of what
is asked and found. A target that is missed is no failure. A part that fails is named in "failed", its figures are null, the rest is
measured all the same, and the end is 1. Memory is the controller's resident set, rss_mib in MiB, rss_mb in MB of 10^6 bytes.
AGENTS=n (1000), ENGINES=sqlite,postgresql.
"""

import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parents[3]
sys.path.insert(0, str(PROJECT / "tests"))

from support.postgresql import DURABLE, PostgresServer  # noqa: E402

from .load import loaded  # noqa: E402
from .served import machine_load  # noqa: E402
from .tick import tick_figures  # noqa: E402
from .worker_start import worker_start_seconds  # noqa: E402

RESULT = PROJECT / "build/bench/controller.json"
AGENTS = int(os.environ.get("AGENTS") or 1000)
PARTS = ("connected", "idle", "first_page", "due_to_assigned", "progress", "outage")
"""Methods of `Load`, in the order in which one prepares what the next one needs."""
ENGINES = (os.environ.get("ENGINES") or "sqlite,postgresql").split(",")


def main() -> int:
    begun = time.monotonic()
    parts: dict[str, dict[str, Any]] = {engine: {} for engine in ENGINES}
    failed: dict[str, str] = {}
    starts = worker_start_seconds()
    for engine in ENGINES:
        with noted(failed, f"{engine}: end"), tempfile.TemporaryDirectory(prefix="seawall-bench-") as folder:
            with _database(engine, Path(folder)) as url:
                _measure(engine, Path(folder), url, parts[engine], failed)
    figures = _figures(parts, starts) | {"failed": failed, "seconds": round(time.monotonic() - begun)}
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(figures, indent=1) + "\n")
    say(f"{RESULT.relative_to(PROJECT)} is written; {figures['seconds']} s, load {machine_load()}")
    for line in table(parts, figures["worker_start_s"]["slowest"]):
        say(line)
    for name, why in failed.items():
        say(f"failed: {name}: {why}")
    return 1 if failed else 0


def _measure(engine: str, folder: Path, url: str, found: dict[str, Any], failed: dict[str, str]) -> None:
    """Fills `found` part by part."""
    say(f"{engine}: the tick over 20,000 VMs (load {machine_load()})")
    with noted(failed, f"{engine}: tick"):
        found["tick"] = tick_figures(folder, _other(url))
        say(f"  {found['tick']}")
    with noted(failed, f"{engine}: load"), loaded(folder / "controller", AGENTS, url, say) as load:
        for name in PARTS:
            with noted(failed, f"{engine}: {name}"):
                found[name] = getattr(load, name)()
                say(f"  {name}: {found[name]}")
            if "connected" not in found:
                return  # nobody is there to be measured


@contextmanager
def noted(failed: dict[str, str], name: str) -> Iterator[None]:
    """What goes wrong in one part costs its figures alone."""
    try:
        yield
    except Exception as error:
        failed[name] = f"{type(error).__name__}: {error}"[:2000]
        say(f"  {name} failed: {failed[name]}")


def _other(url: str) -> str:
    """The tick's own database beside the controller's."""
    return f"{url}_tick" if url else ""


@contextmanager
def _database(engine: str, folder: Path) -> Iterator[str]:
    """The URL of an empty one, "" for SQLite."""
    if engine == "sqlite":
        yield ""
        return
    os.chmod(folder, 0o755)
    server = PostgresServer(folder / "server", DURABLE)
    server.initialise()
    server.start()
    try:
        for name in ("bench", "bench_tick"):
            server.sql(f"CREATE DATABASE {name} TEMPLATE template0")
        yield server.url("bench")
    finally:
        server.stop()


def _figures(parts: dict[str, dict[str, Any]], starts: list[float]) -> dict[str, Any]:
    """What the issue asks for; what belongs to one engine is of the first. None where its part failed."""
    first = parts[ENGINES[0]]
    slowest_start = max(starts)
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}",
        "tick_ms_20000_vms": _of(first, "tick", "tick_wall_ms"),
        "agents": {name: _of(first, "idle", name) for name in ("count", "cpu_percent_of_core", "rss_mib", "rss_mb")}
        | {"reconnect_s": _of(first, "outage", "reconnect_s")},
        "due_to_started_p99_s": _started(first, slowest_start),
        "progress_rows_per_s": {engine: _of(part, "progress", "rows_per_s") for engine, part in parts.items()},
        "list_first_page_ms": {engine: _of(part, "first_page", "median") for engine, part in parts.items()},
        "worker_start_s": {"median": round(statistics.median(starts), 3), "slowest": round(slowest_start, 3)},
        "engines": parts,
    }


def _of(part: dict[str, Any], name: str, figure: str) -> Any:
    return part.get(name, {}).get(figure)


def _started(part: dict[str, Any], slowest_start: float) -> float | None:
    assigned = _of(part, "due_to_assigned", "p99_s")
    return None if assigned is None else round(assigned + slowest_start, 3)


@dataclass(frozen=True, slots=True)
class Target:
    """What issue 6 asks of one figure, on every engine: at most so much, or at least."""

    name: str
    part: str
    figure: str
    limit: float
    at_least: bool = False

    def held(self, found: float | None) -> bool:
        """What was not measured is missed."""
        return found is not None and (found >= self.limit if self.at_least else found <= self.limit)


TARGETS = (
    Target("tick over 20,000 VMs, ms", "tick", "tick_wall_ms", 50),
    Target("1,000 agents idle, % of a core", "idle", "cpu_percent_of_core", 25),
    Target("1,000 agents idle, MB", "idle", "rss_mb", 300),
    Target("due to worker started, p99, s", "due_to_assigned", "p99_s", 2),
    Target("all back after an outage, s", "outage", "reconnect_s", 10),
    Target("progress, rows/s", "progress", "rows_per_s", 1000, at_least=True),
    Target("first page of 20,000 VMs, ms", "first_page", "median", 100),
)


def table(parts: dict[str, dict[str, Any]], slowest_start: float) -> Iterator[str]:
    """A line for each target; `*`: missed."""
    yield f"{'':34}{'asked':>9}" + "".join(f"{engine:>13} " for engine in parts)
    for target in TARGETS:
        asked = f"{'>=' if target.at_least else '<='} {target.limit:g}"
        cells = ""
        for part in parts.values():
            found = _started(part, slowest_start) if target.figure == "p99_s" else _of(part, target.part, target.figure)
            cells += f"{'-' if found is None else found:>13}{' ' if target.held(found) else '*'}"
        yield f"{target.name:34}{asked:>9}{cells}"


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
