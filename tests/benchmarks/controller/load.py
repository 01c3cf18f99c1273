"""One engine's part: the real controller under a thousand agents, step by step. Each step is bounded, and returns its figures."""

import math
import random
import statistics
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from deploy.lab.waiting import LabFailed, wait_for

from seawall.api.v1 import limits_pb2, operator_pb2, policy_pb2
from seawall.cli.connection import Controller, connect
from seawall.cli.exits import CommandError, Exit
from seawall.repository.batches import in_batches
from support.controller_application import RECOVERY_KEY

from .agents import vm_id
from .enrolling import enrol, shared_out
from .fleet import Fleet
from .served import ServedController, machine_load

VMS_EACH = 20
PROCESSES = 2
IDLE_SECONDS = 40.0
SETTLE_SECONDS = 8.0
DUE_SPREAD_SECONDS = 40
DUE_VMS = 266
OUTAGE_SECONDS = 40.0
PRESS_SECONDS = 12.0
AT_ONCE = 250
HELD_EACH = 2
"""Backups under way on each host: as many as the built-in limits admit beside a restore."""
PAGES = 30
POLICY = """
policy: bench
repository: main
select: {{names: [{names}]}}
schedule: {{cron: "{minute} {hour} * * *", zone: UTC, spread: {spread}s}}
"""
DUE = "SELECT id, not_before_us FROM runs WHERE policy_id <> ''"
LOOKED = "SELECT run_id, created_us FROM attempts WHERE no = 1"


