"""A year behind a controller: policies, and the runs, attempts, points and packs of their firings, each time the same. Used by `tick.py`.

Rows go in as the databases take them fastest, past the store's port: 10,000,000 of them by one call each would take an hour.
"""

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from seawall.controller.database.columns import dump
from seawall.controller.database.database import Database
from seawall.controller.database.tables import attempts, packs, restore_points, runs
from seawall.controller.forgetting.retention import Policy as Retention
from seawall.controller.policies.document import parse_policies
from seawall.controller.records.catalogue import PackState, PointDisk, PointState
from seawall.controller.records.policies import Policy
from seawall.controller.records.runs import (
    AttemptState,
    BackupSpec,
    Failure,
    FailureKind,
    FreezePolicy,
    ReadMethod,
    RunKind,
    RunState,
)
from seawall.controller.store.transaction import Transaction
from support.controller_records import HOUR, a_repository

DAY = 24 * HOUR
MINUTE = HOUR // 60
FAILS = 50
"""One run of so many fails, and makes no point."""
DOCUMENT = """
policy: {name}
repository: main
select: {{tags: [{name}]}}
schedule: {{cron: "0 {hour} * * *", zone: UTC, spread: 1h}}
rpo: 26h
"""
DISK = PointDisk("vda", 1 << 36, "qcow2", 4 << 30, 2 << 30, 1 << 30, ReadMethod.BITMAP, "", 123_456)
WHY = Failure("STORE_UNAVAILABLE", "The store did not answer.", "Look at the store.", FailureKind.TRANSIENT)
HOW = dump(BackupSpec(FreezePolicy.TRY, (), chosen=("freeze: try, as the controller does by itself",)))


@dataclass(frozen=True, slots=True)
class Size:
    """Each policy protects an equal part of the VMs and fires once a day; the last of the firings are a day and less ago."""

    vms: int = 20_000
    hosts: int = 1_000
    policies: int = 20
    firings: int = 50
    kept: int = 20
    """Points of a VM that are AVAILABLE; those of the firings before are DELETED."""
    packs: int = 5
    """Of each point that is AVAILABLE."""


@dataclass(frozen=True, slots=True)
class _Fired:
    """One run of the history, as its rows share it."""

    id: str
    attempt_id: str
    vm: int
    policy: int
    nominal_us: int
    failed: bool
    kept: bool
    seq: int

    @property
    def begun_us(self) -> int:
        return self.nominal_us + self.vm % 60 * MINUTE

    @property
    def ended_us(self) -> int:
        return self.begun_us + 10 * MINUTE


def vm_name(vm: int) -> str:
    return f"vm-{vm:05d}"


def policy_name(policy: int) -> str:
    return f"policy-{policy:02d}"


def policy_id(policy: int) -> str:
    return f"id-of-{policy_name(policy)}"


def policy_of(vm: int, size: Size) -> int:
    """The VMs of a host are of different policies."""
    return vm // size.hosts % size.policies


def fill_history(database: Database, size: Size, now_us: int) -> None:
    """Into a database that has the hosts, the VMs and the repository "repository" named "main"."""
    database.write_now(lambda transaction: _add_policies(transaction, size, now_us))
    database.write_sql(lambda connection: _fill(connection, size, now_us))


def _add_policies(transaction: Transaction, size: Size, now_us: int) -> None:
    for number in range(size.policies):
        transaction.policies.add_policy(_policy(number, now_us))


def _policy(number: int, now_us: int) -> Policy:
    (spec,) = parse_policies(DOCUMENT.format(name=policy_name(number), hour=number % 24), "history.yaml", now_us)
    spec = replace(spec, retention=Retention(keep_last=20, keep_weekly=4), verify_seconds=30 * 24 * 3600)
    return Policy(policy_id(number), 1, spec, a_repository().id, now_us - 400 * DAY, now_us, now_us)


def _fill(connection: sa.Connection, size: Size, now_us: int) -> None:
    for table, row_of in ((runs, _run), (attempts, _attempt), (restore_points, _point)):
        _bulk(connection, table, (row for fired in _fired(size, now_us) if (row := row_of(fired, size))))
    rng = random.Random(1)
    _bulk(connection, packs, (row for fired in _fired(size, now_us) for row in _packs(fired, size, rng)))


def _fired(size: Size, now_us: int) -> Iterator[_Fired]:
    """In the order of their times."""
    seq = 0
    of_policy: dict[int, list[int]] = {}
    for vm in range(size.vms):
        of_policy.setdefault(policy_of(vm, size), []).append(vm)
    for firing in range(size.firings):
        for policy in range(size.policies):
            since_us = now_us - (size.firings - firing) * DAY + policy * DAY // size.policies
            nominal_us = since_us // HOUR * HOUR
            for vm in of_policy.get(policy, ()):
                seq += 1
                run_id, attempt_id = _id(nominal_us, "8", seq), _id(nominal_us, "9", seq)
                kept = firing >= size.firings - size.kept
                yield _Fired(run_id, attempt_id, vm, policy, nominal_us, seq % FAILS == 0, kept, seq)


