"""How many VMs no policy backs up, as it is kept in memory: whatever happened between two looks, it is what the database says."""

import random
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from seawall.controller.admission.mirror import OVERLAP_CHANGES, WHOLE_US
from seawall.controller.database.database import Database
from seawall.controller.database.sqlite import SqliteDatabase
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
from support.sqlite_template import new_sqlite

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


def _hardly_touched(transaction: Transaction) -> None:
    """The numbers of changes are smaller."""
    _revise(transaction, SELECTIONS[0], NOW)


def _led_anew(transaction: Transaction) -> None:
    """As many changes as were lost, but others."""
    assert transaction.leadership.acquire("another", NOW, SECOND)
    _change(transaction, "gold")


def _fenced(transaction: Transaction) -> None:
    transaction.leadership.raise_db_epoch()
    _change(transaction, "gold")


def _other_policy(transaction: Transaction) -> None:
    _change(transaction, "none", select="all: true", changed_us=NOW + SECOND)


@pytest.mark.parametrize("since", [_hardly_touched, _led_anew, _fenced, _other_policy])
def test_an_older_copy_of_the_database_is_judged_anew(tmp_path: Path, since: Callable[[Transaction], None]) -> None:
    kept = UnprotectedVms()

    def count(transaction: Transaction) -> tuple[int, int]:
        return kept.count(transaction, NOW), len(unprotected_page(transaction, "", "", 100))

    with closing(_copy(tmp_path / "before")) as before:
        before.write_now(lambda transaction: _change(transaction, "none"))
        assert before.read_now(count) == (1, 1)
    with closing(_copy(tmp_path / "older")) as older:
        older.write_now(since)
        assert older.read_now(count) == (0, 0)


def _copy(directory: Path) -> Database:
    """One like the other: a VM that a policy protects by its tag."""
    directory.mkdir()
    database = SqliteDatabase(new_sqlite(directory / "controller.sqlite"))
    add_hosts(database, *HOSTS)

    def fill(transaction: Transaction) -> None:
        transaction.repositories.add_repository(a_repository())
        (spec,) = parse_policies(DOCUMENT.format(name="first", select=SELECTIONS[0]), "test.yaml", NOW)
        transaction.policies.add_policy(Policy("first", 1, spec, a_repository().id, NOW, NOW, NOW))
        _report(transaction, "gold")

    database.write_now(fill)
    return database


def _change(transaction: Transaction, tag: str, select: str = SELECTIONS[0], changed_us: int = NOW) -> None:
    """Another revision of the policy, and more reports than are looked at again; the VM has the tag at last."""
    _revise(transaction, select, changed_us)
    for number in range(2 * OVERLAP_CHANGES):
        _report(transaction, f"tag-{number}")
    _report(transaction, tag)


def _revise(transaction: Transaction, select: str, changed_us: int) -> None:
    (known,) = transaction.policies.policies()
    (spec,) = parse_policies(DOCUMENT.format(name="first", select=select), "test.yaml", NOW)
    transaction.policies.save_policy(known, replace(known, spec=spec, revision=2, changed_us=changed_us))


def _report(transaction: Transaction, tag: str) -> None:
    transaction.fleet.replace_inventory("alpha", 1, [a_vm("vm-1", name="vm-1", tags=(tag,))])


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
        reports = (self.report, self.report, self.report)
        self.rng.choice((*reports, self.say, self.policy, self.end_policy, self.rename))(transaction)

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

    def rename(self, transaction: Transaction) -> None:
        """A host takes the name that a policy selects, or loses it."""
        transaction.fleet.describe_host(self.rng.choice(HOSTS), self.rng.choice(("beta", "delta")), "1", "1")

    def end_policy(self, transaction: Transaction) -> None:
        for known in transaction.policies.policies(limit=1):
            transaction.policies.save_policy(known, replace(known, deleted_us=NOW))
