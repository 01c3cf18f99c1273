"""How stored policies stand: when each is due next, how many VMs and points it has, where its RPO is broken. Reads in one transaction."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from seawall.controller.policies.compiled import CompiledSpec
from seawall.controller.policies.lateness import asked_since_us, is_late
from seawall.controller.policies.protection import Fleet, fleet_of
from seawall.controller.records.policies import Policy
from seawall.controller.store.transaction import Transaction
from seawall.repository.clock import datetime_of

WEEK_US = 7 * 86_400 * 1_000_000


@dataclass(frozen=True, slots=True)
class PolicyStanding:
    """`rpo_breached`: VMs that are late for the policy (`is_late`); 0 without an RPO."""

    policy: Policy
    next_nominal: datetime | None
    vm_count: int
    point_count: int
    rpo_breached: int
    hooks_failed: int = 0
    """Calls that failed for good within a week."""
    verify_late: int = 0
    """Points that were not read back for longer than the policy allows; 0 where it says nothing."""


def standings(transaction: Transaction, policies: Sequence[Policy], now_us: int) -> list[PolicyStanding]:
    """One for each, in their order."""
    fleet, failed = fleet_of(transaction), transaction.hooks.failed(now_us - WEEK_US)
    return [_standing(transaction, policy, fleet, now_us, failed.get(policy.id, 0)) for policy in policies]


def _standing(transaction: Transaction, policy: Policy, fleet: Fleet, now_us: int, failed: int) -> PolicyStanding:
    rules = CompiledSpec(policy.spec)
    vms = fleet.of(rules)
    return PolicyStanding(
        policy,
        _next_nominal(rules, now_us) if policy.active else None,
        len(vms),
        transaction.policies.count_points(policy.id),
        _late_vms(transaction, policy, [vm.id for vm in vms], now_us),
        failed,
        late_points(transaction, policy, now_us),
    )


def _late_vms(transaction: Transaction, policy: Policy, vm_ids: Sequence[str], now_us: int) -> int:
    if not policy.spec.rpo_seconds:
        return 0
    newest_us = transaction.policies.newest_us(policy.id)
    asked_us = asked_since_us(transaction, policy.id, newest_us, vm_ids)
    return sum(
        is_late(newest_us.get(each, 0), asked_us.get(each, now_us), policy.spec.rpo_seconds, now_us) for each in vm_ids
    )


def late_points(transaction: Transaction, policy: Policy, now_us: int) -> int:
    if not policy.spec.verify_seconds:
        return 0
    return transaction.points.count_unread(policy.id, now_us - policy.spec.verify_seconds * 1_000_000)


def _next_nominal(rules: CompiledSpec, now_us: int) -> datetime | None:
    """None: never any more, or its zone is not known here since an upgrade. It is listed all the same, so that it can be mended."""
    try:
        return rules.calendar.after(datetime_of(now_us))
    except (ValueError, LookupError):
        return None
