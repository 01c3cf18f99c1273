"""From a seed to the plan of a round: pure, the same for the same seed, and of no other round. A plan can be carried out by itself."""

import random
from dataclasses import replace

from .plan_words import (
    APPLICABLE,
    BOOT_MIB,
    Change,
    ChangeKind,
    DiskPlan,
    Event,
    EventKind,
    Fault,
    How,
    Operation,
    OperationKind,
    RoundPlan,
    Step,
    Victim,
    VmPlan,
)

TARGETS = ("vda", "vdb", "vdc", "vdd", "vde")
MOST_MIB = 224
SHORT_SECONDS, LONG_SECONDS = 6.0, 24.0
"""Most faults end before anybody gives up; some outlast every lease and deadline of the soak's laboratory."""

LONG_SHARE = 0.2
STEPS = (3, 4, 4, 5)
HARD_FOR_LIBVIRT = (Victim.QEMU, Victim.LIBVIRTD)


def draw_round(seed: str) -> RoundPlan:
    """`seed`: a word of its own for each round, "7/12" for the 13th of seed 7."""
    return _Drawing(seed).plan()


class _Drawing:
    """One plan in the making: it knows what its own steps have made of the VMs, as faults are undone when their step is over."""

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self._random = random.Random(f"soak {seed}")
        self._on: list[bool] = []
        self._disks: list[dict[str, DiskPlan]] = []
        self._points: list[int] = []
        self._snapshots: list[bool] = []
        self._detached: list[dict[str, DiskPlan]] = []

    def plan(self) -> RoundPlan:
        dice = self._random
        vms = tuple(self._vm(number) for number in range(dice.choice((1, 1, 2))))
        megabits = dice.choice((0, 24, 48, 96))
        steps = tuple(self._step(number) for number in range(dice.choice(STEPS)))
        return RoundPlan(self._seed, vms, steps, megabits)

    def _vm(self, number: int) -> VmPlan:
        dice = self._random
        targets = TARGETS[: dice.choice((1, 2, 2, 3))]
        disks = tuple(self._disk(target) for target in targets)
        self._on.append(True)
        self._points.append(0)
        self._snapshots.append(False)
        self._detached.append({})
        self._disks.append({disk.target: disk for disk in disks})
        name = f"soak-{self._seed.replace('/', '-')}-{'ab'[number]}"
        return VmPlan(name, disks, dice.choice((8, 24, 24, 60)))

    def _disk(self, target: str) -> DiskPlan:
        dice = self._random
        mib = dice.randrange(32, 161, 16) + (BOOT_MIB if target == "vda" else 0)
        kind, sectors = dice.choice(("qcow2", "qcow2", "raw")), dice.choice((0, 0, 1, 3, 7))
        return DiskPlan(target, kind, mib, sectors, f"{dice.getrandbits(60):x}", dice.choice((0, 400, 800, 1600)))

    # -- steps

    def _step(self, number: int) -> Step:
        if number == 0:
            first = Operation(OperationKind.BACKUP, 0, freeze=self._freeze())
            self._points[0] += 1
            return self._disturbed(first, ())
        vm = self._random.randrange(len(self._on))
        operation = self._operation(vm)
        changes = self._changes(operation)
        if operation.kind in (OperationKind.BACKUP, OperationKind.TOGETHER):
            for each in range(len(self._on)) if operation.kind is OperationKind.TOGETHER else (vm,):
                self._points[each] += 1
        return self._disturbed(operation, changes)

    def _freeze(self) -> str:
        return self._random.choice(("never", "try", "try", "require"))

    def _operation(self, vm: int) -> Operation:
        dice = self._random
        kinds = {OperationKind.BACKUP: 9, OperationKind.CANCEL: 1}
        if len(self._on) > 1:
            kinds[OperationKind.TOGETHER] = 3
        if self._points[vm] > 0:
            kinds[OperationKind.RESTORE] = 3
        if self._points[vm] > 1:
            kinds[OperationKind.DELETE] = 2
        kind = dice.choices(list(kinds), list(kinds.values()))[0]
        made = Operation(kind, vm, self._freeze(), int(dice.random() < 0.15), dice.random())
        if kind is OperationKind.RESTORE:
            to = dice.choice(("alpha", "beta", "beta"))
            made = replace(made, to=to, start=to == "beta" and dice.random() < 0.5)
        if kind is OperationKind.CANCEL:
            made = replace(made, after_seconds=round(dice.uniform(0, 5), 2))
        return made

    # -- changes in peace

    def _changes(self, operation: Operation) -> tuple[Change, ...]:
        """Before a backup most of the time, so that what they did is looked at by it."""
        together = operation.kind is OperationKind.TOGETHER
        made = []
        for vm in range(len(self._on)) if together else (operation.vm,):
            if not self._on[vm] and (together or self._random.random() < 0.7):
                made.append(self._power(vm, on=True))
        if operation.kind is OperationKind.BACKUP and self._random.random() < 0.6:
            made.append(self._change(operation.vm))
        return tuple(made)

    def _power(self, vm: int, on: bool) -> Change:
        self._on[vm] = on
        return Change(ChangeKind.POWER_ON if on else ChangeKind.POWER_OFF, vm)

    def _change(self, vm: int) -> Change:
        disks, dice = self._disks[vm], self._random
        kinds = [ChangeKind.GROW_DISK, ChangeKind.LOSE_CHECKPOINTS]
        free = [target for target in TARGETS if target not in disks]
        if free and not self._snapshots[vm]:
            kinds.append(ChangeKind.ADD_DISK)
        if len(disks) > 1 and not self._snapshots[vm]:
            kinds.append(ChangeKind.REMOVE_DISK)
        if self._on[vm]:
            kinds += [ChangeKind.POWER_OFF] + ([] if self._snapshots[vm] else [ChangeKind.SNAPSHOT])
        return self._changed(vm, dice.choice(kinds), free)

    def _changed(self, vm: int, kind: ChangeKind, free: list[str]) -> Change:
        disks, dice = self._disks[vm], self._random
        running = self._on[vm]
        if kind is ChangeKind.POWER_OFF:
            return self._power(vm, on=False)
        if kind is ChangeKind.SNAPSHOT:
            self._snapshots[vm] = True
        if kind is ChangeKind.ADD_DISK:
            known = [one for target, one in self._detached[vm].items() if target in free]
            disk = dice.choice(known) if known and dice.random() < 0.5 else self._disk(dice.choice(free))
            if disk not in known:
                self._detached[vm].pop(disk.target, None)
            disks[disk.target] = disk
            return Change(kind, vm, disk, while_running=running and dice.random() < 0.6)
        if kind is ChangeKind.REMOVE_DISK:
            target = dice.choice([one for one in disks if one != "vda"])
            self._detached[vm][target] = disks.pop(target)
            return Change(kind, vm, target=target, while_running=False)
        if kind is ChangeKind.GROW_DISK:
            target = dice.choice(list(disks))
            grown = min(disks[target].mib + dice.choice((1, 8, 24)), MOST_MIB)
            by = grown - disks[target].mib
            disks[target] = replace(disks[target], mib=grown)
            return Change(kind, vm, target=target, mib=by, while_running=running)
        return Change(kind, vm)

    # -- what happens meanwhile

    def _disturbed(self, operation: Operation, changes: tuple[Change, ...]) -> Step:
        faults, event = self._faults(operation), self._event(operation)
        if any(fault.victim in HARD_FOR_LIBVIRT for fault in faults):
            event = None  # the owner's commands go through libvirt to QEMU, too
        return Step(operation, changes, faults, event)

    def _faults(self, operation: Operation) -> tuple[Fault, ...]:
        dice = self._random
        possible = [one for one in Victim if one is not Victim.QEMU or self._qemu_is_at_work(operation)]
        victims = dice.sample(possible, dice.choice((0, 1, 1, 2, 2)))
        if set(HARD_FOR_LIBVIRT) <= set(victims):
            victims.remove(Victim.LIBVIRTD)  # a VM is started again through it
        return tuple(self._fault(victim) for victim in victims)

    def _fault(self, victim: Victim) -> Fault:
        dice = self._random
        longest = LONG_SECONDS if dice.random() < LONG_SHARE else SHORT_SECONDS
        how: How = dice.choice(APPLICABLE[victim])
        at_seconds, for_seconds = round(dice.triangular(0, 7, 2.5), 2), round(dice.uniform(0.3, longest), 2)
        forked_anew = victim is Victim.WORKER and how is How.KILLED  # there is nothing to bring back
        return Fault(victim, how, at_seconds, 0.0 if forked_anew else for_seconds)

    def _qemu_is_at_work(self, operation: Operation) -> bool:
        return self._on[operation.vm] and operation.kind not in (OperationKind.DELETE, OperationKind.RESTORE)

    def _event(self, operation: Operation) -> Event | None:
        dice = self._random
        happens = dice.random() < 0.25
        if (
            not happens
            or not self._on[operation.vm]
            or operation.kind not in (OperationKind.BACKUP, OperationKind.CANCEL)
        ):
            return None
        kinds = [EventKind.POWER_CUT, EventKind.SHUTDOWN, EventKind.SUSPEND, EventKind.GROW]
        target = dice.choice(list(self._disks[operation.vm]))
        return Event(dice.choice(kinds), round(dice.uniform(0, 7), 2), round(dice.uniform(0.3, 5), 2), target)
