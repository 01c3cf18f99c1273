"""The scheduler's tick for 20,000 VMs on 1,000 hosts, in this process: the plan alone, and the whole tick over a real database.

Medians, in milliseconds of the process's processor time, and of the wall where the name says so. `plan_ms`: the pure part from nothing,
facts in, plan out, 400 places. `tick_ms`: a tick of the running scheduler with every run waiting and all slots taken, in steady state;
`first_tick_ms`: the one that fills the mirror and starts 360 runs. Behind both lie weeks of firings (history.py): an empty database would
tell nothing of a query that reads what is long over.
"""

import asyncio
import logging
import random
import statistics
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg
import structlog

from seawall.controller.admission.facts import VmFacts
from seawall.controller.database.database import Database
from seawall.controller.database.postgresql import PostgresqlDatabase
from seawall.controller.database.postgresql_address import parse_address
from seawall.controller.database.sqlite import SqliteDatabase
from seawall.controller.records.fleet import Session, Vm, VmDisk
from seawall.controller.records.limits import Limit, Measure, Scope
from seawall.controller.records.runs import Run
from seawall.controller.runs.steady import SteadyClock
from seawall.controller.scheduler.executions import Executions
from seawall.controller.scheduler.leading import LeaderLease
from seawall.controller.scheduler.placement import plan
from seawall.controller.scheduler.tick import Tick
from seawall.controller.scheduler.wakes import Wakes
from seawall.controller.store.transaction import Transaction
from seawall.controller.timings import Timings
from seawall.repository.clock import SystemClock
from support.admission_facts import fleet_facts, limit
from support.controller_records import HOUR, NOW, a_host, a_repository, a_run, a_session
from support.enrolled_hosts import add_hosts

from . import history

PLACES = 400
TENANTS = 20
POLICY = "nightly"
POOLS = 3
TOLD = "all 360 slots of this controller are taken (40 more kept for restores)"
"""What waits has been told so: a tick in steady state writes nothing."""


@dataclass(frozen=True, slots=True)
class Size:
    vms: int = 20_000
    hosts: int = 1_000
    due: int = 15_467
    rounds: int = 9
    firings: int = 15
    """Of the twenty policies, each for its 1,000 VMs: 300,000 runs."""
    kept: int = 10
    """Points of each VM: 200,000."""

    @property
    def history(self) -> history.Size:
        return history.Size(self.vms, self.hosts, firings=self.firings, kept=self.kept, packs=0)


