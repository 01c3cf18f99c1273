"""What an export knows, back into the database: hosts and VMs before the points, all that decides and begins after them.

Each step leaves alone what is there already, so all of it may be repeated. In transactions of the caller.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from seawall.controller.records.known import Export, KnownHost, Settled
from seawall.controller.records.limits import Limit, Measure, Scope
from seawall.controller.records.policies import Policy
from seawall.controller.records.settings import NO_SETTINGS
from seawall.controller.store.transaction import Transaction

NOBODY_ID = "00000000-0000-4000-8000-000000000000"
UNKNOWN_HOST = KnownHost(NOBODY_ID, "unknown (before the recovery)", revoked=True)
"""Took the points of which no export says who did."""
_BEFORE = " (before the recovery)"


@dataclass(slots=True)
class PutBack:
    """What was, by name, and what could not be and why."""

    hosts: list[str] = field(default_factory=list)
    must_join: list[str] = field(default_factory=list)
    vms: int = 0
    policies: list[str] = field(default_factory=list)
    policies_waiting: dict[str, str] = field(default_factory=dict)
    """Policy -> URL of the repository that it needs and that is not recovered yet."""
    limits: int = 0
    settings: int = 0
    holds: int = 0
    users: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def put_back_hosts(transaction: Transaction, export: Export, cluster_id: str, done: PutBack) -> None:
    """Hosts of this very cluster are who they were, certificate and all. Of another one their names and their VMs are known, and they join
    again: whoever held a certificate of that cluster has nothing that proves it here.
    """
    same = export.settled.cluster_id == cluster_id
    for host in export.settled.hosts:
        known = host if same else replace(host, name=f"{host.name}{_BEFORE}", revoked=True)
        transaction.known.add_host(known)
        done.hosts.append(host.name)
        if not same and not host.revoked:
            done.must_join.append(host.name)
    for vm in export.vms:
        owned = replace(vm, host_id=host_or_nobody(transaction, vm.host_id))
        done.vms += transaction.known.add_vm(owned)


def host_or_nobody(transaction: Transaction, host_id: str) -> str:
    """The host of this id where there is one, else that which stands for those of which no export says anything."""
    if host_id and transaction.fleet.host(host_id):
        return host_id
    transaction.known.add_host(UNKNOWN_HOST)
    return NOBODY_ID


def put_back_policies(transaction: Transaction, settled: Settled, now_us: int, done: PutBack) -> None:
    """Their calendars begin now: what was due meanwhile is not caught up, as the points that would say so may have been lost."""
    places = {each.id: each.url for each in settled.repositories}
    for known in settled.policies:
        if transaction.policies.policy(known.id) is not None:
            done.policies.append(known.spec.name)
        elif transaction.repositories.repository(known.repository_id) is None:
            done.policies_waiting[known.spec.name] = places.get(known.repository_id, known.repository_id)
        elif transaction.policies.policy_named(known.spec.name) is not None:
            done.left_out.append(f"policy {known.spec.name}: there is another one of that name by now")
        else:
            transaction.policies.add_policy(
                Policy(
                    known.id,
                    known.revision,
                    known.spec,
                    known.repository_id,
                    known.created_us,
                    known.changed_us,
                    now_us,
                    known.deleted_us,
                )
            )
            done.policies.append(known.spec.name)


def put_back_decisions(transaction: Transaction, settled: Settled, now_us: int, done: PutBack) -> None:
    """Limits, groups, settings of VMs, holds. What an operator set since stays."""
    here = {(limit.scope, limit.key, limit.measure) for limit in transaction.limits.limits()}
    for limit in settled.limits:
        wanted = Limit(Scope(limit.scope), limit.key, Measure(limit.measure), limit.value)
        if (wanted.scope, wanted.key, wanted.measure) not in here:
            transaction.limits.set_limit(wanted)
        done.limits += 1
    _put_back_groups(transaction, settled, done)
    for known in settled.settings:
        if transaction.fleet.vm(known.vm_id) is None:
            done.left_out.append(f"settings of VM {known.vm_id}: no export names the VM")
            continue
        if transaction.settings.of_vm(known.vm_id) == NO_SETTINGS:
            transaction.settings.save(known.vm_id, known.settings, now_us)
        done.settings += 1
    _put_back_holds(transaction, settled, done)


def _put_back_groups(transaction: Transaction, settled: Settled, done: PutBack) -> None:
    for label, vm_ids in _groups((each.label, each.vm_id) for each in settled.apart).items():
        there = [vm_id for vm_id in vm_ids if transaction.fleet.vm(vm_id) is not None]
        transaction.limits.keep_apart(label, there)
        if len(there) < len(vm_ids):
            done.left_out.append(f"group {label}: {len(vm_ids) - len(there)} of its VMs, which no export names")


def _put_back_holds(transaction: Transaction, settled: Settled, done: PutBack) -> None:
    """Of points in other repositories too, once those are recovered."""
    held = transaction.policies.holds_of([hold.point_id for hold in settled.holds])
    for hold in settled.holds:
        if transaction.points.point(hold.point_id) is None:
            done.left_out.append(
                f"the hold of point {hold.point_id}: the point is not in this repository, or it is gone"
            )
            continue
        if hold.point_id not in held:
            transaction.policies.hold(hold)
        done.holds += 1


def _groups(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for label, vm_id in pairs:
        found.setdefault(label, []).append(vm_id)
    return found
