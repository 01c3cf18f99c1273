"""Whose a VM is: the tenant under whose prefix and keys its points lie. What `vm protect` says of the VM goes before what policies say.

A run keeps the tenant that it was made with.
"""

from collections.abc import Iterator, Sequence

from seawall.controller.errors import FailedPrecondition
from seawall.controller.policies.compiled import CompiledSpec
from seawall.controller.policies.protection import Fleet, policies_of
from seawall.controller.records.fleet import Vm
from seawall.controller.records.policies import Policy, PolicySpec
from seawall.controller.records.settings import NO_SETTINGS, VmSettings
from seawall.controller.store.transaction import Transaction
from seawall.repository.crypto.keys import DEFAULT_TENANT

MOST_NAMED = 5


def tenant_of_firing(settings: VmSettings, spec: PolicySpec) -> str:
    """Of a run that the policy begins: two policies of one VM may well differ."""
    return settings.tenant or spec.tenant or DEFAULT_TENANT


def tenants_by_hand(transaction: Transaction, vms: Sequence[Vm], repository_id: str) -> dict[str, str]:
    """VM id -> the tenant of a backup that somebody orders into this repository.

    The VM's own, else that of the policies that back it up into this repository, else into any. Raises
    FailedPrecondition/SEVERAL_TENANTS where these do not agree: keys of the wrong tenant are not for us to choose.
    """
    settings = transaction.settings.of_vms([vm.id for vm in vms])
    policies = policies_of(transaction, vms)
    return {
        vm.id: settings.get(vm.id, NO_SETTINGS).tenant or _agreed(vm, policies.get(vm.id, ()), repository_id)
        for vm in vms
    }


def _agreed(vm: Vm, policies: Sequence[Policy], repository_id: str) -> str:
    here = [policy for policy in policies if policy.repository_id == repository_id]
    said = {policy.name: policy.spec.tenant or DEFAULT_TENANT for policy in here or policies}
    tenants = sorted(set(said.values()))
    if len(tenants) > 1:
        named = ", ".join(f"{name} (tenant {tenant})" for name, tenant in sorted(said.items()))
        raise FailedPrecondition(
            "SEVERAL_TENANTS",
            f"VM {vm.name} is protected by policies of several tenants: {named}. Say whose it is: "
            f"seawall vm protect {vm.name} --tenant {tenants[0]}",
        )
    return tenants[0] if tenants else DEFAULT_TENANT


def tenants_named(transaction: Transaction) -> frozenset[str]:
    """By policies and by VMs' own settings, and the one of all others."""
    policies = {policy.spec.tenant for policy in transaction.policies.policies()}
    settings = {each.settings.tenant for each in transaction.known.settings()}
    return frozenset((policies | settings | {DEFAULT_TENANT}) - {""})


def tenant_doubts(
    transaction: Transaction, rules: CompiledSpec, fleet: Fleet, protected: Sequence[Vm]
) -> Iterator[str]:
    """Sentences: VMs that say nothing themselves, and that a policy of another tenant protects too. `protected`: those of this one."""
    mine = rules.spec.tenant or DEFAULT_TENANT
    others = [
        each
        for each in transaction.policies.policies()
        if each.active and each.name != rules.spec.name and (each.spec.tenant or DEFAULT_TENANT) != mine
    ]
    if not others:
        return
    settings = transaction.settings.of_vms([vm.id for vm in protected])
    open_ones = {vm.id: vm.name for vm in protected if not settings.get(vm.id, NO_SETTINGS).tenant}
    for other in others:
        both = sorted(open_ones[vm.id] for vm in fleet.of(CompiledSpec(other.spec)) if vm.id in open_ones)
        if both:
            more = f" and {len(both) - MOST_NAMED} more" if len(both) > MOST_NAMED else ""
            theirs = other.spec.tenant or DEFAULT_TENANT
            vms = f"{', '.join(both[:MOST_NAMED])}{more}"
            yield (
                f"Policy {other.name} of tenant {theirs} protects {vms} too. Each policy's points stay with its "
                f"own tenant ({mine} here) and share nothing with the other's; `seawall vm protect VM --tenant NAME` settles it for both."
            )
