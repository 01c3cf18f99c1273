"""What a policy will do: its firings, its VMs with what their next backups will probably read and take. Reads in one transaction.

Each firing to come is decided as it will be when it is due (`decision.fire`), if nothing but the policy's own waiting runs is in its way.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

from seawall.controller.admission.caps import Caps
from seawall.controller.admission.facts import FleetFacts
from seawall.controller.admission.mirror import MOST_HOSTS
from seawall.controller.admission.scopes import scopes_of
from seawall.controller.policies.compiled import Compiled, share_of
from seawall.controller.policies.decision import Decision, Standing, What, fire
from seawall.controller.policies.estimate import Load, estimated_seconds
from seawall.controller.policies.protection import Fleet
from seawall.controller.policies.tenancy import tenant_of_firing
from seawall.controller.records.catalogue import Point
from seawall.controller.records.fleet import Vm
from seawall.controller.records.settings import NO_SETTINGS
from seawall.controller.store.transaction import Transaction
from seawall.repository.clock import datetime_of
from seawall.repository.crypto.keys import DEFAULT_TENANT

NOBODY = ""
"""Stands for the VM of a policy that has none: its firings are shown all the same."""
_BECOMES = {What.MISS: "missed", What.SKIP: "skipped"}


@dataclass(frozen=True, slots=True)
class Firing:
    """`first_start`, `last_start`: of its VMs that begin; the nominal time where it has none; None where none begins.

    `nothing`: what becomes of it then, and why: "missed: No window of …".
    """

    nominal: datetime
    first_start: datetime | None
    last_start: datetime | None
    nothing: str = ""


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
    return [
        _firing(nominal, decisions)
        for nominal, decisions in islice(_decided(compiled, _ends(compiled, vms), now), count)
    ]


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
    starts = _next_starts(compiled, ids, now)
    return [
        Forecast(
            vm,
            starts.get(vm.id),
            own.get(vm.id, 0),
            *_amounts(vm, newest.get(vm.id), compiled.rules.spec.capture.exclude_disks or ()),
            -(-took.get(vm.id, 0) // 1_000_000),
            vm.id in newest,
            waiting.get(vm.id, ""),
            tenants[vm.id],
        )
        for vm in vms
    ]


def estimate(transaction: Transaction, compiled: Compiled, expected: Sequence[Forecast]) -> int:
    """Seconds from the first start of one firing to the last end; 0: of no VM is it known how long it takes. See `estimated_seconds`."""
    facts = FleetFacts(0, {host.id: host for host in transaction.fleet.hosts(limit=MOST_HOSTS)}, {}, {})
    first = min((each.next_start for each in expected if each.next_start is not None), default=None)
    loads = [_load(facts, compiled, each, first) for each in expected if each.seconds]
    return estimated_seconds(loads, Caps.of(transaction.limits.limits()))


def _load(facts: FleetFacts, compiled: Compiled, each: Forecast, first: datetime | None) -> Load:
    waits = each.next_start - first if each.next_start is not None and first is not None else timedelta()
    vm, repository_id = each.vm, compiled.policy.repository_id
    # The facts know no VMs: what is limited by storage or group is left out.
    where = scopes_of(
        facts, host_id=vm.host_id, tenant=each.tenant, repository_id=repository_id, vm_id=vm.id, restore=False
    )
    return Load(int(waits.total_seconds()), each.seconds, tuple(where))


def _decided(compiled: Compiled, vm_ids: Sequence[str], now: datetime) -> Iterator[tuple[datetime, list[Decision]]]:
    """Each firing to come with its decisions. A run that still waits for its start when the next one is due is in that one's way."""
    begun: dict[str, datetime] = {}
    for nominal in compiled.rules.calendar.firings(now):
        waiting = {vm_id for vm_id, start in begun.items() if start >= nominal}
        standings = [Standing(vm_id, compiled.policy.id if vm_id in waiting else None) for vm_id in vm_ids or (NOBODY,)]
        decisions = fire(compiled, nominal, standings, nominal, spread=compiled.rules.spread_from(nominal))
        begun |= {each.vm_id: each.start for each in decisions if each.start is not None}
        yield nominal, decisions


def _firing(nominal: datetime, decisions: Sequence[Decision]) -> Firing:
    starts = [nominal if each.vm_id == NOBODY else each.start for each in decisions if each.start is not None]
    if starts:
        return Firing(nominal, min(starts), max(starts))
    return Firing(nominal, None, None, f"{_BECOMES[decisions[0].what]}: {decisions[0].why}")


def _next_starts(compiled: Compiled, vm_ids: Sequence[str], now: datetime) -> dict[str, datetime]:
    """By the next firing that begins anything; empty where there is none."""
    nominal = compiled.rules.next_in_time(now) if compiled.policy.active else None
    if nominal is None:
        return {}
    spread = compiled.rules.spread_from(nominal)
    decisions = fire(compiled, nominal, [Standing(vm_id) for vm_id in vm_ids], nominal, spread=spread)
    return {each.vm_id: each.start for each in decisions if each.start is not None}


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