def tick_figures(folder: Path, url: str, size: Size = Size()) -> dict[str, float]:
    """`url`: of an empty PostgreSQL database; "": a new SQLite file in the folder."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    return {"plan_ms": _plan_ms(size), **asyncio.run(_tick_ms(size, folder, url))}


def _plan_ms(size: Size) -> float:
    """Every host has slots, the whole has 400: the costly case, as most runs are looked at in vain."""
    rng = random.Random(1)
    hosts = [a_host(f"host-{number:04d}", site=f"site-{number % 7}") for number in range(size.hosts)]
    vms = [
        VmFacts(
            f"vm-{number:05d}",
            hosts[number % size.hosts].id,
            True,
            (f"host-{number % size.hosts:04d}:/pool-{number % POOLS}",),
        )
        for number in range(size.vms)
    ]
    newest_us = {POLICY: {vm.id: NOW - rng.randrange(60) * HOUR for vm in vms}}
    runs = [_run(number) for number in range(size.due)]
    limits = [limit(Scope.GLOBAL, -(-PLACES * 10 // 9)), limit(Scope.STORAGE, 2), limit(Scope.SITE, 300)]
    limits += [limit(Scope.TENANT, 100), limit(Scope.HOST, 2, measure=Measure.PREPARING)]
    facts = fleet_facts(hosts, [a_session(host.id) for host in hosts], vms, limits=limits, newest_us=newest_us)

    def once() -> None:
        made = plan(runs, facts)
        assert len(made.placements) == PLACES, len(made.placements)
        assert len(made.waiting) == len(runs) - PLACES

    return _median_ms(once, size.rounds)


def _run(number: int, created_us: int = NOW, policy_id: str = POLICY) -> Run:
    return a_run(
        number,
        vm_id=f"vm-{number:05d}",
        tenant=f"tenant-{number % TENANTS}",
        policy_id=policy_id,
        nominal_us=NOW,
        created_us=created_us,
        not_before_us=created_us,
        deadline_us=created_us + 24 * HOUR,
    )


async def _tick_ms(size: Size, folder: Path, url: str) -> dict[str, float]:
    with closing(_opened(folder, url)) as database:
        steady = SteadyClock(SystemClock())
        began = time.perf_counter()
        await asyncio.to_thread(_fill, database, size, steady.now_us(), url)
        filled = time.perf_counter() - began
        executions = Executions(database, Wakes())
        lease = LeaderLease(database, steady, Timings())
        await lease.acquire()
        tick = Tick(executions, lease, steady, Timings(), random.Random(1))
        begun = time.process_time()
        await tick.run_once()
        first = 1000 * (time.process_time() - begun)
        await tick.run_once()
        times, walls = [], []
        for _ in range(size.rounds):
            begun, wall = time.process_time(), time.perf_counter()
            await tick.run_once()
            times.append(1000 * (time.process_time() - begun))
            walls.append(1000 * (time.perf_counter() - wall))
        return {
            "history_runs": size.vms * size.firings,
            "fill_s": round(filled, 1),
            "first_tick_ms": round(first, 1),
            "tick_ms": round(statistics.median(times), 1),
            "tick_wall_ms": round(statistics.median(walls), 1),
        }


def _opened(folder: Path, url: str) -> Database:
    return PostgresqlDatabase(parse_address(url)) if url else SqliteDatabase(folder / "tick.sqlite")


def _fill(database: Database, size: Size, now_us: int, url: str) -> None:
    add_hosts(database, *(f"host-{number:04d}" for number in range(size.hosts)))
    database.write_now(lambda transaction: _fleet(transaction, size, now_us))
    history.fill_history(database, size.history, now_us)
    if url:
        _look_after(url)
    database.write_now(lambda transaction: _due(transaction, size, now_us))


def _look_after(url: str) -> None:
    """What autovacuum does in weeks of firings. Poured in at once they would be counted by nobody, or while the tick is measured."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM (ANALYZE)")


def _fleet(transaction: Transaction, size: Size, now_us: int) -> None:
    transaction.repositories.add_repository(a_repository())
    transaction.limits.set_limit(Limit(Scope.GLOBAL, "", Measure.TRANSFERRING, PLACES))
    for number in range(size.hosts):
        host_id = f"host-{number:04d}"
        transaction.fleet.open_session(Session(host_id, "session", "boot", now_us + 24 * HOUR, now_us))
        disk = VmDisk("vda", 1 << 30, "qcow2", f"/pool-{number % POOLS}/vda.qcow2", False, "disk")
        vms = [
            Vm(f"vm-{each:05d}", f"vm-{each:05d}", host_id, "running", (disk,), now_us, True)
            for each in range(number, size.vms, size.hosts)
        ]
        transaction.fleet.replace_inventory(host_id, 1, vms)


def _due(transaction: Transaction, size: Size, now_us: int) -> None:
    for number in range(size.due):
        run = _run(number, now_us, history.policy_id(history.policy_of(number, size.history)))
        transaction.runs.add_run(replace(run, tenant="default", blocked_on=TOLD))


def _median_ms(once: Callable[[], None], rounds: int) -> float:
    once()
    times = []
    for _ in range(rounds):
        begun = time.process_time()
        once()
        times.append(1000 * (time.process_time() - begun))
    return round(statistics.median(times), 1)
