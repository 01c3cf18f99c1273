"""What a run takes a place of: the things whose limits count for it. Pure."""

from collections import Counter
from collections.abc import Iterator

from seawall.controller.admission.facts import FleetFacts, Occupied
from seawall.controller.records.limits import Measure, Scope, ScopeKey

GLOBAL = ScopeKey(Scope.GLOBAL, "")


def scopes_of(
    facts: FleetFacts, *, host_id: str, tenant: str, repository_id: str, vm_id: str, restore: bool
) -> Iterator[ScopeKey]:
    """Most telling first: that is what a run that waits is told. A restore reads no storage of a VM and stays apart from nobody."""
    yield ScopeKey(Scope.HOST, host_id)
    vm = None if restore else facts.vms.get(vm_id)
    if vm is not None:
        yield from (ScopeKey(Scope.LABEL, label) for label in vm.labels)
        yield from (ScopeKey(Scope.STORAGE, storage) for storage in vm.storages)
    yield ScopeKey(Scope.REPOSITORY, repository_id)
    host = facts.hosts.get(host_id)
    if host is not None and host.site:
        yield ScopeKey(Scope.SITE, host.site)
    yield ScopeKey(Scope.TENANT, tenant)
    yield GLOBAL


def scopes_of_live(facts: FleetFacts, each: Occupied) -> tuple[ScopeKey, ...]:
    return tuple(
        scopes_of(
            facts,
            host_id=each.host_id,
            tenant=each.tenant,
            repository_id=each.repository_id,
            vm_id=each.vm_id,
            restore=each.restore,
        )
    )


def counted(facts: FleetFacts) -> Counter[tuple[ScopeKey, Measure]]:
    """Live attempts of each thing: TRANSFERRING is runs altogether, PREPARING backups that prepare."""
    used: Counter[tuple[ScopeKey, Measure]] = Counter()
    for each in facts.live:
        for where in scopes_of_live(facts, each):
            used[where, Measure.TRANSFERRING] += 1
            if each.preparing and not each.restore:
                used[where, Measure.PREPARING] += 1
    return used
