"""Settings of a VM from the command line to the worker: what was chosen, who chose it, and that reading is held back by it."""

import asyncio
import os
import random
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from seawall.cli.exits import Exit
from support.agent_file_joined import VM, joined, known, web_image
from support.agent_host import AgentHost
from support.cli_command import Answer, Cli
from support.controller_application import Controller, configured, running

pytestmark = pytest.mark.timeout(120)
IMAGE_BYTES = 3_000_000


@pytest.fixture
def controller(tmp_path: Path) -> Iterator[Controller]:
    with running(configured(tmp_path / "controller")) as controller:
        controller.add_folder(tmp_path / "repository")
        yield controller


@pytest.fixture
async def host(controller: Controller, tmp_path: Path) -> AsyncIterator[AgentHost]:
    web_image(tmp_path, random.Random(5).randbytes(IMAGE_BYTES))
    host = await joined(controller, tmp_path)
    async with host.running():
        await known(controller)
        yield host


class Operator:
    """Types commands."""

    def __init__(self, controller: Controller, home: Path) -> None:
        self._cli = Cli(home, controller.config.state_dir / "operator.toml")

    async def __call__(self, *words: str) -> Answer:
        return await asyncio.to_thread(self._cli, *words)

    async def done(self, *words: str) -> Answer:
        answer = await self(*words)
        assert answer.code == 0, answer
        return answer


@pytest.fixture
def operator(controller: Controller, tmp_path: Path) -> Operator:
    return Operator(controller, tmp_path)


@contextmanager
def guest_at_work(tmp_path: Path, milliseconds: float) -> Iterator[None]:
    """A hundred requests a second, of which each takes so long once a backup is at the disk, and a hundredth of that before."""
    file, over = tmp_path / "vms" / VM / "block_counts", threading.Event()
    captures = tmp_path / "run" / "captures"

    def work() -> None:
        requests = nanoseconds = 0
        while not over.wait(0.02):
            suffering = captures.is_dir() and any(captures.iterdir())
            requests += 2
            nanoseconds += round(2 * milliseconds * 1e6 / (1 if suffering else 100))
            file.with_suffix(".new").write_text(f"{requests} {nanoseconds}")
            os.replace(file.with_suffix(".new"), file)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


async def test_what_is_said_of_a_vm_rides_in_its_runs(host: AgentHost, operator: Operator) -> None:
    """And what a backup command says goes before it."""
    said = await operator.done(
        "vm", "protect", "web", "--limit", "1MB/s", "--freeze", "never", "--scratch-quota", "5GiB"
    )
    assert "limit           1 MB/s" in said.out
    shown = (await operator.done("vm", "show", "web", "--json")).json["settings"]
    assert (shown["freeze"], shown["bytes_per_second"], shown["iops"]) == ("never", 1_000_000, None)
    begun = time.monotonic()
    (run,) = (await operator.done("backup", "web", "--wait", "--iops", "500", "--json")).json["runs"]
    assert time.monotonic() - begun > (IMAGE_BYTES - 500_000) / 1_000_000
    assert run["settings"] == [
        "Freeze of the guest: never (vm protect).",
        "Guest latency: reading is held back above twice what the guest's requests take when nothing is read (the default).",
        "Reading: at most 1 MB/s (vm protect), at most 500 requests a second (the backup command).",
        "Left out: no disk that can be read (the default).",
        "Scratch: at most 5 GiB (vm protect).",
        "Compression: zstd, as fast as it pays (the default).",
    ]
    (attempt,) = run["attempts"]
    assert attempt["progress"]["held_back_ms"] > 1500
    assert any("for the limit of 1.0 MB/s and 500 requests a second" in note for note in attempt["progress"]["notes"])
    (free,) = (await operator.done("backup", "web", "--wait", "--limit", "none", "--json")).json["runs"]
    assert free["settings"][2] == "Reading: no limit (the backup command; of requests: the default)."
    assert free["attempts"][0]["progress"]["held_back_ms"] < 500
    told = (await operator.done("run", "show", run["run_id"])).out
    assert "settings    Freeze of the guest: never (vm protect)." in told and "note        Reading waited" in told


async def test_settings_are_unset_one_by_one_and_refused_with_a_reason(host: AgentHost, operator: Operator) -> None:
    await operator.done("vm", "protect", "web", "--iops", "50", "--latency-ceiling", "20ms", "--exclude-disk", "none")
    lines = (await operator.done("vm", "protect", "web", "--unset", "iops")).out
    assert "iops" not in lines and "latency-ceiling 20 ms" in lines and "exclude-disk    none" in lines
    for words, reason in (
        (["--limit", "10KB/s"], "BAD_SETTING"),
        (["--freeze-limit", "60s"], "BAD_SETTING"),
        (["--freeze-limit", "1.9s"], "BAD_SETTING"),
        (["--exclude-disk", "vdq"], "DISK_UNKNOWN"),
        (["--limit", "fast"], "BAD_AMOUNT"),
        ([], "NOTHING_SAID"),
    ):
        refused = await operator("vm", "protect", "web", *words, "--json")
        assert (refused.code, refused.reason) == (Exit.USAGE, reason)
    assert (await operator("vm", "protect", "nobody", "--iops", "5", "--json")).code == Exit.NOT_FOUND
    await operator.done("vm", "ignore", "web", "--because", "made anew each night")
    assert "ignored         made anew each night" in (await operator.done("vm", "show", "web")).out
    assert "ignored" not in (await operator.done("vm", "ignore", "web", "--undo")).out
    await operator.done("vm", "protect", "web", "--unset", "all")
    assert (await operator.done("vm", "show", "web", "--json")).json["settings"] is None


async def test_a_guest_that_suffers_is_waited_for_and_the_run_says_so(
    host: AgentHost, operator: Operator, controller: Controller, tmp_path: Path
) -> None:
    folder = tmp_path / "vms" / VM
    (folder / "vda.img").write_bytes(random.Random(6).randbytes(24 << 20))
    with guest_at_work(tmp_path, milliseconds=60.0):
        answer = await operator.done("backup", "web", "--latency-ceiling", "20ms", "--json")
        (run,) = answer.json["runs"]
        waiting = "guest latency (vda: 60.0 ms, ceiling 20.0 ms)"
        await asyncio.to_thread(
            controller.watch,
            run["run_id"],
            lambda run: bool(run.attempts) and run.attempts[-1].progress.waiting_on == waiting,
        )
        (ended,) = (await operator.done("run", "watch", run["run_id"], "--json")).json["runs"]
    assert ended["settings"][1] == "Guest latency: reading is held back above 20 ms (the backup command)."
    (note,) = ended["attempts"][0]["progress"]["notes"]
    assert "for the guest's sake: requests to vda took up to 60.0 ms, above the ceiling of 20.0 ms (set)" in note
    assert ended["attempts"][0]["progress"]["held_back_ms"] > 1000