@dataclass
class Load:
    """A controller with its fleet connected. `url`: of its database, for sqlalchemy, to read what it wrote."""

    controller: ServedController
    fleet: Fleet
    operator: Controller
    url: str
    names: list[str]
    say: Callable[[str], None]

    def connected(self) -> dict[str, object]:
        """Everybody has said Hello, reported its VMs and sent a heartbeat."""
        begun, count = time.monotonic(), len(self.names)
        self.fleet.start()
        wait_for("all agents to connect", lambda: self.fleet.total("beaten") == count, 120)
        joined = time.monotonic() - begun
        wait_for(
            "all inventories to be reported",
            lambda: self._one("SELECT count(*) FROM vms WHERE present = 1") == count * VMS_EACH, 120,
        )  # fmt: skip
        return {"connect_s": round(joined, 1), "inventory_s": round(time.monotonic() - begun, 1)}

    def idle(self) -> dict[str, object]:
        """Connected and heartbeating, nothing due: the process's share of one core, and its memory."""
        time.sleep(SETTLE_SECONDS)
        before, beats, load = self.controller.consumed(), self.fleet.total("beats"), machine_load()
        spent = self.fleet.cpu_seconds()
        time.sleep(IDLE_SECONDS)
        after, spent = self.controller.consumed(), self.fleet.cpu_seconds() - spent
        return {
            "count": len(self.names),
            "cpu_percent_of_core": round(after.percent_of_core(before), 1),
            "rss_mib": round(after.rss_mib, 1),
            "rss_mb": round(after.rss_mb, 1),
            "peak_rss_mib": round(after.peak_mib, 1),
            "agents_percent_of_core": round(100 * spent / (after.at - before.at), 1),
            "heartbeats_per_s": round((self.fleet.total("beats") - beats) / (after.at - before.at), 1),
            "load": f"{load} to {machine_load()}",
        }

    def first_page(self) -> dict[str, object]:
        """`vm list` of all: from the call of the operator's stub to the messages in hand."""
        request, times = operator_pb2.ListVmsRequest(), []
        for _ in range(PAGES):
            begun = time.perf_counter()
            page = self.operator.call(self.operator.backup.ListVms, request)
            times.append(1000 * (time.perf_counter() - begun))
            assert page.next_page_token and len(page.vms) >= 100
        return {"median": round(statistics.median(times), 1), "p95": round(_quantile(times, 0.95), 1)}

    def due_to_assigned(self) -> dict[str, object]:
        """A policy fires for hundreds of VMs, spread evenly; from each run's own due time to its host's knowing of it.

        `looked_*`: to the begin of the scheduler's look that placed it. The agents do whole backups of 64 KiB meanwhile, on this machine.
        """
        self.fleet.tell(do="mode", hold=False)
        due = datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(minutes=1)
        if due - datetime.now(UTC) < timedelta(seconds=5):
            due += timedelta(minutes=1)
        chosen = min(DUE_VMS, len(self.names))
        names = ", ".join(f"{name}-vm-0" for name in self.names[:chosen])
        document = POLICY.format(minute=due.minute, hour=due.hour, spread=DUE_SPREAD_SECONDS, names=names)
        request = policy_pb2.ApplyPoliciesRequest(request_id=str(uuid.uuid4()), document=document, source="bench.yaml")
        self.operator.call(self.operator.policies.ApplyPolicies, request)
        time.sleep(max(0.0, due.timestamp() - time.time()))
        before, load, spent = self.controller.consumed(), machine_load(), self.fleet.cpu_seconds()
        # Before any of them is tried again, which makes it due anew.
        wait_for("the policy to fire", lambda: len(self._rows(DUE)) == chosen, 60, every_seconds=1.0)
        due_us = dict(self._rows(DUE))
        wait_for("all due runs to be assigned", lambda: len(self._first_known()) == chosen, DUE_SPREAD_SECONDS + 60)
        after, spent = self.controller.consumed(), self.fleet.cpu_seconds() - spent
        looked_us, known_us = dict(self._rows(LOOKED)), self._first_known()
        waits = [(known_us[run_id] - due) / 1e6 for run_id, due in due_us.items()]
        looks = [(looked_us[run_id] - due) / 1e6 for run_id, due in due_us.items()]
        with suppress(LabFailed):  # what fails on a machine that has too much to do is tried again, and counted below
            wait_for("all to complete", lambda: self.fleet.total("completed") >= chosen, 120)
        return {
            "runs": chosen,
            "completed": self.fleet.total("completed"),
            "over_s": DUE_SPREAD_SECONDS,
            "p50_s": round(_quantile(waits, 0.5), 3),
            "p99_s": round(_quantile(waits, 0.99), 3),
            "longest_s": round(max(waits), 3),
            "looked_p50_s": round(_quantile(looks, 0.5), 3),
            "looked_p99_s": round(_quantile(looks, 0.99), 3),
            "cpu_percent_of_core": round(after.percent_of_core(before), 1),
            "agents_percent_of_core": round(100 * spent / (after.at - before.at), 1),
            "load": f"{load} to {machine_load()}",
        }

    def progress(self) -> dict[str, object]:
        """Every host holds its backups and reports them without a pause: rows that were acknowledged, and so stored, a second."""
        self.fleet.tell(do="mode", hold=True)
        vms = [vm_id(name, number + 1) for name in self.names for number in range(HELD_EACH)]
        for some in in_batches(vms, 100):
            request = operator_pb2.StartBackupRequest(request_id=str(uuid.uuid4()), vms=some, repository="main")
            self.operator.call(self.operator.backup.StartBackup, request, timeout_seconds=60)
        wait_for("all to be accepted", lambda: self.fleet.total("held") == len(vms), 180, self._failures)
        before, load = self.controller.consumed(), machine_load()
        self.fleet.tell(do="press", seconds=PRESS_SECONDS, at_once=AT_ONCE)
        wait_for("the heartbeats to end", lambda: len(self.fleet.pressed) == PROCESSES, PRESS_SECONDS + 60)
        after = self.controller.consumed()
        rate = sum(each["rows"] / each["seconds"] for each in self.fleet.pressed)
        stored = self._one("SELECT sum(seq) FROM attempt_progress")
        said = sum(each["rows"] for each in self.fleet.pressed)
        assert stored >= said, (stored, said)
        return {
            "rows_per_s": round(rate),
            "rows_a_heartbeat": HELD_EACH,
            "cpu_percent_of_core": round(after.percent_of_core(before)),
            "load": f"{load} to {machine_load()}",
        }

    def outage(self) -> dict[str, object]:
        """SIGKILL, 40 s of nothing, a start: from its open port until the last agent's heartbeat was answered."""
        self.controller.kill()
        time.sleep(OUTAGE_SECONDS)
        self.fleet.tell(do="forget")
        time.sleep(1.0)
        load = machine_load()
        executed, opened = self.controller.start()
        wait_for("all agents to come back", lambda: self.fleet.total("beaten") == len(self.names), 120)
        back = self.fleet.last_change()
        return {
            "reconnect_s": round(back - opened, 1),
            "from_exec_s": round(back - executed, 1),
            "load": f"{load} to {machine_load()}",
        }

    def _first_known(self) -> dict[str, int]:
        """Run -> when its host knew of its first attempt, microseconds since 1970."""
        found: dict[str, int] = {}
        for each in list(self.fleet.assigned):
            found.setdefault(each.run_id, each.at_us)
        return found

    def _failures(self) -> str:
        return "; ".join(self.fleet.failures[:3])

    def _one(self, query: str) -> int:
        return int(self._rows(query)[0][0])

    def _rows(self, query: str) -> list[tuple[Any, ...]]:
        engine = sa.create_engine(self.url)
        try:
            with engine.connect() as connection:
                return [tuple(row) for row in connection.execute(sa.text(query))]
        finally:
            engine.dispose()


