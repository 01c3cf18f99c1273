"""Which VMs count as protected: those of which a policy backs something up. Of the others is told why, and apply warns of them."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from seawall.controller.database.sqlite import SqliteDatabase
from seawall.controller.policies.applying import plan_changes
from seawall.controller.policies.protection import Protection, protections, unprotected_page
from seawall.controller.records.fleet import Vm, VmDisk
from seawall.controller.records.settings import CaptureSettings, VmSettings
from seawall.repository.clock import microseconds_of
from support.controller_clock import ManualClock
from support.controller_records import NOW, a_vm
from support.policies import a_policy, add_policy, fleet_store
from support.policy_firing import FiringLeader

BEGIN_US = microseconds_of(datetime(2026, 11, 23, 12, tzinfo=UTC))
LEAVES_OUT = "capture: {exclude_disks: [vda]}"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteDatabase]:
    with fleet_store(tmp_path, ("vm-1",)) as opened:
        yield opened


def unprotected(store: SqliteDatabase) -> list[str]:
    return [vm.id for vm in store.read_now(lambda transaction: unprotected_page(transaction, "", "", 10))]


def protection(store: SqliteDatabase, vm_id: str = "vm-1") -> Protection:
    return store.read_now(lambda transaction: protections(transaction, transaction.fleet.vms_of([vm_id])))[vm_id]


def warnings(store: SqliteDatabase, text: str) -> str:
    spec = replace(a_policy(text).spec, name="planned")
    (change,) = store.read_now(lambda transaction: plan_changes(transaction, [spec], ManualClock(NOW)))
    return " ".join(change.warnings)


def say(store: SqliteDatabase, *excluded: str) -> None:
    """As `vm protect --exclude-disk` does."""
    settings = VmSettings(CaptureSettings(exclude_disks=excluded))
    store.write_now(lambda transaction: transaction.settings.save("vm-1", settings, NOW))


def runs_of_a_month(store: SqliteDatabase) -> int:
    clock = ManualClock(BEGIN_US)
    leader = FiringLeader(store, clock, clock)
    for _ in range(30):
        leader.advance(86_400)
        leader.look()
    return len(leader.runs())


def test_a_vm_of_which_nothing_is_backed_up_is_unprotected(store: SqliteDatabase) -> None:
    assert "Nothing is backed up of vm-1: they have no disk that can be, or all of theirs are left out." in warnings(
        store, LEAVES_OUT
    )
    add_policy(store, a_policy(LEAVES_OUT, fired_us=BEGIN_US))
    assert runs_of_a_month(store) == 0
    assert unprotected(store) == ["vm-1"]
    why = "Selected by policy nightly, but that leaves out all of its disks."
    assert protection(store) == Protection((), why)


def test_one_policy_that_backs_it_up_is_enough(store: SqliteDatabase) -> None:
    add_policy(store, a_policy(LEAVES_OUT))
    add_policy(store, a_policy(name="whole", policy_id="policy-2"))
    assert unprotected(store) == []
    assert protection(store) == Protection(("whole",))


@pytest.mark.parametrize(
    ("disks", "why"),
    [
        ((), "it has no disk"),
        ((VmDisk("sda", 1 << 20, "raw", "/a.iso", True, "cdrom"),), "none of its disks can be backed up"),
    ],
)
def test_a_vm_without_a_hard_disk_is_unprotected(store: SqliteDatabase, disks: Sequence[VmDisk], why: str) -> None:
    vm: Vm = a_vm("vm-1", name="vm-1", disks=disks)
    store.write_now(lambda transaction: transaction.fleet.replace_inventory("alpha", 2, [vm]))
    add_policy(store, a_policy())
    assert unprotected(store) == ["vm-1"]
    assert protection(store).in_vain == f"Selected by policy nightly, but {why}."
    assert "Nothing is backed up of vm-1" in warnings(store, "")


def test_what_was_said_of_the_vm_goes_before_what_its_policy_says(store: SqliteDatabase) -> None:
    """As in the run itself (settings/resolve.py)."""
    add_policy(store, a_policy(fired_us=BEGIN_US))
    say(store, "vda")
    assert unprotected(store) == ["vm-1"] and runs_of_a_month(store) == 0
    why = "Selected by policy nightly, but `seawall vm protect` leaves out all of its disks."
    assert protection(store).in_vain == why


def test_a_vm_that_is_to_be_backed_up_whole_is_whatever_its_policy_leaves_out(store: SqliteDatabase) -> None:
    add_policy(store, a_policy(LEAVES_OUT, fired_us=BEGIN_US))
    say(store)
    assert unprotected(store) == [] and runs_of_a_month(store) > 0
    assert "Nothing is backed up" not in warnings(store, LEAVES_OUT)


def test_whom_nobody_selects_or_wants_protected_has_no_reason(store: SqliteDatabase) -> None:
    assert unprotected(store) == ["vm-1"]
    assert store.read_now(lambda transaction: protections(transaction, transaction.fleet.vms_of(["vm-1"]))) == {}
    add_policy(store, a_policy(LEAVES_OUT))
    ignored = VmSettings(ignored=True, ignored_because="scratch")
    store.write_now(lambda transaction: transaction.settings.save("vm-1", ignored, NOW))
    assert unprotected(store) == []
    assert store.read_now(lambda transaction: protections(transaction, transaction.fleet.vms_of(["vm-1"]))) == {}
