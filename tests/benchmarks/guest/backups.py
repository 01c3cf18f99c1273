"""Backups of the paced guest, and what it felt of them."""

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.lab.laboratory import Laboratory
from deploy.lab.namespaces import NamespaceHost
from deploy.lab.processes import all_pids
from deploy.lab.waiting import LabFailed, wait_for

from support.paced_guest import PacedGuest

RUN_SECONDS = 600.0
HOST = "alpha"


@dataclass(frozen=True)
class Backups:
    """Of one guest, through the public command line."""

    laboratory: Laboratory
    guest: PacedGuest

    def start(self, words: tuple[str, ...], repository: str = "main") -> str:
        return self.laboratory.start_backup(self.guest.name, *words, repository=repository).run_id

    def ended(self, run_id: str) -> Any:
        """The run as the command line tells it. Raises LabFailed when it failed, or does not end."""
        run = self.laboratory.await_end(run_id, RUN_SECONDS)
        if not run.succeeded:
            raise LabFailed(f"the run is {run.state}: {run.failure}")
        return self.laboratory.seawall_json("run", "show", run_id)


def idle(guest: PacedGuest, seconds: float) -> float:
    """The p99 with no backup, in milliseconds."""
    guest.command("mark")
    time.sleep(seconds)
    return guest.latencies().p99_ms


def latency_during(backups: Backups, name: str, words: tuple[str, ...], *, regard: bool = True) -> float:
    """The p99 during a full backup, from before it is asked for until it is over, into a repository of its own: nothing is known there.

    Without `regard` its worker does not stand back behind the guest, either.
    """
    backups.laboratory.add_repository(name)
    backups.guest.command("mark")
    run_id = backups.start(words, repository=name)
    if not regard:
        come_forward(wait_for("the worker", lambda: worker_on(backups.laboratory, HOST), 60, backups.laboratory.logs))
    run = backups.ended(run_id)
    took = backups.guest.latencies()
    told = [note for attempt in run["attempts"] if attempt["progress"] for note in attempt["progress"]["notes"]]
    failed = [attempt["failure"]["message"] for attempt in run["attempts"] if attempt["failure"]]
    print(f"{name}: {took} {' '.join(told)} {' '.join(failed)}", flush=True)
    backups.guest.assert_never_failed()
    return took.p99_ms


def worker_on(laboratory: Laboratory, host: str) -> int | None:
    """The one worker process of this host; None: none runs."""
    for pid in processes_of(laboratory.hosts[host]):
        with suppress(OSError):  # it ended meanwhile
            if b"seawall.agent.worker" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
                return pid
    return None


def come_forward(pid: int) -> None:
    """As a process that nobody told to stand back: the opposite of `stand_back`."""
    set_nice(pid, 0)


def stand_aside(host: NamespaceHost) -> None:
    """All that runs there takes only what nobody else wants of the processors: those of another machine would take nothing of ours."""
    for pid in processes_of(host):
        set_nice(pid, 19)


def processes_of(host: NamespaceHost) -> Iterator[int]:
    namespace = host.namespace_ids()["pid"]
    for pid in all_pids():
        with suppress(OSError):
            if os.stat(f"/proc/{pid}/ns/pid").st_ino == namespace:
                yield pid


def set_nice(pid: int, value: int) -> None:
    """Of all its threads, and of its session, which the kernel may weigh first. What has ended meanwhile is passed over."""
    with suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            os.setpriority(os.PRIO_PROCESS, int(thread.name), value)
    with suppress(OSError):
        Path(f"/proc/{pid}/autogroup").write_text(str(value))
