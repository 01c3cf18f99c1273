"""Which VMs which policies protect now, by the inventories of this moment: a new VM is in at its first report. Reads in one transaction."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

from seawall.controller.policies.compiled import CompiledSpec
from seawall.controller.policies.selection import Seen, seen
from seawall.controller.records.fleet import Vm
from seawall.controller.records.policies import Policy
from seawall.controller.store.transaction import Transaction

PAGE = 1000


@dataclass(frozen=True, slots=True)
class Fleet:
    """VMs that a host reports and that nobody told us to ignore, with what selections look at."""

    vms: dict[str, Vm]
    seen: Sequence[Seen]

    def of(self, rules: CompiledSpec) -> list[Vm]:
        """Those that a policy protects, by id."""
        return [self.vms[each.vm_id] for each in rules.selected(self.seen)]


def fleet_of(transaction: Transaction) -> Fleet:
    hosts = transaction.fleet.host_names()
    ignored = transaction.settings.ignored()
    vms = {vm.id: vm for vm in _every(transaction) if _may_be_protected(vm, ignored)}
    return Fleet(vms, [seen(vm, hosts) for vm in vms.values()])


def seen_of(transaction: Transaction) -> list[Seen]:
    """What selections look at of the same VMs, and nothing else: of 20,000 in a tenth of the time."""
    hosts, ignored = transaction.fleet.host_names(), transaction.settings.ignored()
    return [
        Seen(vm_id, name, host_id, hosts.get(host_id, ""), tags)
        for vm_id, name, host_id, tags in transaction.fleet.sightings()
        if vm_id not in ignored
    ]


def protectors(transaction: Transaction, vms: Sequence[Vm]) -> dict[str, tuple[str, ...]]:
    """VM id -> names of the policies that protect it, by name; VMs that none protects are not in it."""
    return {vm_id: tuple(each.name for each in found) for vm_id, found in policies_of(transaction, vms).items()}


def policies_of(transaction: Transaction, vms: Sequence[Vm]) -> dict[str, tuple[Policy, ...]]:
    """The same, the policies themselves."""
    selecting, ignored = _selecting(transaction), transaction.settings.ignored()
    return {vm.id: found for vm in vms if _may_be_protected(vm, ignored) and (found := selecting(vm))}


def _selecting(transaction: Transaction) -> Callable[[Vm], tuple[Policy, ...]]:
    """The policies that select a VM, by name."""
    hosts = transaction.fleet.host_names()
    rules = [(each, CompiledSpec(each.spec)) for each in transaction.policies.policies() if each.active]

    def found(vm: Vm) -> tuple[Policy, ...]:
        looked_at = seen(vm, hosts)
        return tuple(policy for policy, rule in rules if rule.selects(looked_at))

    return found


def _may_be_protected(vm: Vm, ignored: Collection[str]) -> bool:
    return vm.present and vm.id not in ignored


def _every(transaction: Transaction) -> Iterator[Vm]:
    after = ""
    while page := transaction.fleet.vms(after=after, limit=PAGE):
        yield from page
        after = page[-1].id


def all_page(transaction: Transaction, host_id: str, after: str, limit: int) -> Sequence[Vm]:
    """VMs by id."""
    return transaction.fleet.vms(host_id, after, limit)


def unprotected_page(transaction: Transaction, host_id: str, after: str, limit: int) -> Sequence[Vm]:
    """VMs by id that a host reports, that no policy selects, and that nobody said to ignore."""
    selecting, ignored = _selecting(transaction), transaction.settings.ignored()
    found: list[Vm] = []
    while len(found) < limit and (page := transaction.fleet.vms(host_id, after, PAGE)):
        found += [vm for vm in page if _may_be_protected(vm, ignored) and not selecting(vm)]
        after = page[-1].id
    return found[:limit]
