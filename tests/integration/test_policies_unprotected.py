"""How many VMs no policy backs up, as it is kept in memory: whatever happened between two looks, it is what the database says."""

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from seawall.controller.admission.mirror import WHOLE_US
from seawall.controller.database.database import Database
from seawall.controller.policies.document import parse_policies
from seawall.controller.policies.protection import unprotected_page
from seawall.controller.policies.unprotected import UnprotectedVms
from seawall.controller.records.fleet import Vm
from seawall.controller.records.policies import Policy
from seawall.controller.records.settings import NO_SETTINGS, CaptureSettings, VmSettings
from seawall.controller.store.transaction import Transaction
from support.controller_databases import ENGINES, open_engine
from support.controller_records import NOW, SECOND, a_repository, a_vm
from support.enrolled_hosts import add_hosts

HOSTS = ("alpha", "beta", "gamma")
VMS = [f"vm-{number}" for number in range(12)]
SELECTIONS = ("tags: [gold]", "tags: [silver]", "hosts: [beta]", 'name_regex: "vm-1.*"')
SETTINGS = (NO_SETTINGS, VmSettings(CaptureSettings(exclude_disks=("vda", "vdb"))), VmSettings(ignored=True))
STEPS = 60
DOCUMENT = """
policy: {name}
repository: main
select: {{{select}}}
schedule: {{every: 4h}}
"""


@pytest.fixture(params=ENGINES)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    with open_engine(request.param, request, tmp_path) as opened:
        add_hosts(opened, *HOSTS)
        opened.write_now(lambda transaction: transaction.repositories.add_repository(a_repository()))
        yield opened


@pytest.mark.parametrize("seed", range(3))
def test_a_count_that_was_kept_is_what_is_listed(database: Database, seed: int) -> None:
    fleet, kept = _Fleet(random.Random(seed)), UnprotectedVms()
    seen = set()
    for _ in range(STEPS):
        for _ in range(fleet.rng.randrange(3)):
            database.write_now(fleet.step)
        listed = database.read_now(lambda transaction: unprotected_page(transaction, "", "", 100))
        assert database.read_now(lambda transaction: kept.count(transaction, fleet.now_us)) == len(listed)
        seen.add(len(listed))
    assert len(seen) > 5, "hardly anything changed: the steps prove little"


def test_only_what_changed_is_judged_again(database: Database) -> None:
    fleet, kept = _Fleet(random.Random(0)), UnprotectedVms()
    for host in HOSTS * 10:
        database.write_now(lambda transaction, host=host: fleet.report(transaction, host))  # type: ignore[misc]

    def judged(after_us: int = 0) -> set[str]:
        def look(transaction: Transaction) -> set[str]:
            watched = _Watched(transaction)
            kept.count(watched, fleet.now_us + after_us)
            return watched.vm_ids

        return database.read_now(look)

    first = judged()
    assert len(first) > 3
    assert judged() == set()
    database.write_now(lambda transaction: transaction.settings.save("vm-3", SETTINGS[1], NOW))
    assert judged() == {"vm-3"}
    database.write_now(lambda transaction: fleet.policy(transaction, SELECTIONS[0]))
    assert judged() == first
    assert judged(WHOLE_US - SECOND) == set()
    assert judged(WHOLE_US + SECOND) == first, "the database may be an older one by then"


class _Watched:
    """A transaction that knows which VMs were looked at."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.vm_ids: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        return self if name == "fleet" else getattr(self._inner, name, None) or getattr(self._inner.fleet, name)

    def vms_of(self, vm_ids: list[str]) -> Any:
        self.vm_ids |= set(vm_ids)
        return self._inner.fleet.vms_of(vm_ids)


class _Fleet:
    """Something happens: each step one transaction of things that agents and operators do."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.now_us = NOW
        self._number = 0

    def step(self, transaction: Transaction) -> None:
        self.now_us += self.rng.randrange(60 * SECOND)
        self.rng.choice((self.report, self.report, self.report, self.say, self.policy, self.end_policy))(transaction)

    def report(self, transaction: Transaction, host: str = "") -> None:
        self._number += 1
        vms = [self._vm(vm_id) for vm_id in self.rng.sample(VMS, self.rng.randrange(8))]
        transaction.fleet.replace_inventory(host or self.rng.choice(HOSTS), self._number, vms)

    def _vm(self, vm_id: str) -> Vm:
        tags = self.rng.choice(((), ("gold",), ("silver", "db")))
        vm = a_vm(vm_id, name=vm_id, tags=tags)
        return replace(vm, disks=()) if self.rng.random() < 0.2 else vm

    def say(self, transaction: Transaction) -> None:
        vms = transaction.fleet.vms()
        if vms:
            transaction.settings.save(self.rng.choice(vms).id, self.rng.choice(SETTINGS), self.now_us)

    def policy(self, transaction: Transaction, select: str = "") -> None:
        """A new one, or another revision."""
        name = self.rng.choice(("first", "second"))
        text = DOCUMENT.format(name=name, select=select or self.rng.choice(SELECTIONS))
        (spec,) = parse_policies(text, "test.yaml", NOW)
        known = transaction.policies.policy_named(name)
        if known is None:
            transaction.policies.add_policy(Policy(name, 1, spec, a_repository().id, NOW, NOW, NOW))
        else:
            transaction.policies.save_policy(
                known, replace(known, spec=spec, revision=known.revision + 1, deleted_us=0)
            )

    def end_policy(self, transaction: Transaction) -> None:
        for known in transaction.policies.policies(limit=1):
            transaction.policies.save_policy(known, replace(known, deleted_us=NOW))