def _id(at_us: int, variant: str, number: int) -> str:
    """As a UUIDv7 that was made then."""
    digits = f"{at_us // 1000:012x}"
    return f"{digits[:8]}-{digits[8:]}-7000-{variant}000-{number:012x}"


def _run(fired: _Fired, size: Size) -> dict[str, Any]:
    return {
        "id": fired.id,
        "kind": RunKind.BACKUP.value,
        "vm_id": vm_name(fired.vm),
        "vm_name": vm_name(fired.vm),
        "repository_id": a_repository().id,
        "point_id": fired.id,
        "backup": HOW,
        "state": (RunState.FAILED if fired.failed else RunState.SUCCEEDED).value,
        "created_us": fired.nominal_us,
        "not_before_us": fired.begun_us,
        "deadline_us": fired.nominal_us + DAY,
        "current_attempt": fired.attempt_id,
        "attempt_count": 1,
        "tries": int(fired.failed),
        "ended_us": fired.ended_us,
        "failure": dump(WHY) if fired.failed else None,
        "version": 7,
        "policy_id": policy_id(fired.policy),
        "nominal_us": fired.nominal_us,
    }


def _attempt(fired: _Fired, size: Size) -> dict[str, Any]:
    return {
        "id": fired.attempt_id,
        "run_id": fired.id,
        "no": 1,
        "host_id": f"host-{fired.vm % size.hosts:04d}",
        "db_epoch": 1,
        "state": (AttemptState.FAILED if fired.failed else AttemptState.SUCCEEDED).value,
        "created_us": fired.begun_us,
        "session_id": "session",
        "root_hash": b"" if fired.failed else b"r" * 32,
        "refmap_hash": b"" if fired.failed else b"r" * 32,
        "failure": dump(WHY) if fired.failed else None,
        "ended_us": fired.ended_us,
        "version": 9,
    }


def _point(fired: _Fired, size: Size) -> dict[str, Any] | None:
    if fired.failed:
        return None
    return {
        "id": fired.id,
        "vm_id": vm_name(fired.vm),
        "vm_name": vm_name(fired.vm),
        "repository_id": a_repository().id,
        "attempt_id": fired.attempt_id,
        "host_id": f"host-{fired.vm % size.hosts:04d}",
        "state": (PointState.AVAILABLE if fired.kept else PointState.DELETED).value,
        "seq": fired.seq,
        "db_epoch": 1,
        "instant_us": fired.begun_us + MINUTE,
        "guest_frozen": 1,
        "disks": dump((DISK,)),
        "virtual_bytes": DISK.size_bytes,
        "manifest_hash": b"m" * 32,
        "created_us": fired.begun_us,
        "published_us": fired.ended_us,
        "tombstone": None if fired.kept else b"t" * 200,
        "deleted_us": 0 if fired.kept else fired.ended_us + size.kept * DAY,
        "verified_us": fired.ended_us + HOUR,
        "read_us": fired.ended_us + HOUR,
        "checked_us": fired.ended_us + HOUR,
        "policy_id": policy_id(fired.policy),
    }


def _packs(fired: _Fired, size: Size, rng: random.Random) -> Iterator[dict[str, Any]]:
    if not fired.kept or fired.failed:
        return
    for number in range(size.packs):
        yield {
            "repository_id": a_repository().id,
            "id": rng.randbytes(16),
            "host_id": f"host-{fired.vm % size.hosts:04d}",
            "attempt_id": fired.attempt_id,
            "state": PackState.STORED.value,
            "meta": int(not number),
            "size_bytes": 16 << 20,
            "slots": 1000,
            "verified_us": fired.ended_us + HOUR,
        }


def _bulk(connection: sa.Connection, table: sa.Table, rows: Iterable[dict[str, Any]]) -> None:
    """All rows have the keys of the first; columns that they do not name have their defaults."""
    rows = iter(rows)
    first = next(rows, None)
    if first is None:
        return
    names, values = list(first), _values(first, rows)
    driver: Any = connection.connection.driver_connection
    if connection.dialect.name == "sqlite":
        driver.execute("PRAGMA cache_size = -262144")  # KiB: the indexes that rows go into in no order stay in memory
        places = ", ".join("?" for _ in names)
        driver.executemany(f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({places})", values)
        return
    driver.execute("SET LOCAL statement_timeout = 0")
    with driver.cursor() as cursor, cursor.copy(f"COPY {table.name} ({', '.join(names)}) FROM STDIN") as copy:
        for row in values:
            copy.write_row(row)


def _values(first: dict[str, Any], rows: Iterator[dict[str, Any]]) -> Iterator[Sequence[Any]]:
    yield tuple(first.values())
    for row in rows:
        yield tuple(row.values())