@contextmanager
def loaded(folder: Path, agents: int, database: str, say: Callable[[str], None]) -> Iterator[Load]:
    """A new controller with a folder repository, limits that admit everybody, and so many enrolled hosts."""
    folder.mkdir()
    controller = ServedController(folder, database)
    controller.initialise()
    controller.start()
    fleet = None
    try:
        with connect(controller.state / "operator.toml") as operator:
            _prepare(operator, folder)
            begun = time.monotonic()
            identities = enrol(operator, controller.state / "operator.toml", agents)
            say(f"  {agents} hosts enrolled in {time.monotonic() - begun:.1f} s")
            names = [each["host_name"] for each in identities]
            random.Random(1).shuffle(names)
            fleet = Fleet(shared_out(identities, folder, PROCESSES), VMS_EACH, folder / "agents.log")
            url = (
                database.replace("postgresql://", "postgresql+psycopg://")
                or f"sqlite:///{controller.state}/controller.sqlite"
            )
            yield Load(controller, fleet, operator, url, names, say)
    finally:
        if fleet is not None:
            fleet.close()
        controller.kill()


def _prepare(operator: Controller, folder: Path) -> None:
    limit = limits_pb2.SetLimitRequest(request_id=str(uuid.uuid4()), scope="global", transferring=4_000)
    wait_for("the controller to lead", lambda: _taken(lambda: operator.call(operator.limits.SetLimit, limit)), 60)
    (folder / "bucket").mkdir()
    request = operator_pb2.AddRepositoryRequest(
        request_id=str(uuid.uuid4()),
        name="main",
        url=(folder / "bucket").as_uri(),
        recovery_public_key=RECOVERY_KEY,
        chunk_nominal_bytes=65_536,
    )
    operator.call(operator.backup.AddRepository, request, timeout_seconds=60)


def _taken(call: Callable[[], object]) -> bool:
    """A controller that may share its database serves first, and leads a moment later."""
    try:
        call()
    except CommandError as error:
        assert error.code is Exit.UNREACHABLE, error
        return False
    return True


def _quantile(values: list[float], part: float) -> float:
    """The smallest value that so many do not exceed."""
    return sorted(values)[max(0, math.ceil(part * len(values)) - 1)]
