"""Policies as short as tests like them, and a store with hosts and VMs that they select."""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

from seawall.controller.database.sqlite import SqliteDatabase
from seawall.controller.policies.document import parse_policies
from seawall.controller.records.policies import Policy
from seawall.controller.store.transaction import Store
from support.controller_records import NOW, a_repository, a_vm
from support.enrolled_hosts import add_hosts
from support.sqlite_template import new_sqlite

NIGHTLY = """
policy: {name}
repository: main
select: {{all: true}}
schedule: {{cron: "0 3 * * *", zone: UTC, spread: 0}}
"""


def a_policy(text: str = "", *, policy_id: str = "policy-1", name: str = "nightly", **fields: object) -> Policy:
    """`text` is added to a nightly one that protects everything."""
    (spec,) = parse_policies(NIGHTLY.format(name=name) + text, "test.yaml", NOW)
    return replace(Policy(policy_id, 1, spec, "repository", NOW, NOW, NOW), **fields)  # type: ignore[arg-type]


def add_fleet(database: SqliteDatabase, vm_ids: Sequence[str] = ("vm-1", "vm-2")) -> None:
    """Host alpha with the VMs, and a repository."""
    add_hosts(database, "alpha")
    database.write_now(lambda transaction: transaction.repositories.add_repository(a_repository()))
    vms = [a_vm(vm_id, name=vm_id) for vm_id in vm_ids]
    database.write_now(lambda transaction: transaction.fleet.replace_inventory("alpha", 1, vms))


@contextmanager
def fleet_store(folder: Path, vm_ids: Sequence[str] = ("vm-1", "vm-2")) -> Iterator[SqliteDatabase]:
    with closing(SqliteDatabase(new_sqlite(folder / "controller.sqlite"))) as database:
        add_fleet(database, vm_ids)
        yield database


def add_policy(store: Store, policy: Policy) -> Policy:
    store.write_now(lambda transaction: transaction.policies.add_policy(policy))
    return policy
