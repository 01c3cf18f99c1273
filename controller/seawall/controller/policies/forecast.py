"""What a policy will do: its firings, its VMs with what their next backups will probably read and take. Reads in one transaction."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from seawall.controller.policies.compiled import Compiled, share_of
from seawall.controller.policies.protection import Fleet
from seawall.controller.policies.tenancy import tenant_of_firing
from seawall.controller.records.catalogue import Point
from seawall.controller.records.fleet import Vm
from seawall.controller.records.settings import NO_SETTINGS
from seawall.controller.store.transaction import Transaction
from seawall.repository.clock import datetime_of
from seawall.repository.crypto.keys import DEFAULT_TENANT


@dataclass(frozen=True, slots=True)
class Firing:
    """`first_start`, `last_start`: of its VMs; the nominal time where it has none."""

    nominal: datetime
    first_start: datetime
    last_start: datetime


@dataclass(frozen=True, slots=True)
class Forecast:
    """Of one VM. `seconds` 0: nobody knows. `measured`: from its last backup, else from the size of its disks."""

    vm: Vm
    next_start: datetime | None
    last_point_us: int
    read_bytes: int
    stored_bytes: int
    seconds: int
    measured: bool
    waiting: str
    tenant: str = DEFAULT_TENANT


def firings(compiled: Compiled, vms: Sequence[Vm], now: datetime, count: int) -> list[Firing]:
    """The next ones. A paused policy has none."""
    if not compiled.policy.active:
        return []
    ends = _ends(compiled, vms)
    found = []
    for nominal in islice(compiled.rules.calendar.firings(now), count):
        spread = compiled.rules.spread_from(nominal)
        starts = [compiled.start_at(vm_id, nominal, spread) for vm_id in ends] or [nominal]
        found.append(Firing(nominal, min(starts), max(starts)))
    return found


def forecasts(transaction: Transaction, compiled: Compiled, fleet: Fleet, now: datetime) -> list[Forecast]:
    """Of all VMs that it selects now, by name."""
    vms = sorted(fleet.of(compiled.rules), key=lambda vm: (vm.name, vm.id))
    ids = [vm.id for vm in vms]
    own = transaction.policies.newest_us(compiled.policy.id)
    settings = transaction.settings.of_vms(ids)
    tenants = {vm_id: tenant_of_firing(settings.get(vm_id, NO_SETTINGS), compiled.rules.spec) for vm_id in ids}
    # Of another tenant's point nothing is taken over: the next backup reads and stores everything, as the first one did.
    found = transaction.points.newest_of_vms(ids)
    newest = {vm_id: point for vm_id, point in found.items() if point.tenant == tenants[vm_id]}
    took = transaction.policies.durations_us(ids, 0)
    waiting = _waiting(transaction, compiled, ids)
    nominal = compiled.rules.calendar.after(now) if compiled.policy.active else None
    spread = compiled.rules.spread_from(nominal) if nominal else None
    return [
        Forecast(
            vm,
            compiled.start_at(vm.id, nominal, spread) if nominal and spread is not None else None,
            own.get(vm.id, 0),
            *_amounts(vm, newest.get(vm.id), compiled.rules.spec.capture.exclude_disks or ()),
            took.get(vm.id, 0) // 1_000_000,
            vm.id in newest,
            waiting.get(vm.id, ""),
            tenants[vm.id],
        )
        for vm in vms
    ]


def _ends(compiled: Compiled, vms: Sequence[Vm]) -> list[str]:
    """Ids of the VMs that a spread puts first and last."""
    by_share = sorted((share_of(compiled.policy.id, vm.id), vm.id) for vm in vms)
    return [by_share[0][1], by_share[-1][1]] if by_share else []


def _amounts(vm: Vm, newest: Point | None, excluded: Sequence[str]) -> tuple[int, int]:
    """(bytes read, bytes stored)."""
    if newest is not None:
        return sum(disk.read_bytes for disk in newest.disks), sum(disk.stored_bytes for disk in newest.disks)
    return sum(disk.size_bytes for disk in vm.disks_without(excluded)), 0


def _waiting(transaction: Transaction, compiled: Compiled, vm_ids: Sequence[str]) -> dict[str, str]:
    due = {each.vm_id: each for each in transaction.policies.due(compiled.policy.id)}
    opened = transaction.policies.in_the_way(
        compiled.policy.id, [vm_id for vm_id in vm_ids if vm_id in due], compiled.policy.repository_id
    )
    return {
        vm_id: f"due since {datetime_of(each.nominal_us):%Y-%m-%d %H:%M} UTC; run {opened[vm_id][0]} backs the VM up now"
        if vm_id in opened
        else f"due since {datetime_of(each.nominal_us):%Y-%m-%d %H:%M} UTC"
        for vm_id, each in due.items()
    }
