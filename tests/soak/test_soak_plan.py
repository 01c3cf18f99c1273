"""The plan of a round: from its seed alone, possible to carry out, and over many seeds everything that there is to do."""

from collections import Counter

import pytest

from .drawing import draw_round
from .plan_words import APPLICABLE, BOOT_MIB, ChangeKind, EventKind, How, OperationKind, RoundPlan, Step, Victim
from .program import seeds_of

MANY = [draw_round(f"{seed}/{number}") for seed in range(20) for number in range(20)]


def test_a_seed_is_one_plan_and_another_seed_another() -> None:
    assert draw_round("3/4") == draw_round("3/4")
    assert len({str(plan.lines()[1:]) for plan in MANY}) == len(MANY)


def test_a_round_alone_is_the_round_among_others() -> None:
    assert seeds_of("7", 3) == ["7/0", "7/1", "7/2"]
    assert seeds_of("7/2", 3) == ["7/2"]


@pytest.mark.parametrize("plan", MANY[:40], ids=lambda plan: plan.seed)
def test_it_begins_with_a_point_and_names_what_there_is(plan: RoundPlan) -> None:
    assert plan.steps[0].operation.kind is OperationKind.BACKUP and not plan.steps[0].changes
    assert all(0 <= step.operation.vm < len(plan.vms) for step in plan.steps)
    ids = [disk.disk_id for vm in plan.vms for disk in vm.disks]
    assert len(set(ids)) == len(ids)


def test_changes_follow_from_each_other() -> None:
    """No disk is added twice or taken away that is not there; no VM is stopped that is off, or backed up together with another."""
    for plan in MANY:
        disks = [{disk.target for disk in vm.disks} for vm in plan.vms]
        on = [True for _ in plan.vms]
        for step in plan.steps:
            _follow(step, disks, on)


def _follow(step: Step, disks: list[set[str]], on: list[bool]) -> None:
    for change in step.changes:
        mine = disks[change.vm]
        if change.kind is ChangeKind.ADD_DISK:
            assert change.disk is not None and change.disk.target not in mine
            assert on[change.vm] or not change.while_running
            mine.add(change.disk.target)
        if change.kind is ChangeKind.REMOVE_DISK:
            assert change.target != "vda"
            mine.remove(change.target)
        if change.kind is ChangeKind.GROW_DISK:
            assert change.target in mine and change.mib >= 0
        if change.kind is ChangeKind.SNAPSHOT:
            assert on[change.vm]
        if change.kind in (ChangeKind.POWER_ON, ChangeKind.POWER_OFF):
            assert on[change.vm] is (change.kind is ChangeKind.POWER_OFF)
            on[change.vm] = not on[change.vm]
    if step.operation.kind is OperationKind.TOGETHER:
        assert all(on)
    if step.event is not None:
        assert on[step.operation.vm] and step.event.target in disks[step.operation.vm]


def test_faults_leave_each_other_room() -> None:
    for step in [step for plan in MANY for step in plan.steps]:
        victims = [fault.victim for fault in step.faults]
        assert len(set(victims)) == len(victims)
        assert not {Victim.QEMU, Victim.LIBVIRTD} <= set(victims), "a killed VM is started through libvirtd"
        assert not (step.event and {Victim.QEMU, Victim.LIBVIRTD} & set(victims))
        for fault in step.faults:
            assert fault.how in APPLICABLE[fault.victim]


def test_everything_happens_somewhere() -> None:
    steps = [step for plan in MANY for step in plan.steps]
    faults = Counter((fault.victim, fault.how) for step in steps for fault in step.faults)
    assert set(faults) == {(victim, how) for victim, hows in APPLICABLE.items() for how in hows}
    assert {how for _, how in faults} == set(How) and {victim for victim, _ in faults} == set(Victim)
    assert {step.operation.kind for step in steps} == set(OperationKind)
    assert {change.kind for step in steps for change in step.changes} == set(ChangeKind)
    assert {step.event.kind for step in steps if step.event} == set(EventKind)
    assert {disk.format for plan in MANY for vm in plan.vms for disk in vm.disks} == {"qcow2", "raw"}


def test_disks_are_small_and_the_first_one_boots() -> None:
    for vm in [vm for plan in MANY for vm in plan.vms]:
        assert vm.disks[0].boots and vm.disks[0].mib > BOOT_MIB
        assert all(32 <= disk.mib <= 256 for disk in vm.disks)
