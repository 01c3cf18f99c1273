"""`make bench-controller`: what a large fleet costs the controller. Debian 12, as root for PostgreSQL; under ten minutes on two cores.

On SQLite and on a real PostgreSQL 15 in turn: the scheduler's tick over 20,000 VMs in this process; then a real controller process with
1,000 agents, each over its own mTLS connection and certificate: its processor time and memory while they only beat, the first page of
20,000 VMs, from a run's due time to its host's knowing of it while a policy fires, progress rows a second, and how soon all are back after
40 s without a controller. The results are in build/bench/controller.json; the top level is SQLite's. A target that is missed is named; that
is no failure.
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
ENGINES = (os.environ.get("ENGINES") or "sqlite,postgresql").split(",")


def main() -> int:
    begun = time.monotonic()
    parts: dict[str, dict[str, Any]] = {}
    starts = worker_start_seconds()
    for engine in ENGINES:
        with tempfile.TemporaryDirectory(prefix="seawall-bench-") as folder, _database(engine, Path(folder)) as url:
            parts[engine] = _measured(engine, Path(folder), url)
    figures = _figures(parts, starts) | {"seconds": round(time.monotonic() - begun)}
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(figures, indent=1) + "\n")
    say(json.dumps(figures, indent=1))
    missed = [name for name, held in targets(figures).items() if not held]
    for name in missed:
        say(f"missed: {name}")
    return 0


def _measured(engine: str, folder: Path, url: str) -> dict[str, Any]:
    say(f"{engine}: the tick over 20,000 VMs (load {machine_load()})")
    found: dict[str, Any] = {"tick": tick_figures(folder, _other(url))}
    say(f"  {found['tick']}")
    with loaded(folder / "controller", AGENTS, url, say) as load:
        for name in ("connected", "idle", "first_page", "due_to_assigned", "progress", "outage"):
            found[name] = getattr(load, name)()
            say(f"  {name}: {found[name]}")
    return found


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
    """What the issue asks for; what belongs to one engine is of the first."""
    first = parts[ENGINES[0]]
    slowest_start = max(starts)
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}",
        "tick_ms_20000_vms": first["tick"]["tick_wall_ms"],
        "agents": {name: first["idle"][name] for name in ("count", "cpu_percent_of_core", "rss_mib")}
        | {"reconnect_s": first["outage"]["reconnect_s"]},
        "due_to_started_p99_s": round(first["due_to_assigned"]["p99_s"] + slowest_start, 3),
        "progress_rows_per_s": {engine: part["progress"]["rows_per_s"] for engine, part in parts.items()},
        "list_first_page_ms": {engine: part["first_page"]["median"] for engine, part in parts.items()},
        "worker_start_s": {"median": round(statistics.median(starts), 3), "slowest": round(slowest_start, 3)},
        "engines": parts,
    }


def targets(figures: dict[str, Any]) -> dict[str, bool]:
    """What issue 6 promises -> whether it is so, on every engine."""
    parts, start = figures["engines"].values(), figures["worker_start_s"]["slowest"]
    return {
        "tick over 20,000 VMs <= 50 ms": all(part["tick"]["tick_wall_ms"] <= 50 for part in parts),
        "1,000 agents: <= 25 % of a core": all(part["idle"]["cpu_percent_of_core"] <= 25 for part in parts),
        "1,000 agents: <= 300 MiB": all(part["idle"]["rss_mib"] <= 300 for part in parts),
        "due to started p99 <= 2 s": all(part["due_to_assigned"]["p99_s"] + start <= 2 for part in parts),
        "all back <= 10 s after an outage": all(part["outage"]["reconnect_s"] <= 10 for part in parts),
        ">= 1,000 progress rows/s": all(part["progress"]["rows_per_s"] >= 1000 for part in parts),
        "first page <= 100 ms": all(part["first_page"]["median"] <= 100 for part in parts),
    }


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
